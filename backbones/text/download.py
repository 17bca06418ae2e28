"""A file from its home, over https, or from the folder of downloads: always with its sha256."""

import hashlib
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..errors import CorpusError, SourceError
from ..storage import replace_file

TIMEOUT_SECONDS = 20.0
LARGEST_BYTES = 8_000_000  # the largest that is wanted has 4 721 645

Fetch = Callable[[str], bytes]


def download(url: str) -> bytes:
    """What `url` serves; SourceError where it does not."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.read(LARGEST_BYTES)
    except OSError as error:
        raise SourceError(f"{url} does not answer: {error}") from error


def kept_file(place: Path, sha256: str) -> bytes | None:
    """The file as it was downloaded before; None where it is missing or another one."""
    data = place.read_bytes() if place.is_file() else b""
    return data if is_file_of(data, sha256) else None


def fetched_file(url: str, place: Path, sha256: str, fetch: Fetch) -> bytes:
    """The file from its home, kept at `place`; CorpusError where another one is served."""
    data = fetch(url)
    if not is_file_of(data, sha256):
        raise CorpusError(
            f"{url} serves another file: {len(data)} bytes whose sha256 is not {sha256[:12]}..."
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_file(place, data)
    return data


def is_file_of(data: bytes, sha256: str) -> bool:
    """Whether the bytes are the published file's."""
    return hashlib.sha256(data).hexdigest() == sha256
