"""A learner in a pool: itself for the next bar, one of three beyond it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from panels import garch_panel, rewritten_after, walk_panel
from sweep import relabelled

from forecaster import pooled, training
from forecaster.bars import Panel
from forecaster.baselines.empirical import FittedHarEmpirical, HarEmpirical
from forecaster.baselines.pool import FittedPool
from forecaster.config import LearnerConfig, RunConfig
from forecaster.errors import CheckpointError, DataError
from forecaster.learner import BackboneForecaster, FittedLearner
from forecaster.pooled import PooledLearner
from forecaster.predicting import predict
from forecaster.protocol import Origins
from forecaster.runs import RunFolder

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
    assert isinstance(fitted, FittedPool)
    own = fitted.members[0].forecast(panel, origins, HORIZONS)
    rest = [each.forecast(panel, origins, HORIZONS) for each in fitted.members[1:]]
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
    assert isinstance(fitted, FittedLearner)


def test_bars_within_a_day_are_forecast_alone(panel: Panel):
    """What the learner is pooled with knows no season of the day, and would blur it."""
    hours = Panel(tuple(relabelled(bars, str(bars.symbol), "1h") for bars in panel))
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(hours, HORIZONS)
    assert isinstance(fitted, FittedLearner)


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


@dataclass(frozen=True)
class Peeks:
    """A planted leak: fitted to bars that nobody gave it."""

    whole: Panel
    name: str = "peeks"

    def fit(self, history: Panel, horizons: Sequence[int]) -> FittedHarEmpirical:  # noqa: ARG002  the leak
        return HarEmpirical().fit(self.whole, horizons)


def told(panel: Panel) -> np.ndarray:
    """What a pool says at bars 595 to 599, fitted on the bars to 590."""
    origins, y = Origins(np.zeros(5, dtype=np.int64), np.arange(595, 600)), np.full((5, 3), 0.01)
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(
        panel.until(panel.clock[590]), HORIZONS
    )
    return fitted.forecast(panel.until(panel.clock[599]), origins, HORIZONS).logpdf(y)


def test_members_know_nothing_after_the_history(monkeypatch: pytest.MonkeyPatch):
    panel = walk_panel(700)
    other = rewritten_after(panel, panel.clock[599])
    np.testing.assert_array_equal(told(panel), told(other))
    peeked = []
    for whole in (panel, other):
        monkeypatch.setattr(pooled, "MEMBERS", (Peeks(whole),))
        peeked.append(told(whole))
    assert np.abs(peeked[0] - peeked[1]).max() > 0


@pytest.fixture(scope="module")
def trained(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = RunConfig(symbols=panel.symbols, horizons=HORIZONS, learner=TINY)
    run = RunFolder.create(tmp_path_factory.mktemp("pool") / "run", "train", config)
    plan = training.plan_training(config, panel, str(panel.clock[590].astype("datetime64[D]")))
    training.run_training(plan, run, lambda *_: None, resume=False)
    return run


def test_predict_pools_as_a_backtest_does(panel: Panel, trained: RunFolder):
    history = panel.until(training.midnight_after(str(panel.clock[590].astype("datetime64[D]"))))
    fitted = PooledLearner(BackboneForecaster("llama", TINY)).fit(history, HORIZONS)
    last = Origins(np.arange(2), np.array([len(bars) - 1 for bars in panel]))
    table, notes = predict(trained, panel, None)
    median = fitted.forecast(panel, last, HORIZONS).quantile([0.5])[..., 0]
    found = table.sort_by([("unique_id", "ascending"), ("h", "ascending")])["predictions"]
    np.testing.assert_allclose(found.to_numpy(), median.ravel(), rtol=1e-9, atol=1e-12)
    assert notes == ()


def test_predict_refuses_a_store_that_lost_the_trainings_bars(panel: Panel, trained: RunFolder):
    cut = Panel(tuple(bars.select(np.arange(len(bars)) >= 300) for bars in panel))
    with pytest.raises(
        CheckpointError, match=r"trained on \d+ bars, the store has \d+ of that time"
    ):
        predict(trained, cut, None)
    table, _ = predict(trained, cut, (1,))
    assert table.num_rows == 2
