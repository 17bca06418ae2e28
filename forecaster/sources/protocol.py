"""What every source of bars does. A source reads; it never writes, and never sorts or fills."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, runtime_checkable

import numpy as np

from forecaster.bars import Bars
from forecaster.errors import DataError, UsageError
from forecaster.provenance import Provenance
from forecaster.symbols import Symbol


@dataclass(frozen=True)
class Delivery:
    """What a source hands over for one symbol: bars, and where they come from."""

    bars: Bars
    provenance: Provenance
    exchange: str = ""  # whose sessions they are, as exchange_calendars calls it; empty: unknown


class Source(Protocol):
    """A place that bars can be fetched from, one symbol at a time."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    def symbols(self) -> tuple[Symbol, ...]:
        """What is fetched when nobody names a symbol."""
        ...

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """Bars of the sessions `start` to `end`, both included; None is as far as there are any.

        Raises UsageError for what the source does not offer, DataError for bars that are not legal
        or not there, StorageError for a file that cannot be read or is not what it was,
        ProviderError for a network or a provider that does not answer.
        """
        ...


@runtime_checkable
class Remote(Source, Protocol):
    """A source behind a network: asked for no more than what is not stored yet.

    Its bars are as printed, so that asking again gives the same, and its provenance has the events
    that adjust them.
    """

    settled_after: timedelta  # how long after its close a session is complete

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def check(self, interval: str, start: date | None) -> None:
        """Raises UsageError for what it can never be asked: an interval, a start in the future."""
        ...

    def first_day(self, interval: str, start: date | None, end: date | None) -> date:
        """The first day that `fetch` asks for, as far back as there are any where `start` is None.

        Raises UsageError for a range that is not within reach.
        """
        ...

    def calendar(self, told: Provenance) -> str:
        """Whose sessions bars of its own are, as exchange_calendars calls it; empty: unknown."""
        ...


def clip(bars: Bars, start: date | None, end: date | None) -> Bars:
    """The bars labelled `start` to `end`, both included. Raises DataError where there are none."""
    if start is not None and end is not None and start > end:
        raise UsageError(f"start {start} is after end {end}: exchange them")
    keep = np.ones(len(bars), dtype=bool)
    if start is not None:
        keep &= bars.opened_at >= np.datetime64(start)
    if end is not None:
        keep &= bars.opened_at < np.datetime64(end + timedelta(days=1))
    if not keep.any():
        first, last = (str(t.astype("datetime64[D]")) for t in bars.opened_at[[0, -1]])
        raise DataError(
            f"{bars.symbol}: no bars from {start or first} to {end or last};"
            f" there are {len(bars)}, {first} to {last}: widen the range"
        )
    return bars.select(keep)


def delivery(
    bars: Bars,
    source: str,
    start: date | None = None,
    end: date | None = None,
    notes: tuple[str, ...] = (),
) -> Delivery:
    """What a source of one's own hands over: the bars asked for, read now."""
    provenance = Provenance(
        source=source, package="", version="", sha256="", fetched_at=now_utc(), notes=notes
    )
    return Delivery(clip(bars, start, end), provenance)


def utc_clock() -> np.datetime64:
    """The present, as bars write it."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


def now_utc() -> str:
    """The present, as provenance writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
