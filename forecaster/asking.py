"""What to ask a network for of a symbol, by what is stored of it: told without asking anybody."""

from dataclasses import dataclass
from datetime import date, timedelta

from forecaster.errors import DataError, ProviderError
from forecaster.overlap import Stored
from forecaster.sessions import count, last_closed
from forecaster.sources import Remote
from forecaster.symbols import Symbol

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


def plan(wanted: Wanted, stored: Stored | None, origin: Remote) -> Plan:
    """What to ask for.

    Raises ProviderError where the system's clock is before the stored bars, and DataError where
    nothing that the source still has would meet them.
    """
    if stored is None:
        return Plan(wanted.start, whole=True)
    now, last = origin.now(), stored.day(-1)
    if last > now.date() + timedelta(days=1):
        raise ProviderError(
            f"{wanted.symbol}: bars of {last} are stored, and the system clock says {now.date()}:"
            " it looks wrong; nothing is changed; set the clock, then try again"
        )
    first, oldest = stored.day(0), origin.first_day(wanted.interval, None, None)
    if wanted.refetch:
        _refuse_beyond(wanted, origin, first, oldest)
        return Plan(min(wanted.start or first, first), whole=True)
    if wanted.start is not None and wanted.start < first - NEAR:
        return Plan(wanted.start, whole=False)
    if wanted.end is not None and wanted.end <= last:
        return Plan(None, whole=False, nothing=f"stored to {last} already: not asked")
    exchange = origin.calendar(stored.provenance) if wanted.interval == "1d" else ""
    closed = last_closed(exchange, now - origin.settled_after)
    if closed is not None and min(closed, wanted.end or closed) <= last:
        why = f"no session has closed since {last}: not asked"
        return Plan(None, whole=False, nothing=why)
    _refuse_beyond(wanted, origin, last, oldest)
    return Plan(max(stored.day(max(-OVERLAP, -len(stored.bars))), oldest), whole=False)


def _refuse_beyond(wanted: Wanted, origin: Remote, stored: date, oldest: date) -> None:
    """Refuse to ask for stored bars of a day that the source no longer has any of."""
    if stored < oldest:
        done = "replace them" if wanted.refetch else "show that newer ones are of one history"
        raise DataError(
            f"{wanted.symbol}: {wanted.interval} bars of {stored} are stored, and {origin.name}"
            f" has none before {oldest} any more: nothing can {done}; what is stored is kept;"
            " fetch into another --store DIR to go on from there"
        )


def described(wanted: Wanted, stored: Stored | None, origin: Remote) -> str:
    """What would be asked, in words, for --dry-run."""
    asks = plan(wanted, stored, origin)
    if asks.nothing:
        return asks.nothing
    # Refuses what `fetch` would refuse. Daily bars reach back to a listing that nobody knows yet.
    oldest = origin.first_day(wanted.interval, asks.start, wanted.end)
    start = "the first bar" if asks.start is None and wanted.interval == "1d" else oldest
    end = wanted.end or origin.now().date()
    text = f"would ask for {start} to {end}"
    exchange = origin.calendar(stored.provenance) if stored else ""
    sessions = count(exchange, asks.start, end) if asks.start else None
    return text if sessions is None else f"{text}: {sessions} sessions of {exchange}"
