"""What the market printed and when it was known: bars, panels of them, the only way back in time.

T bars, oldest first. Prices are in the instrument's currency, volume in units of the instrument.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecaster.errors import DataError, IllegalBarError, UsageError, suggestion
from forecaster.symbols import Symbol

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

INTERVALS = {
    **{f"{n}m": np.timedelta64(n, "m") for n in (1, 5, 15, 30)},
    "1h": np.timedelta64(1, "h"),
    "1d": np.timedelta64(1, "D"),
    "1wk": np.timedelta64(7, "D"),
}
# Providers round highs, lows and closes on their own: an envelope may miss by this fraction.
ENVELOPE_TOLERANCE = 1e-6
PRICES = ("open", "high", "low", "close")


def duration(interval: str) -> np.timedelta64:
    """Length of one bar. Raises UsageError for an interval that we do not know."""
    if interval not in INTERVALS:
        raise UsageError(f"interval {interval!r} is unknown{suggestion(interval, INTERVALS)}")
    return INTERVALS[interval]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """One symbol's complete bars, oldest first, checked when made; raises DataError naming the bar.

    `opened_at[t]` labels bar t: the session date at midnight for daily bars and longer, else the
    UTC start. A bar is known from `closed_at[t]` on, not before. Where only closes are published,
    open, high and low are NaN together. `adjustment` turns printed prices into split- and
    dividend-adjusted ones. The arrays are copies that nobody can write to.
    """

    symbol: Symbol
    interval: str = "1d"
    opened_at: Times  # [T] datetime64[us], UTC
    open: Floats  # [T] as printed; NaN where only a close is known
    high: Floats  # [T]
    low: Floats  # [T]
    close: Floats  # [T]
    volume: Floats  # [T] NaN where unknown
    adjustment: Floats  # [T] multiplies a printed price; 1 where there is nothing to adjust

    def __post_init__(self) -> None:
        """Refuse what no market prints."""
        duration(self.interval)
        for field in fields(self)[2:]:
            column = _frozen(getattr(self, field.name), field.name)
            object.__setattr__(self, field.name, column)
            if column.shape != self.opened_at.shape or column.ndim != 1:
                shapes = f"{column.shape}, opened_at {self.opened_at.shape}"
                raise DataError(f"{self.symbol}: {field.name} has shape {shapes}; give one a bar")
        for column, rule, bad in _broken_rules(self):
            if bad.any():
                raise _complaint(self, column, rule, bad)

    def __len__(self) -> int:
        return len(self.opened_at)

    def label(self, t: int) -> str:
        """`opened_at[t]` for people: a date where it is midnight, else a UTC time."""
        return str(self.opened_at[t].astype("datetime64[s]")).removesuffix("T00:00:00")

    @property
    def closed_at(self) -> Times:
        """[T] when each bar was complete: its label plus its length.

        For a daily bar that is midnight UTC after the session: later than any exchange's bell.
        """
        return self.opened_at + duration(self.interval)

    def until(self, moment: np.datetime64) -> Self:
        """The bars that were known at `moment`. ValueError for NaT: it would sort last."""
        if np.isnat(moment):
            raise ValueError(f"{self.symbol}: until(NaT): give a moment")
        return self.head(int(np.searchsorted(self.closed_at, moment, side="right")))

    def head(self, n: int) -> Self:
        """The first n bars."""
        return self.select(slice(n))

    def select(self, which: slice | NDArray[np.bool_]) -> Self:
        """The bars `which`, in their order."""
        return replace(self, **{f.name: getattr(self, f.name)[which] for f in fields(self)[2:]})

    def adjusted(self) -> Self:
        """The same bars in split- and dividend-adjusted prices; price times volume stays."""
        factor = self.adjustment
        prices = {name: getattr(self, name) * factor for name in PRICES}
        volume = self.volume / factor
        return replace(self, **prices, volume=volume, adjustment=np.ones_like(factor))


@dataclass(frozen=True, eq=False)
class Panel:
    """Several symbols' bars of one interval, on one clock. Symbols may start, end and miss days.

    In order of their names: sums over members depend on it, and how they were asked for must not.
    """

    members: tuple[Bars, ...]

    def __post_init__(self) -> None:
        """Refuse a panel without members, with mixed intervals, or with a symbol twice."""
        if not self.members:
            raise UsageError("no symbols given: name at least one")
        names = [bars.symbol for bars in self.members]
        for bars in self.members:
            if bars.interval != self.members[0].interval:
                raise UsageError(
                    f"{bars.symbol} has interval {bars.interval}, {names[0]} has"
                    f" {self.members[0].interval}: one run takes one interval"
                )
            if names.count(bars.symbol) > 1:
                raise UsageError(f"symbol {bars.symbol} is given twice: name it once")
        object.__setattr__(self, "members", tuple(sorted(self, key=lambda bars: str(bars.symbol))))

    def __iter__(self) -> Iterator[Bars]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def interval(self) -> str:
        """The members' common interval."""
        return self.members[0].interval

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Names in the members' order."""
        return tuple(bars.symbol for bars in self.members)

    @property
    def clock(self) -> Times:
        """Every closing time of any member, once, in order."""
        return np.unique(np.concatenate([bars.closed_at for bars in self.members]))

    def until(self, moment: np.datetime64) -> Self:
        """The panel as it was known at `moment`. Bar t of a member is bar t before and after."""
        return type(self)(tuple(bars.until(moment) for bars in self.members))

    def adjusted(self) -> Self:
        """Every member in adjusted prices."""
        return type(self)(tuple(bars.adjusted() for bars in self.members))


def _frozen(values: Any, name: str) -> NDArray[Any]:
    """Column `name` as an array that nobody can write to; a copy unless it is one already."""
    array = np.asarray(values, dtype="datetime64[us]" if name == "opened_at" else np.float64)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _broken_rules(bars: Bars) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """(column, what is wrong, which bars) for each rule of a legal bar."""
    prices = {name: getattr(bars, name) for name in PRICES}
    step = np.diff(bars.opened_at, prepend=bars.opened_at[:1] - np.timedelta64(1, "D"))
    yield "opened_at", "it has no time", np.isnat(bars.opened_at)
    yield "opened_at", "it has the same time as the bar before it", step == np.timedelta64(0)
    yield "opened_at", "it is earlier than the bar before it", step < np.timedelta64(0)
    close_only = np.isnan(bars.open) & np.isnan(bars.high) & np.isnan(bars.low)
    for name, price in prices.items():
        unknown = ~np.isfinite(price) & ~(close_only & (name != "close"))
        yield name, f"{name} is not a number", unknown
        yield name, f"{name} is zero or negative", price <= 0
    top, bottom = np.fmax(bars.open, bars.close), np.fmin(bars.open, bars.close)
    yield "high", "high is below low", bars.high < bars.low
    yield "high", "high is below open or close", bars.high < top * (1 - ENVELOPE_TOLERANCE)
    yield "low", "low is above open or close", bars.low > bottom * (1 + ENVELOPE_TOLERANCE)
    volume, factor = bars.volume, bars.adjustment
    yield "volume", "volume is negative or infinite", (volume < 0) | np.isinf(volume)
    yield "adjustment", "adjustment is not a positive number", ~(factor > 0) | np.isinf(factor)


def _complaint(bars: Bars, column: str, rule: str, bad: NDArray[np.bool_]) -> IllegalBarError:
    """One line that names the first broken bar with its values, and how many there are."""
    t = int(np.flatnonzero(bad)[0])
    shown = dict.fromkeys((*PRICES, "volume", column))
    values = " ".join(f"{n}={getattr(bars, n)[t]:.10g}" for n in shown if n != "opened_at")
    message = (
        f"{bars.symbol}: bar {t} ({bars.label(t)}): {rule}: {values}"
        f" ({int(bad.sum())} such of {len(bars)}); mend or drop it"
    )
    return IllegalBarError(message, t, column, rule)
