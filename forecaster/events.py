"""Dividends and splits of one symbol, and what they make of its printed prices.

Let S(d) be the product of the ratios of all splits that go ex after day d. Split-adjusted prices
are printed ones over S, split-adjusted volumes printed ones times S. The adjustment of bar t is

    A[t] = 1/S(t) * product over dividends D that go ex after t of (1 - D / C),

C the last close before the ex-date in the shares of that day (CRSP's factor, as Yahoo's own). An
event multiplies everything before it by one number, so the adjustment as of a day is A over A of
that day: later events cancel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from forecaster.bars import Bars, Floats, Times
from forecaster.errors import DataError

Kind = Literal["dividend", "split"]


@dataclass(frozen=True, order=True)
class Event:
    """A dividend, in currency a share of its ex-date, or a split, in new shares for an old one."""

    ex_date: str  # ISO
    kind: Kind
    value: float


def later_splits(days: Times, events: Iterable[Event]) -> Floats:
    """[T] S of each of the sessions `days` [T]: what makes a split-adjusted price the printed one.

    Days are the exchange's, as ex-dates are: a session of Sydney begins on the UTC day before.
    """
    product = np.ones(len(days))
    for event in events:
        if event.kind == "split":
            product[days < np.datetime64(event.ex_date)] *= event.value
    return product


def adjustment(bars: Bars, days: Times, events: Iterable[Event]) -> Floats:
    """[T] A of each bar, `days` [T] being their sessions, in order.

    Raises DataError for a dividend that is not below the price it is of.
    """
    events = sorted(events)
    factor = 1 / later_splits(days, events)
    for event in events:
        ex = np.datetime64(event.ex_date)
        before = int(np.searchsorted(days, ex)) - 1
        if event.kind != "dividend" or before < 0:
            continue
        around = np.array([days[before], ex])
        old, new = later_splits(around, events)
        share = event.value * old / new / bars.close[before]
        if not 0 < share < 1:
            raise DataError(
                f"{bars.symbol}: dividend {event.value:.10g} of {event.ex_date} is not between 0"
                f" and the close before it, {bars.close[before]:.10g}: wrong unit or wrong event"
            )
        factor[: before + 1] *= 1 - share
    return factor
