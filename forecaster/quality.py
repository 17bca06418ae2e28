"""What is odd about a symbol's bars: counted, dated, never mended.

Descriptive and of the whole sample: it is shown and stored beside the bars, and no model reads it.
What models must not read of a bar they learn from the same functions of candle.py, bar by bar,
of adjusted prices; opens are judged as printed here, for adjusting moves last digits.
T bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, Times, duration
from forecaster.candle import Candles, traded
from forecaster.findings import Finding, Quality
from forecaster.sessions import DAY, expected, weekdays, weeks

MOST_SHOWN = 10  # labels a finding
# The smallest common split is 3:2, a step of ln 1.5 = 0.41, less what the day itself did.
JUMP = float(np.log(1.4))
NOT_AN_OPEN = 0.5  # share of a year's opens that equal the close before them
ODD_PHASE = 0.01  # share of bars below which a place in the hour is a snapshot's, not the market's
SHORT = 0.5  # of a weekday's usual number of bars
MICROSECOND = np.timedelta64(1, "us")
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known besides the bars."""

    exchange: str = ""  # of exchange_calendars; empty where unknown
    others: Sequence[Times] = ()  # labels of other symbols' bars
    fetched_at: np.datetime64 | None = None  # UTC


def examine(bars: Bars, context: Context | None = None) -> Quality:
    """The findings on one bar or more. Raises UsageError for an unknown exchange."""
    given = context or Context()
    weekly = duration(bars.interval) > DAY
    days = weeks(bars) if weekly else expected(bars, given.exchange, given.others)
    candles = Candles(_previous(bars.close), bars.open, bars.high, bars.low, bars.close)
    stale = np.isfinite(candles.open) & np.isfinite(candles.previous) & ~candles.open_is_real
    years, share = _stale_years(bars, stale, candles)
    adjusted = bars.adjusted().close
    step = np.abs(np.log(adjusted / _previous(adjusted)))
    labels, opens = bars.label, int((np.isfinite(candles.open[1:])).sum())

    def finding(flags: Flags, of: int = len(bars)) -> Finding:
        places = tuple(labels(int(t)) for t in np.flatnonzero(flags)[:MOST_SHOWN])
        return Finding(count=int(flags.sum()), of=of, first=places)

    return Quality(
        symbol=str(bars.symbol),
        interval=bars.interval,
        rows=len(bars),
        sessions=days.by,
        missing=_of_days(days.days, ~np.isin(days.days, days.printed)),
        unexpected=_of_days(days.printed, ~np.isin(days.printed, days.days)),
        short_days=_short_days(bars, days.of_bars),
        stale_opens=finding(stale, opens),
        stale_years=years,
        stale_share=share,
        zero_volume=finding(np.isfinite(bars.volume) & ~traded(bars.volume)),
        unknown_volume=finding(np.isnan(bars.volume)),
        jumps=finding(step > JUMP, len(bars) - 1),
        repeated=finding(repeated(bars)),
        partial=finding(_partial(bars, given.fetched_at)),
        flat=finding(bars.high == bars.low),
        close_only=finding(np.isnan(bars.open)),
    )


def repeated(bars: Bars) -> Flags:
    """[T] whether a bar is the one before once more; two idle bars at one price are not."""
    same = np.zeros(len(bars), dtype=bool)
    columns = (bars.open, bars.high, bars.low, bars.close)
    same[1:] = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    unknown = np.isnan(bars.volume)
    busy = np.where(unknown, bars.high > bars.low, traded(bars.volume))
    return same & busy & (unknown | (bars.volume == _previous(bars.volume)))


def _previous(x: Floats) -> Floats:
    """[T] the value before each; NaN first."""
    return np.concatenate(([np.nan], x[:-1]))


def _partial(bars: Bars, fetched_at: np.datetime64 | None) -> Flags:
    """[T] bars that were not over when fetched, or that begin where bars do not begin."""
    early = np.zeros(len(bars), dtype=bool)
    if fetched_at is not None:
        early = bars.closed_at > fetched_at
    if duration(bars.interval) >= DAY:
        return early
    into = np.mod(bars.opened_at.astype(np.int64), duration(bars.interval) // MICROSECOND)
    _, which, count = np.unique(into, return_inverse=True, return_counts=True)
    return early | (count < ODD_PHASE * len(bars))[which]


def _short_days(bars: Bars, days: Times) -> Finding:
    """Intraday: days with less than half of the median number of bars of their weekday.

    `days` [T] are the bars' sessions.
    """
    if duration(bars.interval) >= DAY:
        return Finding(count=0, of=0)
    dates, count = np.unique(days, return_counts=True)
    weekday, usual = weekdays(dates), np.zeros(7)
    for each in np.unique(weekday):
        usual[each] = np.median(count[weekday == each])
    return _of_days(dates, count < SHORT * usual[weekday])


def _stale_years(bars: Bars, stale: Flags, candles: Candles) -> tuple[str, float]:
    """First to last year in which most opens are stale, and the share in those years."""
    year = bars.opened_at.astype("datetime64[Y]").astype(np.int64) + 1970
    judged = np.isfinite(candles.open) & np.isfinite(candles.previous)
    bad = [y for y in np.unique(year[judged]) if stale[judged & (year == y)].mean() > NOT_AN_OPEN]
    if not bad:
        return "", 0.0
    inside = judged & (year >= bad[0]) & (year <= bad[-1])
    span = f"{bad[0]}-{bad[-1]}" if len(bad) > 1 else f"{bad[0]}"
    return span, float(stale[inside].mean())


def _of_days(days: Times, flags: Flags) -> Finding:
    """A finding on days."""
    first = tuple(str(day) for day in days[flags][:MOST_SHOWN])
    return Finding(count=int(flags.sum()), of=len(days), first=first)
