"""Is all of a store what was committed? Looks, and changes nothing."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forecaster.errors import StorageError
from forecaster.store.garbage import SEGMENT_FILES, leftovers
from forecaster.store.lock import holder
from forecaster.store.manifest import DamagedError, Entry, Manifest
from forecaster.store.notes import note_path, read_note
from forecaster.store.reading import adopted, read_segment
from forecaster.store.sealed import NewerFormatError


@dataclass(frozen=True)
class Fault:
    """One thing that is not what was committed."""

    path: str
    symbol: str  # empty for the manifest
    cause: str
    remedy: str


@dataclass(frozen=True)
class Inspection:
    """What a look at a store found, or a repair did."""

    store: str
    generation: int
    segments: int  # that the manifest names
    rows: int  # in those that are whole
    lock: str
    faults: tuple[Fault, ...]  # after a repair: what is lost
    garbage: tuple[str, ...]  # files that nobody needs; after a repair: those removed
    recovered: tuple[str, ...] = field(default=())  # by a repair, a sentence each

    def as_json(self) -> dict[str, Any]:
        """One object for `--json`."""
        return asdict(self) | {"sound": not self.faults}


Watch = Callable[[str, int], None]  # (symbol that was looked at, of how many)


def unwatched(symbol: str, of: int) -> None:
    """Nobody is told how far a look is."""


def verify(root: Path, on_segment: Watch = unwatched) -> Inspection:
    """Hash every file; `on_segment` is told of each segment.

    Raises NewerStoreError, StorageError where there is no store or a file of it cannot be read at
    the moment.
    """
    folder = store_folder(root)
    try:
        manifest = committed(folder)
    except DamagedError as error:
        entries = tuple(newest(whole(folder)))
        fault = Fault(
            str(folder / "manifest.json"), "", str(error.__cause__ or error), _repair(root)
        )
        return inspected(root, Manifest(entries=entries), [fault], [])
    faults: list[Fault] = []
    for entry in manifest.entries:
        faults += faults_of(folder, entry)
        on_segment(entry.symbol, len(manifest.entries))
    if faults and committed(folder) != manifest:
        return verify(root, on_segment)  # a writer went on while we read
    garbage = garbage_of(folder, manifest)
    return inspected(root, manifest, faults, garbage)


def store_folder(root: Path) -> Path:
    """Where the store at `root` has its bars. Raises StorageError where there are none."""
    folder = root / "bars"
    if not (folder / "manifest.json").exists() and not any(folder.glob(SEGMENT_FILES)):
        raise StorageError(f"{root} is no store: name one with --store, or run `forecaster fetch`")
    return folder


def committed(folder: Path) -> Manifest:
    """The manifest; one that is missing is damaged, for segments are there."""
    path = folder / "manifest.json"
    if not path.exists():
        raise DamagedError(f"{path} is missing")
    return Manifest.read(path)


def faults_of(folder: Path, entry: Entry) -> Iterable[Fault]:
    """What is wrong with a segment and with the report beside it; raises as `read_segment` else."""
    segment = folder / entry.file
    try:
        read_segment(folder, entry)
    except DamagedError as error:
        cause = str(error.__cause__)
        yield Fault(str(segment), entry.symbol, cause, _repair(folder.parent))
    try:
        with suppress(NewerFormatError):  # sound perhaps, and whoever wrote it can read it
            read_note(segment, entry)
    except ValueError as error:
        yield Fault(str(note_path(segment)), entry.symbol, str(error), _repair(folder.parent))


def whole(folder: Path, only: Path | None = None) -> list[Entry]:
    """Lines of the segments that are what their names say, in one symbol's folder or in all."""
    paths = only.glob("*") if only else folder.glob(SEGMENT_FILES)
    return [entry for path in sorted(paths) if (entry := adopted(folder, path))]


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """The newest of each symbol and interval; the longer of two that are equally new."""
    best: dict[tuple[str, str], Entry] = {}
    for entry in sorted(entries, key=lambda each: (each.fetched_at, each.rows)):
        best[entry.interval, entry.symbol] = entry
    return list(best.values())


def garbage_of(folder: Path, manifest: Manifest) -> list[Path]:
    """Leftovers, but for the newest whole segment of each symbol beside the one that counts."""
    found = leftovers(folder, manifest)
    earlier = newest(entry for path in found if (entry := adopted(folder, path)))
    kept = {folder / entry.file for entry in earlier}
    kept |= {note_path(path) for path in kept}
    return [path for path in found if path not in kept]


def _repair(root: Path) -> str:
    return f"run `forecaster store repair --store {root}`"


def inspected(
    root: Path,
    manifest: Manifest,
    faults: list[Fault],
    garbage: list[Path],
    said: Iterable[str] = (),
) -> Inspection:
    """The record of a look or a repair."""
    bad = {fault.path for fault in faults}
    rows = [each.rows for each in manifest.entries if str(root / "bars" / each.file) not in bad]
    return Inspection(
        store=str(root),
        generation=manifest.generation,
        segments=len(manifest.entries),
        rows=sum(rows),
        lock=holder(root / "bars" / "LOCK"),
        faults=tuple(faults),
        garbage=tuple(str(path) for path in garbage),
        recovered=tuple(said),
    )
