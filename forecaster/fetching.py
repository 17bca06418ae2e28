"""`forecaster fetch`: from a source into the store, symbol by symbol; each stands on its own."""

from collections.abc import Callable
from dataclasses import replace

from forecaster.bars import duration
from forecaster.errors import ForecasterError, UsageError
from forecaster.fetch_report import FetchRecord, FetchReport, FetchRequest
from forecaster.judging import Judge
from forecaster.refetching import Wanted, bring
from forecaster.sources import Delivery, Remote, Source, source
from forecaster.sources.files import FileSource
from forecaster.store import Store
from forecaster.symbols import Symbol

__all__ = ["FetchRecord", "FetchReport", "FetchRequest", "fetch"]


def _unheard(line: str) -> None:
    """Whoever fetches without a user has nobody to tell."""


def fetch(
    request: FetchRequest,
    say: Callable[[str], None] = _unheard,
    on_symbol: Callable[[str, int], None] | None = None,
) -> FetchReport:
    """Fetch every symbol and store it. What succeeds is stored whatever becomes of the others.

    `say` is told what has become of each of several symbols as soon as it is known, and what an
    interrupt has left; `on_symbol` which of how many is done.

    Raises UsageError for a request that means nothing, StorageError for a store that cannot be
    written and LockedError, all before anything is fetched.
    """
    origin = _origin(request)
    symbols = _symbols(request, origin)
    store = Store(request.store, request.lock_timeout_s)
    if not request.dry_run:
        store.prepare()
    records: list[FetchRecord] = []
    errors: dict[str, ForecasterError] = {}
    judge = Judge(None if request.dry_run else store)
    tell = say if len(symbols) > 1 else _unheard
    for symbol in symbols:
        try:
            record, delivery = _fetch_one(request, origin, store, symbol)
            records.append(record)
            if delivery is not None:
                records[-1] = judge.judged(record, delivery)
        except ForecasterError as error:
            errors[symbol] = error
            records.append(FetchRecord(symbol=symbol, status="failed", error=str(error)))
        except KeyboardInterrupt:
            say(_interrupted(request, len(records) - len(errors), len(symbols)))
            raise
        tell(records[-1].line)
        if on_symbol:
            on_symbol(symbol, len(symbols))
    judged = tuple(judge.refined(record) for record in records)
    return FetchReport(request=request, records=judged, errors=errors)


def _origin(request: FetchRequest) -> Source:
    """The source, if it can be asked this at all."""
    duration(request.interval)
    origin, start, end = source(request.source, request.path), request.start, request.end
    if start is not None and end is not None and start > end:
        raise UsageError(f"start {start} is after end {end}: exchange them")
    if isinstance(origin, Remote):
        origin.check(request.interval, start)
    elif request.refetch:
        raise UsageError(f"source {origin.name} is always read whole: leave out --refetch")
    return origin


def _interrupted(request: FetchRequest, done: int, asked: int) -> str:
    """What an interrupt has left, in words."""
    what = "were looked at" if request.dry_run else "are stored"
    return f"interrupted: {done} of {asked} symbols {what}; run the same command to go on"


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
) -> tuple[FetchRecord, Delivery | None]:
    """Fetch one symbol and store it, or only say what would become of it."""
    if isinstance(origin, Remote):
        return _update_one(request, origin, store, symbol)
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


def _update_one(
    request: FetchRequest, origin: Remote, store: Store, symbol: Symbol
) -> tuple[FetchRecord, Delivery | None]:
    """Ask a network for what is not stored yet, and store it."""
    wanted = Wanted(symbol, request.interval, request.start, request.end, request.refetch)
    found = bring(wanted, origin, store, dry_run=request.dry_run)
    record = FetchRecord(
        symbol=symbol,
        status=found.status,
        change=found.change,
        rows_added=found.rows_added,
        rows_total=len(found.bars) if found.bars else 0,
        first=found.bars.label(0) if found.bars else "",
        last=found.bars.label(-1) if found.bars else "",
        notes=found.notes,
        quality=found.quality,
    )
    return record, found.delivery
