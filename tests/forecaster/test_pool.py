"""Linear pools: weights from the past alone, and what a pool is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from panels import garch_panel, rewritten_after, walk_panel

from forecaster.bars import Panel
from forecaster.baselines import BASELINES, pool
from forecaster.baselines.naive import RandomWalk
from forecaster.baselines.pool import LOOKBACK, Pool, best_weights, learned_weights
from forecaster.distributions import Gaussian, Mixture
from forecaster.protocol import Origins
from forecaster.scores import truth

MEMBERS = tuple(BASELINES[name] for name in ("random_walk", "ewma_student_t", "garch_student_t"))
POOL = Pool("pool", MEMBERS)


def test_a_pool_scores_no_worse_than_its_worst_member():
    panel = garch_panel(1600, 2)
    asked = Origins(np.repeat([0, 1], 250), np.tile(np.arange(1300, 1550), 2))
    history = panel.until(panel.members[0].closed_at[1299])
    y, _ = truth(panel, asked, (1, 5))
    scores = [
        each.fit(history, (1, 5)).forecast(panel, asked, (1, 5)).logpdf(y).mean(axis=0)
        for each in (POOL, *MEMBERS)
    ]
    assert (scores[0] > np.min(scores[1:], axis=0)).all()


def test_weights_sum_to_one_and_prefer_who_was_right():
    weights = learned_weights(MEMBERS, garch_panel(1600, 2), (1, 5))
    assert weights is not None
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights > 0).all()
    assert weights[0].argmin() == 0  # volatility moves: the random walk was wrong


def test_weights_solve_their_problem():
    """Planted: the weights of a softmax of mean log scores."""
    rng = np.random.default_rng(0)
    logs = np.log(rng.gamma(2.0, 1.0, (400, 3)))
    equal = 30.0

    def value(w: np.ndarray) -> float:
        return float(np.log(np.exp(logs) @ w).sum() + equal / 3 * np.log(w).sum())

    best = best_weights(logs, equal)
    planted = np.exp(logs.mean(axis=0))
    others = [*rng.dirichlet(100 * best, 50), planted / planted.sum(), np.full(3, 1 / 3)]
    assert all(value(best) > value(w) for w in others)
    np.testing.assert_allclose(best_weights(np.full((5, 3), np.nan), equal), 1 / 3)


def test_weights_know_nothing_after_the_history():
    panel = garch_panel(1500, 2)
    moment = panel.clock[1299]
    other = rewritten_after(panel, moment)
    first, second = (POOL.fit(each.until(moment), (1, 5)).weights for each in (panel, other))
    assert first.tobytes() == second.tobytes()
    assert POOL.fit(panel, (1, 5)).weights.tobytes() != first.tobytes()


def test_members_are_scored_on_bars_that_they_were_not_fitted_to():
    """Planted: members fitted to all of the history, which a member that remembers it would win."""
    panel = garch_panel(1300, 1)

    @dataclass(frozen=True)
    class Seen(RandomWalk):
        bars: int = 0

        def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
            assert (origins.bar >= self.bars).all()
            return RandomWalk().forecast(past, origins, horizons)

    @dataclass(frozen=True)
    class Remembers(RandomWalk):
        name: str = "remembers"

        def fit(self, history: Panel, horizons: Sequence[int]) -> Seen:  # noqa: ARG002
            assert len(history.members[0]) in (1300 - LOOKBACK, 1300)
            return Seen(bars=len(history.members[0]))

    weights = learned_weights((Remembers(), RandomWalk()), panel, (1,))
    assert weights is not None
    np.testing.assert_allclose(weights, [[0.5, 0.5]])


def test_too_little_history_gives_equal_weights_and_says_so():
    fitted = POOL.fit(walk_panel(800, 1), (1,))
    assert fitted.weights is not None
    np.testing.assert_allclose(fitted.weights, 1 / 3)
    assert fitted.notes[0] == "too little history for weights: equal ones"


def test_notes_of_members_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("forecaster.baselines.volatility.fit_garch", lambda _: None)
    notes = POOL.fit(garch_panel(1200, 1), (1,)).notes
    wanted = "garch_student_t: GARCH-0: no sound GARCH fit on 1200 bars, RiskMetrics instead"
    assert notes == (wanted,)


def test_members_without_any_density_between_them_are_inverted():
    """Newton's step is infinite there: once a warning, which stops a run under -W error."""
    far = np.array([[1.0]])
    pool = Mixture((Gaussian(-far, 1e-5 * far), Gaussian(far, 1e-5 * far)), np.array([[0.5, 0.5]]))
    found = pool.quantile([0.25, 0.5 + 1e-9, 0.75])[0, 0]
    np.testing.assert_allclose(found, [-1.0, 1.0, 1.0], atol=1e-4)


def test_portions_of_the_past_change_no_bit_of_a_weight(monkeypatch: pytest.MonkeyPatch):
    panel = garch_panel(1600, 4)
    members = tuple(BASELINES[name] for name in ("harx", "har_empirical", "boosted_quantiles"))
    at_once = learned_weights(members, panel, (1, 5))
    monkeypatch.setattr(pool, "PORTION", 1)
    np.testing.assert_array_equal(learned_weights(members, panel, (1, 5)), at_once)
