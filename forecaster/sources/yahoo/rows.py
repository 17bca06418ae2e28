"""Rows of an answer: which are kept, what is unknown in them, and what must not be stored."""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, Times
from forecaster.errors import DataError
from forecaster.symbols import Symbol

MOST_DROPPED, RECENT, MOST_RECENT = 0.05, 60, 5  # rows without a close, of all and of the last
UNIT, UNIT_TOLERANCE = 100.0, 0.1  # a hundredfold step is pounds and pence, not a market
FACTOR_TOLERANCE = 1e-3  # Yahoo's own factors against those of its events
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """What was asked, and when."""

    symbol: Symbol
    interval: str
    start: date
    end: date | None
    now: datetime  # UTC


def asked_for(question: Question, days: Times, notes: list[str]) -> Flags:
    """[T] whether each bar's session, `days` [T], is in the range.

    Rows before it were never asked for; they are named.
    """
    early = days < np.datetime64(question.start)
    note(notes, "before the range, dropped", days[early])
    if question.end is None:
        return ~early
    return ~early & (days <= np.datetime64(question.end))


def without_close(
    question: Question, prices: Floats, rows: tuple[Times, Flags, Flags], notes: list[str]
) -> Flags:
    """[T] rows that have no close: gaps, never filled. DataError where they are too many.

    `rows` are their times, whether they are kept, and whether their session has an event, each [T]:
    yfinance adds rows for events.
    """
    times, kept, on_event = rows
    missing = np.isnan(prices[:, 3])
    gaps = missing & kept & ~on_event
    if question.interval == "30m":  # yfinance makes it from 15m, with empty rows for the nights
        return missing
    note(notes, "without a close, left as gaps", times[gaps])
    recent = np.flatnonzero(kept)[-RECENT:]
    if gaps.sum() > MOST_DROPPED * kept.sum() or gaps[recent].sum() > MOST_RECENT:
        raise DataError(
            f"{question.symbol}: {int(gaps.sum())} of {int(kept.sum())} bars have no close,"
            f" {int(gaps[recent].sum())} of the last {len(recent)}: too many to be trusted;"
            " try later, or another --start"
        )
    return missing


def sound(prices: Floats, times: Times, notes: list[str]) -> dict[str, Floats]:
    """Columns of prices; where open, high and low cannot belong to the close, only that is known.

    A close that is zero or negative is left, for Bars to refuse.
    """
    opened, high, low, close = prices.T.copy()
    slack = 1e-6  # providers round on their own
    top, bottom = np.fmax(opened, close) * (1 - slack), np.fmin(opened, close) * (1 + slack)
    fair = (opened > 0) & (low > 0) & (high >= top) & (low <= bottom) & (high >= low)
    note(notes, "with impossible open, high or low: only the close is kept", times[~fair])
    for column in (opened, high, low):
        column[~fair] = np.nan
    return {"open": opened, "high": high, "low": low, "close": close}


def volume(
    frame: pd.DataFrame, prices: Floats, times: Times, keep: Flags, notes: list[str]
) -> Floats:
    """[kept] volume; NaN where it is 0 though prices moved: yfinance writes 0 for unknown."""
    volume = frame["Volume"].to_numpy(dtype=np.float64)[keep]
    unknown = (volume == 0) & (prices[keep, 1] > prices[keep, 2])
    note(notes, "with volume 0 though prices moved: unknown", times[keep][unknown])
    return np.where(unknown, np.nan, volume)


def check_units(bars: Bars) -> None:
    """Refuse a hundredfold step from bar to bar that no event explains."""
    close = bars.close * bars.adjustment
    step = np.maximum(close[1:] / close[:-1], close[:-1] / close[1:])
    odd = np.abs(step / UNIT - 1) < UNIT_TOLERANCE
    if odd.any():
        t = int(np.flatnonzero(odd)[0]) + 1
        raise DataError(
            f"{bars.symbol}: close goes from {bars.close[t - 1]:.10g} to {bars.close[t]:.10g} on"
            f" {bars.label(t)} without an event: a change of unit; --start {bars.label(t)[:10]}"
            " leaves it out"
        )


def check_factors(bars: Bars, adj_close: Floats, notes: list[str]) -> None:
    """Note where Yahoo's adjusted closes are not those of its own events, which are used."""
    if bars.interval != "1d":
        return
    if not (adj_close > 0).all():
        notes.append("some adjusted closes of Yahoo are no prices: its events are used")
        return
    ratio = adj_close / (bars.close * bars.adjustment)
    off = np.abs(ratio / ratio[-1] - 1)
    what = f"adjusted by Yahoo up to {off.max():.1%} off its events, which are used"
    note(notes, what, bars.opened_at[off > FACTOR_TOLERANCE])


def note(notes: list[str], what: str, times: Times) -> None:
    """`3 bars, the first 2024-03-04, <what>`, if there are any."""
    if len(times):
        first = str(times[0].astype("datetime64[s]")).removesuffix("T00:00:00")
        count = "1 bar" if len(times) == 1 else f"{len(times)} bars, the first"
        notes.append(f"{count} {first} {what}")
