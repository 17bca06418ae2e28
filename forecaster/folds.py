"""Walk-forward: learn from the past, forecast the next stretch, move on, learn again.

A fold's history ends before its first origin. A training target (s, s + h) must lie inside the
history, so no target of a fit overlaps a target of its test: that is the purge, and it needs no gap
of wasted bars.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from forecaster.bars import Panel, Times
from forecaster.errors import DataError
from forecaster.protocol import Origins

FEWEST_PAST = 250  # bars of a symbol before its first origin
KEPT = 2  # a fold's history and its past
_KNOWN: WeakKeyDictionary[Panel, dict[np.datetime64, Panel]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When origins start, how often to refit, and how much past an origin must have."""

    test_from: np.datetime64
    refit_every: int  # bars of the panel's clock
    fewest_past: int = FEWEST_PAST  # bars of a symbol before its first origin
    fewest_history: int = 500  # bars of some symbol before the first fold


@dataclass(frozen=True)
class Fold:
    """Learn from what was known at `train_until`; forecast from `test_from` to `test_until`."""

    index: int
    train_until: np.datetime64
    test_from: np.datetime64
    test_until: np.datetime64
    fewest_past: int

    def history(self, panel: Panel) -> Panel:
        """What a fit may know."""
        return known_at(panel, self.train_until)

    def past(self, panel: Panel) -> Panel:
        """What a forecast may know: everything up to the last origin."""
        return known_at(panel, self.test_until)

    def origins(self, panel: Panel) -> Origins:
        """Every bar of every symbol that closes in the test stretch with enough past before it."""
        members, bars = [], []
        for i, member in enumerate(panel):
            at = member.closed_at
            inside = np.flatnonzero((at >= self.test_from) & (at <= self.test_until))
            inside = inside[inside >= self.fewest_past]
            members.append(np.full(len(inside), i, dtype=np.int64))
            bars.append(inside.astype(np.int64))
        return Origins(np.concatenate(members), np.concatenate(bars))


def known_at(panel: Panel, moment: np.datetime64) -> Panel:
    """`panel.until(moment)`; the last two of each panel are kept as long as it lives.

    Models of one fold ask for the same ones, and what was worked out of a symbol's bars, its
    regressors say, is kept with them.
    """
    kept = _KNOWN.setdefault(panel, {})
    found = kept.pop(moment, None)
    if found is None:
        found = panel.until(moment)
    kept[moment] = found
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)), None)
    return found


def day_of(moment: np.datetime64) -> str:
    """The session that closed at a moment: midnight after a daily bar is still its day."""
    return str((moment - np.timedelta64(1, "us")).astype("datetime64[D]"))


def walk_forward(panel: Panel, schedule: Schedule) -> list[Fold]:
    """Expanding folds in order of time. Raises DataError, with the numbers, for too little."""
    clock = panel.clock
    first = int(np.searchsorted(clock, schedule.test_from, side="right"))
    _refuse_too_little(panel, schedule, clock, first)
    folds = []
    for i, start in enumerate(range(first, len(clock), schedule.refit_every)):
        stop = min(start + schedule.refit_every, len(clock)) - 1
        fold = Fold(i, clock[start - 1], clock[start], clock[stop], schedule.fewest_past)
        if len(fold.origins(panel)):
            folds.append(fold)
    return folds


def _refuse_too_little(panel: Panel, schedule: Schedule, clock: Times, first: int) -> None:
    """Name the symbol, what it has and what it needs."""
    day = str(schedule.test_from.astype("datetime64[D]"))
    for bars in panel:
        if len(bars) <= schedule.fewest_past:
            raise DataError(
                f"{bars.symbol}: {len(bars)} bars, needs at least {schedule.fewest_past + 1}"
                f" ({schedule.fewest_past} of past and one origin); leave it out or fetch more"
            )
        if np.ptp(bars.close) == 0:
            raise DataError(
                f"{bars.symbol}: all {len(bars)} closes are {bars.close[0]:g}; leave it out, there"
                " is nothing to forecast"
            )
    if first == len(clock):
        last = clock[-1].astype("datetime64[D]") if len(clock) else "nothing"
        raise DataError(
            f"test from {day}: no bar is later, the last is of {last}; test from earlier"
        )
    longest = max(panel, key=lambda bars: int((bars.closed_at < clock[first]).sum()))
    known = int((longest.closed_at < clock[first]).sum())
    if known < schedule.fewest_history:
        raise DataError(
            f"{longest.symbol}: {known} bars before the first fold ({day}), needs at least"
            f" {schedule.fewest_history}; test from a later day or fetch more history"
        )
