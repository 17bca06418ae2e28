"""`forecaster fetch`: from a source into the store, symbol by symbol; each stands on its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from forecaster.bars import duration
from forecaster.errors import ForecasterError, PartialError, UsageError, printable
from forecaster.quality import Context, Quality, examine
from forecaster.sources import Delivery, Source, source
from forecaster.sources.files import FileSource
from forecaster.store import LOCK_TIMEOUT_S, Status, Store
from forecaster.symbols import Symbol

if TYPE_CHECKING:
    from rich.table import Table

MOST_OTHERS = 25  # symbols whose clock judges another's missing days
SHOWN = {
    "added": "green",
    "appended": "green",
    "replaced": "yellow",
    "same": "dim",
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
    dry_run: bool = False  # look and check, write nothing
    lock_timeout_s: float = LOCK_TIMEOUT_S  # patience with another writer


@dataclass(frozen=True, kw_only=True)
class FetchRecord:
    """What became of one symbol. With `dry_run`, what would have."""

    symbol: str
    status: Status | Literal["failed"]
    rows_added: int = 0
    rows_total: int = 0  # stored now
    first: str = ""  # label of the first bar that is stored now
    last: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""
    quality: Quality | None = None  # of the bars that are stored now


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
            "symbols": [_plain(record) for record in self.records],
        }

    def as_lines(self) -> list[str]:
        """What is odd about the bars, a line a symbol."""
        return [record.quality.line for record in self.records if record.quality]

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
            notes = Text(printable(r.error or "; ".join(r.notes)))  # brackets are no markup
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
    symbols = _symbols(request, origin)
    store = Store(request.store, request.lock_timeout_s)
    if not request.dry_run:
        store.prepare()
    records: list[FetchRecord] = []
    errors: dict[str, ForecasterError] = {}
    fetched: dict[str, Delivery] = {}
    for symbol in symbols:
        try:
            record, fetched[symbol] = _fetch_one(request, origin, store, symbol)
            records.append(record)
        except ForecasterError as error:
            errors[symbol] = error
            records.append(FetchRecord(symbol=symbol, status="failed", error=str(error)))
    judged = [_judged(record, fetched, None if request.dry_run else store) for record in records]
    return FetchReport(request=request, records=tuple(judged), errors=errors)


def _plain(record: FetchRecord) -> dict[str, Any]:
    """A record as JSON can say it."""
    quality = record.quality.model_dump(mode="json") if record.quality else None
    return asdict(replace(record, quality=None)) | {"quality": quality}


def _judged(
    record: FetchRecord, fetched: Mapping[str, Delivery], store: Store | None
) -> FetchRecord:
    """The record with the report on its bars, which is kept beside them."""
    if record.symbol not in fetched:
        return record
    own = fetched[record.symbol]
    others = [each.bars.opened_at for name, each in fetched.items() if name != record.symbol]
    at = np.datetime64(own.provenance.fetched_at.removesuffix("+00:00"), "us")
    context = Context(exchange=own.exchange, others=others[:MOST_OTHERS], fetched_at=at)
    quality = examine(own.bars, context)
    if store is not None:
        store.note(own.bars, quality)
    return replace(record, quality=quality)


def _symbols(request: FetchRequest, origin: Source) -> tuple[Symbol, ...]:
    """The symbols asked for, all of them legal and none twice."""
    symbols = tuple(Symbol(text) for text in request.symbols) or origin.symbols()
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise UsageError(f"symbol {symbol} is given twice: name it once")
    if isinstance(origin, FileSource) and len(symbols) > 1:
        raise UsageError(
            f"{len(symbols)} symbols for one file, {request.path}: name one symbol a file"
        )
    return symbols


def _fetch_one(
    request: FetchRequest, origin: Source, store: Store, symbol: Symbol
) -> tuple[FetchRecord, Delivery]:
    """Fetch one symbol and store it, or only say what would become of it."""
    got = origin.fetch(symbol, request.interval, request.start, request.end)
    commit = store.preview(got.bars) if request.dry_run else store.put(got.bars, got.provenance)
    record = FetchRecord(
        symbol=symbol,
        status=commit.status,
        rows_added=commit.rows_added,
        rows_total=len(commit.bars),
        first=commit.bars.label(0),
        last=commit.bars.label(-1),
        notes=got.provenance.notes,
    )
    return record, replace(got, bars=commit.bars)
