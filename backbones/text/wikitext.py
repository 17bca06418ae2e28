"""WikiText-2 (Merity et al. 2016), from where the user has it, or from its home.

Its published training part is what one trains on, its published validation part what is scored;
the test part is not read. A path may be a folder with wiki.train.* and wiki.valid.*, a zip of one,
or a single text, which is then split by position.
"""

import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from ..errors import CorpusError, SourceError
from .download import Fetch, fetched_file, kept_file

NAME = "wikitext-2"
# The raw text (CC BY-SA 3.0), at a fixed commit of the copy that llama.cpp's scripts fetch.
HOME = (
    "https://huggingface.co/datasets/ggml-org/ci/resolve/"
    "927b3642933080f1b0e811e2f916e14c292992f9/wikitext-2-raw-v1.zip"
)
SHA256 = "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"
PARTS = ("train", "valid")
ENDINGS = (".raw", ".tokens", ".txt")
LARGEST_ZIP = 200_000_000  # bytes
LARGEST_BYTES = 100_000_000  # of a part unpacked; the real ones have 11 and 1.2 million


def load(path: Path | None, cache: Path, fetch: Fetch) -> tuple[str, str]:
    """The training and the validation part, the latter empty where the path is a single text."""
    if path is None:
        return load_published(cache, fetch)
    if path.is_dir():
        names = [file.name for file in path.iterdir() if file.is_file()]
        return parts_among(path, names, lambda name: bounded(path / name))
    if not path.is_file():
        raise SourceError(f"{NAME}: --path {path} does not exist")
    if zipfile.is_zipfile(path):
        return unpack(path, bounded(path, LARGEST_ZIP))
    if path.suffix not in ENDINGS:
        raise CorpusError(
            f"{NAME}: {path} ends in {path.suffix!r}: a folder, a zip, or one of "
            f"{', '.join(ENDINGS)} is wanted"
        )
    return decoded(path, bounded(path)), ""


def load_published(cache: Path, fetch: Fetch) -> tuple[str, str]:
    """From the cache, else from its home."""
    place = cache / "wikitext-2-raw-v1.zip"
    data = kept_file(place, SHA256)
    if data is None:
        try:
            data = fetched_file(HOME, place, SHA256, fetch)
        except SourceError as error:
            raise SourceError(
                f"{NAME} has two sources and none works: {place} is missing or damaged; {error}; "
                "a copy is named by --path"
            ) from error
    return unpack(place, data)


def unpack(place: Path, data: bytes) -> tuple[str, str]:
    """The parts in a zip, read in memory."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            large = [info for info in archive.infolist() if info.file_size > LARGEST_BYTES]
            if large:
                raise CorpusError(
                    f"{NAME}: {place} holds {large[0].filename!r} of {large[0].file_size} bytes: "
                    f"at most {LARGEST_BYTES} are wanted"
                )
            return parts_among(place, archive.namelist(), archive.read)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CorpusError(f"{NAME}: {place} is not a sound zip: {error}") from error


def parts_among(place: Path, names: list[str], read: Callable[[str], bytes]) -> tuple[str, str]:
    """Both parts of what is there; CorpusError where one is missing or there twice."""
    found = []
    for part in PARTS:
        mine = [n for n in names if Path(n).stem == f"wiki.{part}" and Path(n).suffix in ENDINGS]
        if len(mine) != 1:
            raise CorpusError(
                f"{NAME}: {place} holds {len(mine)} files wiki.{part}.*, one of "
                f"{', '.join(ENDINGS)} is wanted"
            )
        found.append(decoded(place / mine[0], read(mine[0])))
    return found[0], found[1]


def bounded(path: Path, largest: int | None = None) -> bytes:
    """A file's bytes; CorpusError where they are more than any that is wanted."""
    most = LARGEST_BYTES if largest is None else largest
    if (size := path.stat().st_size) > most:
        raise CorpusError(f"{NAME}: {path} has {size} bytes: at most {most} are wanted")
    return path.read_bytes()


def decoded(place: Path, data: bytes) -> str:
    """Bytes as text; CorpusError unless they are UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{NAME}: {place} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error
