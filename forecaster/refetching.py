"""What a network is asked of a symbol that is stored already, and what the answer does to it.

Printed prices never change, so ten stored bars are asked for again and compared:

    same       nothing new                       append    new bars
    dividend   a new one: earlier adjustments are multiplied by one number below 1
    split      a new one: likewise
    revised    few of the shared bars differ: the stored ones stay, the differences are named

An event makes all of the stored time be asked for again and compared. A gap, or a difference in
many bars that no event explains, is refused: nothing shows that the two are one history.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from forecaster.bars import Bars
from forecaster.errors import DataError, ProviderError
from forecaster.exchanges import calendar_name
from forecaster.findings import Quality
from forecaster.overlap import Stored, compare, fresh, joined, told
from forecaster.provenance import Provenance
from forecaster.sessions import count, last_closed
from forecaster.sources import Delivery
from forecaster.sources.yahoo import SETTLED_AFTER, Yahoo
from forecaster.store import DamagedError, Status, Store
from forecaster.symbols import Symbol

Change = Literal["first", "same", "append", "dividend", "split", "revised", "all"]
OVERLAP = 10  # stored bars that are asked for again
NEAR = timedelta(days=7)  # a first bar so long after --start is the first of that range


@dataclass(frozen=True)
class Wanted:
    """One symbol, as the user asked for it."""

    symbol: Symbol
    interval: str
    start: date | None
    end: date | None
    refetch: bool = False  # ask for everything again, and let it replace what is stored


@dataclass(frozen=True)
class Plan:
    """From which day on to ask; not at all where `start` is None and `nothing` says why."""

    start: date | None
    whole: bool  # everything is asked for, nothing compared
    nothing: str = ""


@dataclass(frozen=True)
class Update:
    """What to store, and what was found. Nothing where `delivery` is None."""

    delivery: Delivery | None
    change: Change
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """What became of one symbol. `bars` are those that are stored now."""

    status: Status | Literal["planned"]
    change: Change | Literal["planned"]
    rows_added: int
    bars: Bars | None
    notes: tuple[str, ...]
    delivery: Delivery | None = None  # with those bars, where they have no report yet
    quality: Quality | None = None  # the report that is kept, where nothing was asked


def bring(wanted: Wanted, origin: Yahoo, store: Store, *, dry_run: bool) -> Brought:
    """Ask for what is not stored yet, and store it; or only say what would be asked for."""
    stored = _stored(wanted, origin, store)
    before = stored.bars if stored else None
    if dry_run:
        return Brought("planned", "planned", 0, before, (described(wanted, stored, origin),))
    found = update(wanted, stored, origin)
    if found.delivery is None:
        return _untouched(stored, store, found.notes)
    commit = store.put(found.delivery.bars, found.delivery.provenance)
    delivery = replace(found.delivery, bars=commit.bars)
    return Brought(
        commit.status, found.change, commit.rows_added, commit.bars, found.notes, delivery
    )


def _untouched(stored: Stored | None, store: Store, notes: tuple[str, ...]) -> Brought:
    """Nothing was asked: the stored bars with their report, or to be judged where it is lost."""
    if stored is None:
        return Brought("same", "same", 0, None, notes)
    bars, told = stored.bars, stored.provenance
    quality = store.report(bars.symbol, bars.interval)
    delivery = None if quality else Delivery(bars, told, calendar_name(told.exchange))
    return Brought("same", "same", 0, bars, notes, delivery, quality)


def _stored(wanted: Wanted, origin: Yahoo, store: Store) -> Stored | None:
    """What is stored by the same source, if it can be read: what cannot is asked for whole."""
    key = (wanted.symbol, wanted.interval)
    mine = [entry for entry in store.entries() if (entry.symbol, entry.interval) == key]
    if not mine or mine[0].source != origin.name:
        return None
    try:
        return Stored(*store.load_with_provenance(*key))
    except DamagedError:
        return None


def plan(wanted: Wanted, stored: Stored | None, origin: Yahoo) -> Plan:
    """What to ask for. Raises ProviderError where the system's clock is before the stored bars."""
    if stored is None:
        return Plan(wanted.start, whole=True)
    now, last = origin.clock.now(), stored.day(-1)
    if last > now.date() + timedelta(days=1):
        raise ProviderError(
            f"{wanted.symbol}: bars of {last} are stored, and the system clock says {now.date()}:"
            " it looks wrong; nothing is changed; set the clock, then try again"
        )
    first = stored.day(0)
    if wanted.refetch:
        return Plan(min(wanted.start or first, first), whole=True)
    if wanted.start is not None and wanted.start < first - NEAR:
        return Plan(wanted.start, whole=False)
    if wanted.end is not None and wanted.end <= last:
        return Plan(None, whole=False, nothing=f"stored to {last} already: not asked")
    exchange = calendar_name(stored.provenance.exchange) if wanted.interval == "1d" else ""
    closed = last_closed(exchange, now - SETTLED_AFTER)
    if closed is not None and min(closed, wanted.end or closed) <= last:
        why = f"no session has closed since {last}: not asked"
        return Plan(None, whole=False, nothing=why)
    return Plan(stored.day(max(-OVERLAP, -len(stored.bars))), whole=False)


def described(wanted: Wanted, stored: Stored | None, origin: Yahoo) -> str:
    """What would be asked, in words, for --dry-run."""
    asks = plan(wanted, stored, origin)
    if asks.nothing:
        return asks.nothing
    end = wanted.end or origin.clock.now().date()
    text = f"would ask for {asks.start or 'the first bar'} to {end}"
    exchange = calendar_name(stored.provenance.exchange) if stored else ""
    sessions = count(exchange, asks.start, end) if asks.start else None
    return text if sessions is None else f"{text}: {sessions} sessions of {exchange}"


def update(wanted: Wanted, stored: Stored | None, origin: Yahoo) -> Update:
    """Ask, compare and join. Raises what the source raises, and DataError for another history."""
    asks = plan(wanted, stored, origin)
    if asks.nothing:
        return Update(None, "same", (asks.nothing,))
    got = origin.fetch(wanted.symbol, wanted.interval, asks.start, wanted.end)
    notes = got.provenance.notes
    if stored is None:
        return Update(got, "first", notes)
    _check_same_listing(wanted.symbol, stored.provenance, got.provenance)
    if asks.whole:
        return Update(got, "all", notes)
    news = fresh(stored.provenance.events, got.provenance.events)
    if news and wanted.interval == "1d":
        got = origin.fetch(wanted.symbol, wanted.interval, stored.day(0), wanted.end)
    revised = compare(stored.bars, got.bars)
    both = joined(stored, got)
    notes = (*told(stored, news, both), *revised, *got.provenance.notes)
    provenance = replace(both.provenance, notes=notes)
    added = len(both.bars) > len(stored.bars)
    kinds = {event.kind for event in news}
    change: Change = "append" if added else "same"
    if kinds or revised:
        change = "split" if "split" in kinds else "dividend" if kinds else "revised"
    return Update(replace(both, provenance=provenance), change, notes)


def _check_same_listing(symbol: Symbol, old: Provenance, new: Provenance) -> None:
    """Refuse another currency or clock: pence for pounds is a hundredfold step."""
    for name in ("currency", "timezone"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            raise DataError(
                f"{symbol}: stored is {name} {before or 'unknown'}, Yahoo has {after or 'none'}:"
                " another listing; keep it in another --store"
            )
