"""The store of bars.

    DIR/bars/LOCK                                                     held by the one writer
    DIR/bars/manifest.json                                            the only commit point
    DIR/bars/interval=1d/symbol=%5EGSPC/<first 16 of sha256>.parquet  written once
    DIR/bars/interval=1d/symbol=%5EGSPC/<the same>.quality.json       what is odd about its bars

A commit writes a segment, then the manifest, then removes what the last two manifests do not name.
A reader takes the manifest, reads the file that it names once, checks the hash, parses from memory.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from forecaster.atomic import commit_bytes, probe
from forecaster.bars import Bars, Panel, duration
from forecaster.errors import DataError, StorageError, suggestion
from forecaster.findings import Quality
from forecaster.provenance import Provenance, content_sha256
from forecaster.store.garbage import leftovers, remove
from forecaster.store.lock import locked
from forecaster.store.manifest import DamagedError, Entry, Manifest
from forecaster.store.merge import Status, added, merge
from forecaster.store.notes import read_note, write_note
from forecaster.store.reading import entry_of, read_segment
from forecaster.store.segment import encode

LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Commit:
    """What a put did, or would do."""

    status: Status
    rows_added: int  # bars of times that had none, or none that could be read
    bars: Bars  # as they are stored now


class Store:
    """Bars by symbol and interval under one directory. Readers need no lock."""

    def __init__(self, root: Path, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.root = root
        self._folder = root / "bars"
        self._manifest_path = self._folder / "manifest.json"
        self._lock_timeout_s = lock_timeout_s

    def prepare(self) -> None:
        """Make an empty store where there is none, and prove that it can be written to."""
        probe(self._folder)
        with locked(self._folder / "LOCK", self._lock_timeout_s):
            manifest = self._manifest()
            if not self._manifest_path.exists():
                manifest.write(self._manifest_path)

    def put(self, bars: Bars, provenance: Provenance) -> Commit:
        """Store `bars` durably, or leave all as it was: see `merge` for what is refused."""
        if not self._manifest_path.exists():
            self.prepare()
        with locked(self._folder / "LOCK", self._lock_timeout_s):
            before = self._manifest()
            commit = self._merged(before, bars)
            if commit.status == "same":
                return commit
            data = encode(commit.bars, provenance)
            entry = entry_of(commit.bars, provenance, hashlib.sha256(data).hexdigest())
            segment = self._folder / entry.file
            self._confine(segment.parent)
            commit_bytes(segment, data)
            after = before.with_entry(entry)
            after.write(self._manifest_path)
            remove(leftovers(self._folder, before, after))
        return commit

    def preview(self, bars: Bars) -> Commit:
        """What `put` would do; writes nothing."""
        return self._merged(self._manifest(), bars)

    def load(self, symbol: str, interval: str = "1d") -> Bars:
        """Verified bars. DataError for a symbol that is not here, else as `read_segment`."""
        return self.load_with_provenance(symbol, interval)[0]

    def load_with_provenance(self, symbol: str, interval: str = "1d") -> tuple[Bars, Provenance]:
        """Verified bars and where they come from; raises as `load`."""
        entry = self._find(symbol, interval)
        try:
            return read_segment(self._folder, entry)
        except StorageError:
            again = self._find(symbol, interval)
            if again == entry:
                raise
            return read_segment(
                self._folder, again
            )  # a writer replaced it, and its segment was old enough to go

    def panel(self, symbols: Iterable[str], interval: str = "1d") -> Panel:
        """Verified bars of several symbols, in the order of their names; raises as `load`."""
        return Panel(tuple(self.load(symbol, interval) for symbol in symbols))

    def entries(self) -> tuple[Entry, ...]:
        """All that is stored, by interval and symbol; none where there is no store."""
        return self._manifest().entries

    def note(self, bars: Bars, quality: Quality) -> None:
        """Keep the report on `bars` beside them, unless other bars are stored by now.

        Raises LockedError, StorageError where it cannot be written.
        """
        with locked(self._folder / "LOCK", self._lock_timeout_s):
            entry = self._manifest().find(bars.symbol, bars.interval)
            if entry is None or entry.content != content_sha256(bars):
                return
            self._confine((self._folder / entry.file).parent)
            write_note(self._folder / entry.file, entry, quality)

    def report(self, symbol: str, interval: str = "1d") -> Quality | None:
        """The report beside the bars of a symbol; None where there is none. DataError as `load`."""
        return self.quality(self._find(symbol, interval))

    def quality(self, entry: Entry) -> Quality | None:
        """The report beside the bars of `entry`; None where there is none that we can read."""
        try:
            return read_note(self._folder / entry.file, entry)
        except ValueError:
            return None

    def digest(self, symbols: Iterable[str], interval: str = "1d") -> str:
        """sha256 of the bars of `symbols`, in any order: equal on every machine that has them."""
        lines = sorted(f"{s} {interval} {self._find(s, interval).content}" for s in symbols)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _manifest(self) -> Manifest:
        """The last committed manifest. StorageError where segments are there without one."""
        if self._manifest_path.exists():
            return Manifest.read(self._manifest_path)
        if any(self._folder.glob("interval=*/symbol=*/*.parquet")):
            raise StorageError(
                f"{self._manifest_path} is missing, though its segments are there:"
                f" put it back, or run `forecaster store repair --store {self.root}`"
            )
        return Manifest()

    def _find(self, symbol: str, interval: str) -> Entry:
        """The entry of a symbol. DataError, with what to do, where there is none."""
        duration(interval)
        manifest = self._manifest()
        entry = manifest.find(symbol, interval)
        if entry is None:
            others = [e.interval for e in manifest.entries if e.symbol == symbol]
            if others:
                raise DataError(
                    f"{symbol} is in the store {self.root} at interval {', '.join(others)}, not at"
                    f" {interval}: ask for that, with --set interval={others[0]}"
                )
            names = [e.symbol for e in manifest.entries if e.interval == interval]
            hint = suggestion(symbol, names) if names else "; it has none of that interval"
            fetch = f"`forecaster fetch {symbol}"
            remedy = f"; run {fetch}`"
            if hint.endswith("?"):
                remedy = f" If not, fetch it: {fetch} --source yahoo`"
            raise DataError(
                f"{symbol} at interval {interval} is not in the store {self.root}{hint}{remedy}"
            )
        return entry

    def _merged(self, manifest: Manifest, bars: Bars) -> Commit:
        """`bars` joined with what is stored; a damaged segment is replaced by all of its time."""
        entry = manifest.find(bars.symbol, bars.interval)
        try:
            old = read_segment(self._folder, entry)[0] if entry else None
        except DamagedError:
            covered = entry and bars.label(0) <= entry.first and entry.last <= bars.label(-1)
            if not covered:
                raise
            return Commit("replaced", len(bars), bars)
        status, merged = merge(old, bars)
        news = len(merged) if old is None else int(added(old, merged).sum())
        return Commit(status, news, merged)

    def _confine(self, folder: Path) -> None:
        """Refuse to write through a link inside the store."""
        for each in (self._folder, folder.parent, folder):
            if each.is_symlink():
                raise StorageError(f"{each} is a link that leads elsewhere: remove it")
