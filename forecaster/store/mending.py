"""Mend a store: bring back what another file still has, say what is lost and how to fetch it.

Damaged files are moved to DIR/bars/damaged, unread; what nobody needs is removed; all under the
lock.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from forecaster.atomic import move
from forecaster.errors import UsageError
from forecaster.store.garbage import SEGMENT_FILES, remove
from forecaster.store.inspection import (
    Fault,
    Inspection,
    Watch,
    committed,
    faults_of,
    garbage_of,
    inspected,
    newest,
    store_folder,
    unwatched,
    whole,
)
from forecaster.store.lock import locked
from forecaster.store.manifest import DamagedError, Entry, Manifest
from forecaster.symbols import Symbol

DAMAGED = "damaged"  # folder of what was taken out of use
Again = Callable[[str, str, str], str]  # (symbol, interval, source or "") -> what fetches it again


def repair(
    root: Path, lock_timeout_s: float, again: Again, on_segment: Watch = unwatched
) -> Inspection:
    """Mend what can be mended; the faults that are left are losses, with how to fetch them again.

    Raises LockedError, NewerStoreError, StorageError where there is no store, a file of it cannot
    be read at the moment, or nothing can be written: another call goes on from there.
    """
    folder = store_folder(root)
    with locked(folder / "LOCK", lock_timeout_s):
        work = _Repair(folder, again)
        try:
            before = manifest = committed(folder)
        except DamagedError:
            before, manifest = None, work.rebuilt()
        for entry in manifest.entries:
            manifest = work.mended(manifest, entry)
            on_segment(entry.symbol, len(before.entries if before else manifest.entries))
        if manifest != before:
            manifest.write(folder / "manifest.json")
        garbage = garbage_of(folder, manifest)
        remove(garbage)
    return inspected(root, manifest, work.lost, garbage, work.said)


@dataclass
class _Repair:
    """One repair, and what there is to tell of it."""

    folder: Path
    again: Again
    said: list[str] = field(default_factory=list)
    lost: list[Fault] = field(default_factory=list)

    def mended(self, manifest: Manifest, entry: Entry) -> Manifest:
        """The manifest after `entry` has been seen to."""
        for fault in faults_of(self.folder, entry):
            path = Path(fault.path)
            self._set_aside(path)
            if path != self.folder / entry.file:
                self.said.append(
                    f"{entry.symbol}: its report was damaged; the next fetch makes another"
                )
                continue
            older = newest(whole(self.folder, path.parent))
            found = next((each for each in older if each.symbol == entry.symbol), None)
            if found is None:
                manifest = manifest.without(entry)
                span = f"{entry.rows} bars, {entry.first} to {entry.last}, are lost"
            else:
                manifest = manifest.with_entry(found)
                span = _back_to(found)
                self.said.append(f"{entry.symbol}: {fault.cause}; {span}")
            if found is None or found.content != entry.content:
                what = (entry.symbol, entry.interval, entry.source)
                self._lose(path, what, f"{fault.cause}: {span}")
        return manifest

    def rebuilt(self) -> Manifest:
        """A manifest from the segments that are whole, the newest of each symbol.

        Nobody knows whether those that are not whole were needed: they count as lost.
        """
        sound = whole(self.folder)
        self._set_aside(self.folder / "manifest.json")
        manifest = Manifest()
        for entry in newest(sound):
            manifest = manifest.with_entry(entry)
        self.said.append(
            f"manifest.json: made anew from {len(manifest.entries)} segments that are whole"
        )
        named = {self.folder / entry.file for entry in sound}
        for path in sorted(self.folder.glob(f"{SEGMENT_FILES}.parquet")):
            if path not in named:
                self._set_aside(path)
                self._lose_unknown(path, manifest)
        return manifest

    def _lose_unknown(self, path: Path, manifest: Manifest) -> None:
        """Tell of a segment that no manifest named: only its folders say what it was."""
        interval, symbol = (part.partition("=")[2] for part in path.parts[-3:-1])
        with suppress(UsageError):  # no folder of ours
            symbol = str(Symbol.decoded(symbol))
        entry = manifest.find(symbol, interval)
        cause = f"it is not whole: {_back_to(entry) if entry else 'its bars are lost'}"
        self._lose(path, (symbol, interval, entry.source if entry else ""), cause)

    def _lose(self, path: Path, what: tuple[str, str, str], cause: str) -> None:
        self.lost.append(Fault(str(path), what[0], cause, f"run `{self.again(*what)}`"))

    def _set_aside(self, path: Path) -> None:
        """Move what is damaged to where nobody reads it, over nothing that is there."""
        if not path.exists() and not path.is_symlink():
            return
        aside, n = self.folder / DAMAGED / f"{path.parent.name}-{path.name}.damaged", 1
        while aside.exists() or aside.is_symlink():
            aside, n = aside.with_suffix(f".damaged{n}"), n + 1
        move(path, aside)


def _back_to(entry: Entry) -> str:
    return f"back to the {entry.rows} bars of {entry.first} to {entry.last}"
