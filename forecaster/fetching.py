"""`forecaster fetch`: from a source into the store, symbol by symbol; each stands on its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forecaster import display
from forecaster.bars import duration
from forecaster.errors import ForecasterError, PartialError, UsageError
from forecaster.refetching import Wanted, bring
from forecaster.sources import Source, source
from forecaster.sources.yahoo import Yahoo
from forecaster.store import LOCK_TIMEOUT_S, Status, Store
from forecaster.symbols import Symbol

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = {
    "added": "green",
    "appended": "green",
    "replaced": "yellow",
    "same": "dim",
    "planned": "dim",
    "failed": "red",
}


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What was asked; no symbols means the source's own choice."""

    symbols: tuple[str, ...] = ()
    source: str = "bundled"
    interval: str = "1d"
    start: date | None = None  # the first session
    end: date | None = None  # the last session, included
    path: Path | None = None  # of the file, for csv and parquet
    store: Path = Path("data")
    dry_run: bool = False  # look and check, write nothing; a network is not asked
    refetch: bool = False  # ask a network for all of it again
    lock_timeout_s: float = LOCK_TIMEOUT_S  # patience with another writer


@dataclass(frozen=True, kw_only=True)
class FetchRecord:
    """What became of one symbol. With `dry_run`, what would have."""

    symbol: str
    status: Status | Literal["failed", "planned"]
    change: str = ""  # what a network's answer did to what was stored
    rows_added: int = 0
    rows_total: int = 0  # stored now
    first: str = ""  # label of the first bar that is stored now
    last: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What became of every symbol."""

    request: FetchRequest
    records: tuple[FetchRecord, ...]
    errors: Mapping[str, ForecasterError]  # by symbol

    @property
    def failure(self) -> ForecasterError | None:
        """None where all went well, the first error where all failed, else PartialError."""
        if not self.errors:
            return None
        first = next(iter(self.errors.values()))
        if len(self.errors) == len(self.records):
            return first
        return PartialError(
            f"{len(self.errors)} of {len(self.records)} symbols failed, the rest is stored: {first}"
        )

    @property
    def exit_code(self) -> int:
        """0, 8 where some failed, else the code of the first error."""
        return self.failure.exit_code if self.failure else 0

    def as_json(self) -> dict[str, Any]:
        """One object for `--json`."""
        return {
            "source": self.request.source,
            "interval": self.request.interval,
            "store": str(self.request.store),
            "dry_run": self.request.dry_run,
            "exit_code": self.exit_code,
            "symbols": [asdict(record) for record in self.records],
        }

    def as_table(self) -> "Table":
        """A table for people."""
        from rich.table import Table
        from rich.text import Text

        dry = ", dry run: nothing is written" if self.request.dry_run else ""
        title = f"{self.request.source} -> {self.request.store} ({self.request.interval}{dry})"
        names = ("symbol", "status", "added", "bars", "first", "last", "notes")
        table = Table(*names, title=Text(title))
        for r in self.records:
            added, total = (str(r.rows_added), str(r.rows_total)) if not r.error else ("", "")
            notes = Text(r.error or "; ".join(r.notes))  # Text: brackets in it are no markup
            status = Text(r.status, style=SHOWN[r.status])
            table.add_row(r.symbol, status, added, total, r.first, r.last, notes)
        return table


def fetch(request: FetchRequest) -> FetchReport:
    """Fetch every symbol and store it. What succeeds is stored whatever becomes of the others.

    Raises UsageError for a request that means nothing, StorageError for a store that cannot be
    written and LockedError, all before anything is fetched.
    """
    duration(request.interval)
    origin = source(request.source, request.path)
    if request.refetch and not isinstance(origin, Yahoo):
        raise UsageError(f"source {origin.name} is always read whole: leave out --refetch")
    symbols = _symbols(request, origin)
    store = Store(request.store, request.lock_timeout_s)
    if not request.dry_run:
        store.prepare()
    records: list[FetchRecord] = []
    errors: dict[str, ForecasterError] = {}
    for symbol in symbols:
        try:
            records.append(_fetch_one(request, origin, store, symbol))
        except ForecasterError as error:
            errors[symbol] = error
            records.append(FetchRecord(symbol=symbol, status="failed", error=str(error)))
        except KeyboardInterrupt:
            done = len(records) - len(errors)
            again = "run the same command to go on"
            display.say([f"interrupted: {done} of {len(symbols)} symbols are stored; {again}"])
            raise
    return FetchReport(request=request, records=tuple(records), errors=errors)


def _symbols(request: FetchRequest, origin: Source) -> tuple[Symbol, ...]:
    """The symbols asked for, all of them legal and none twice."""
    symbols = tuple(Symbol(text) for text in request.symbols) or origin.symbols()
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise UsageError(f"symbol {symbol} is given twice: name it once")
    if request.path is not None and len(symbols) > 1:
        raise UsageError(
            f"{len(symbols)} symbols for one file, {request.path}: name one symbol a file"
        )
    return symbols


def _fetch_one(request: FetchRequest, origin: Source, store: Store, symbol: Symbol) -> FetchRecord:
    """Fetch one symbol and store it, or only say what would become of it."""
    if isinstance(origin, Yahoo):
        return _update_one(request, origin, store, symbol)
    got = origin.fetch(symbol, request.interval, request.start, request.end)
    commit = store.preview(got.bars) if request.dry_run else store.put(got.bars, got.provenance)
    return FetchRecord(
        symbol=symbol,
        status=commit.status,
        rows_added=commit.rows_added,
        rows_total=len(commit.bars),
        first=commit.bars.label(0),
        last=commit.bars.label(-1),
        notes=got.provenance.notes,
    )


def _update_one(request: FetchRequest, origin: Yahoo, store: Store, symbol: Symbol) -> FetchRecord:
    """Ask a network for what is not stored yet, and store it."""
    wanted = Wanted(symbol, request.interval, request.start, request.end, request.refetch)
    found = bring(wanted, origin, store, dry_run=request.dry_run)
    return FetchRecord(
        symbol=symbol,
        status=found.status,
        change=found.change,
        rows_added=found.rows_added,
        rows_total=len(found.bars) if found.bars else 0,
        first=found.bars.label(0) if found.bars else "",
        last=found.bars.label(-1) if found.bars else "",
        notes=found.notes,
    )
