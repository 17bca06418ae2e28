"""Folds: the purge by brute force, every origin once, too little history refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import garch_panel, walk_panel

from forecaster.bars import Panel
from forecaster.errors import DataError
from forecaster.folds import Fold, Schedule, known_at, walk_forward


def schedule(panel: Panel, start: int, every: int = 60, past: int = 50, history: int = 100):
    return Schedule(
        test_from=panel.clock[start],
        refit_every=every,
        fewest_past=past,
        fewest_history=history,
    )


def overlaps(panel: Panel, fold: Fold, horizon: int) -> int:
    """Targets of the fit that share a bar with a target of the test, counted one by one."""
    history, origins, shared = fold.history(panel), fold.origins(panel), 0
    for i, bars in enumerate(history):
        learnt = {b for s in range(len(bars) - horizon) for b in range(s + 1, s + horizon + 1)}
        asked = origins.bar[origins.member == i]
        tested = {b for t in asked for b in range(t + 1, t + horizon + 1)}
        shared += len(learnt & tested)
    return shared


@settings(derandomize=True, deadline=None, database=None, max_examples=25)
@given(start=st.integers(120, 250), every=st.integers(1, 90), horizon=st.sampled_from([1, 5, 20]))
def test_no_target_of_a_fit_meets_a_target_of_its_test(start: int, every: int, horizon: int):
    panel = walk_panel(260, 2)
    for fold in walk_forward(panel, schedule(panel, start - 1, every)):
        assert overlaps(panel, fold, horizon) == 0
        assert fold.train_until < fold.test_from <= fold.test_until


def test_a_history_that_reaches_into_the_test_is_caught():
    panel = walk_panel(260, 1)
    fold = walk_forward(panel, schedule(panel, 150))[0]
    leaking = type(fold)(0, fold.test_until, fold.test_from, fold.test_until, 50)
    assert overlaps(panel, leaking, 5) > 0


def test_every_bar_after_the_start_is_an_origin_exactly_once():
    panel = walk_panel(300, 2)
    folds = walk_forward(panel, schedule(panel, 149))
    asked = np.concatenate([f.origins(panel).bar[f.origins(panel).member == 1] for f in folds])
    assert asked.tolist() == list(range(150, 300))


def test_a_young_symbol_joins_when_it_has_enough_past():
    old, young = walk_panel(300, 2).members
    late = type(young)(
        symbol=young.symbol,
        interval=young.interval,
        **{n: getattr(young, n)[120:] for n in ("opened_at", "open", "high", "low", "close")},
        volume=young.volume[120:],
        adjustment=young.adjustment[120:],
    )
    panel = Panel((old, late))
    folds = walk_forward(panel, schedule(panel, 149))
    first = min(int(f.origins(panel).bar[f.origins(panel).member == 1].min()) for f in folds[:1])
    assert first == 50


def test_prices_that_never_move_are_refused():
    bars = walk_panel(900, 1).members[0]
    flat = np.full(900, 5.0)
    still = Panel((replace(bars, open=flat, high=flat, low=flat, close=flat),))
    with pytest.raises(DataError, match="WALK-0: all 900 closes are 5; leave it out"):
        walk_forward(still, schedule(still, 600))


@pytest.mark.parametrize(
    ("panel", "start", "text"),
    [
        (walk_panel(196, 1), 100, r"WALK-0: 196 bars, needs at least 251 \(250 of past"),
        (walk_panel(900, 1), 300, "WALK-0: 301 bars before the first fold .*needs at least 500"),
        (walk_panel(900, 1), 899, "no bar is later, the last is of 2002-06-21"),
    ],
)
def test_too_little_is_refused_with_its_numbers(panel: Panel, start: int, text: str):
    with pytest.raises(DataError, match=text):
        walk_forward(panel, Schedule(test_from=panel.clock[start], refit_every=252))


def test_a_history_is_made_once_and_two_are_kept() -> None:
    panel = garch_panel(900, 2)
    moments = panel.clock[[500, 600, 700]]
    first, second = (known_at(panel, moment) for moment in moments[:2])
    assert known_at(panel, moments[0]) is first
    third = known_at(panel, moments[2])  # the one that was asked for longest ago goes
    assert known_at(panel, moments[0]) is first
    assert known_at(panel, moments[1]) is not second
    for found, moment in zip((first, second, third), moments, strict=True):
        wanted = panel.until(moment)
        assert [len(bars) for bars in found] == [len(bars) for bars in wanted]
        assert all((bars.closed_at <= moment).all() for bars in found)
