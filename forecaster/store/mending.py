"""Mend a store: bring back what another file still has, say what is lost and how to fetch it.

Damaged files are moved to DIR/bars/damaged, what nobody needs is removed; all under the lock.
"""

from pathlib import Path

from forecaster.atomic import commit_bytes, read_regular
from forecaster.errors import StorageError
from forecaster.store.garbage import remove
from forecaster.store.inspection import (
    Fault,
    Inspection,
    committed,
    faults_of,
    garbage_of,
    inspected,
    newest,
    store_folder,
    whole,
)
from forecaster.store.lock import locked
from forecaster.store.manifest import LIMIT_BYTES, DamagedManifestError, Entry, Manifest

NEED_A_FILE = {"csv", "parquet", "tradingview"}
DAMAGED = "damaged"  # folder of what was taken out of use


def repair(root: Path, lock_timeout_s: float) -> Inspection:
    """Mend what can be mended; the faults that are left are losses, with how to fetch them again.

    Raises LockedError, NewerStoreError, StorageError where there is no store or it is read-only.
    """
    folder = store_folder(root)
    with locked(folder / "LOCK", lock_timeout_s):
        said: list[str] = []
        lost: list[Fault] = []
        try:
            before = manifest = committed(folder)
        except DamagedManifestError:
            before, manifest = None, _rebuilt(folder, said)
        for entry in manifest.entries:
            manifest = _mended(folder, manifest, entry, said, lost)
        if manifest != before:
            manifest.write(folder / "manifest.json")
        garbage = garbage_of(folder, manifest)
        remove(garbage)
    return inspected(root, manifest, lost, garbage, said)


def _mended(
    folder: Path, manifest: Manifest, entry: Entry, said: list[str], lost: list[Fault]
) -> Manifest:
    """The manifest after `entry` has been seen to."""
    for fault in faults_of(folder, entry):
        path = Path(fault.path)
        _set_aside(folder, path)
        if path != folder / entry.file:
            said.append(f"{entry.symbol}: its report was damaged; the next fetch makes another")
            continue
        older = newest(whole(folder, path.parent))
        found = next((each for each in older if each.symbol == entry.symbol), None)
        remedy = f"run `{_refetch(entry)}`"
        if found is None:
            manifest = manifest.without(entry)
            span = f"{entry.rows} bars, {entry.first} to {entry.last}, are lost"
            lost.append(Fault(fault.path, entry.symbol, f"{fault.cause}: {span}", remedy))
            continue
        manifest = manifest.with_entry(found)
        span = f"back to the {found.rows} bars of {found.first} to {found.last}"
        said.append(f"{entry.symbol}: {fault.cause}; {span}")
        if found.content != entry.content:
            lost.append(Fault(fault.path, entry.symbol, f"{fault.cause}: {span}", remedy))
    return manifest


def _rebuilt(folder: Path, said: list[str]) -> Manifest:
    """A manifest from the segments that are whole, the newest of each symbol."""
    path = folder / "manifest.json"
    if path.exists():
        _set_aside(folder, path)
    manifest = Manifest()
    for entry in newest(whole(folder)):
        manifest = manifest.with_entry(entry)
    said.append(f"manifest.json: made anew from {len(manifest.entries)} segments that are whole")
    return manifest


def _set_aside(folder: Path, path: Path) -> None:
    """Keep a damaged file where nobody reads it; a link or a missing file only goes."""
    try:
        data = read_regular(path, LIMIT_BYTES)
    except StorageError:
        data = None
    if data is not None:
        commit_bytes(folder / DAMAGED / f"{path.parent.name}-{path.name}.damaged", data)
    remove([path])


def _refetch(entry: Entry) -> str:
    """The command that brings the bars of `entry` again."""
    path = " --path FILE" if entry.source in NEED_A_FILE else ""
    return (
        f"forecaster fetch {entry.symbol} --source {entry.source} --interval {entry.interval}{path}"
    )
