"""A learner in a pool: itself for the next bar, one of three beyond it."""

import numpy as np
import pytest
from panels import garch_panel, walk_panel

from forecaster import pooled
from forecaster.bars import Panel
from forecaster.config import LearnerConfig, RunConfig
from forecaster.errors import DataError
from forecaster.learner import BackboneForecaster
from forecaster.pooled import PooledLearner
from forecaster.protocol import Origins

TINY = LearnerConfig(context=32, d_model=16, n_layers=1, n_heads=2, steps=3, seeds=1, batch=8)
HORIZONS = (1, 5, 20)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return garch_panel(700, 2)


@pytest.fixture(scope="module")
def origins() -> Origins:
    at = np.arange(600, 690)
    return Origins(np.repeat([0, 1], len(at)), np.tile(at, 2))


def test_the_next_bar_is_the_learners_alone_and_later_ones_a_third(panel: Panel, origins: Origins):
    history = panel.until(panel.clock[590])
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(history, HORIZONS)
    y = np.random.default_rng(0).normal(0, 0.02, (len(origins), 3))
    together = fitted.forecast(panel, origins, HORIZONS)
    own = fitted.learner.forecast(panel, origins, HORIZONS)
    rest = [each.forecast(panel, origins, HORIZONS) for each in fitted.members]
    assert len(rest) == 2
    for ask in ("logpdf", "cdf", "crps"):
        np.testing.assert_array_equal(getattr(together, ask)(y)[:, 0], getattr(own, ask)(y)[:, 0])
    mean = (own.cdf(y) + sum(each.cdf(y) for each in rest)) / 3
    np.testing.assert_allclose(together.cdf(y)[:, 1:], mean[:, 1:], rtol=1e-12)
    planted = mean.copy()
    planted[:, 1:] = own.cdf(y)[:, 1:]
    assert np.abs(planted - together.cdf(y))[:, 1:].max() > 1e-3


def test_one_bar_ahead_alone_costs_nothing(panel: Panel):
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(panel, (1,))
    assert fitted.members == ()


def test_a_member_without_a_fit_is_left_out_and_said(
    panel: Panel, origins: Origins, monkeypatch: pytest.MonkeyPatch
):
    class Refuses:
        name = "refuses"

        def fit(self, history: Panel, horizons: tuple[int, ...]):
            raise DataError(f"{len(history)} symbols are too few for {horizons}")

    monkeypatch.setattr(pooled, "MEMBERS", (Refuses(), pooled.MEMBERS[0]))
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(panel, HORIZONS)
    assert fitted.notes == ("refuses is not in the pool: 2 symbols are too few for (1, 5, 20)",)
    together = fitted.forecast(panel, origins, HORIZONS)
    assert together.shape == (len(origins), 3)


def test_a_config_may_do_without():
    assert all(isinstance(each, PooledLearner) for each in pooled.learners(RunConfig()))
    alone = RunConfig(learner=LearnerConfig(pool=False))
    assert all(isinstance(each, BackboneForecaster) for each in pooled.learners(alone))


def test_members_know_nothing_after_the_history():
    panel = walk_panel(700)
    learner = PooledLearner(BackboneForecaster("llama", TINY))
    history = panel.until(panel.clock[590])
    longer = panel.until(panel.clock[650])
    one = Origins(np.zeros(5, dtype=np.int64), np.arange(595, 600))
    y = np.full((5, 3), 0.01)
    told = [
        learner.fit(h, HORIZONS).forecast(panel, one, HORIZONS).logpdf(y)
        for h in (history, longer.until(panel.clock[590]), longer)
    ]
    np.testing.assert_array_equal(told[0], told[1])
    assert np.abs(told[0] - told[2]).max() > 0
