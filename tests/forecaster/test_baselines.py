"""Baselines by hand on few bars, and by law on many."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from panels import bars_from_returns, garch_panel, walk_panel

from forecaster.bars import Panel
from forecaster.baselines import BASELINES, NAIVE_NAMES, choose
from forecaster.baselines import volatility as volatility_module
from forecaster.baselines.naive import Drift, Historical, RandomWalk, WindowVolatility
from forecaster.baselines.skewed import FittedSkew
from forecaster.baselines.volatility import EwmaGaussian, EwmaStudentT, GarchStudentT
from forecaster.config import RunConfig
from forecaster.distributions import Empirical, Gaussian
from forecaster.errors import DataError, UsageError
from forecaster.folds import Schedule, walk_forward
from forecaster.protocol import Forecaster, Origins
from forecaster.scores import truth
from forecaster.workflows import load_panel

RETURNS = np.array([0.0, 0.01, -0.02, 0.03, 0.01, -0.01, 0.02, 0.0, -0.03, 0.01])


def last(panel: Panel) -> Origins:
    n = len(panel)
    return Origins(np.arange(n), np.array([len(bars) - 1 for bars in panel]))


@pytest.fixture
def ten() -> Panel:
    return Panel((bars_from_returns("TEN", RETURNS, 0),))


def gaussian(forecaster: Forecaster, panel: Panel, horizons: Sequence[int] = (1, 4)) -> Gaussian:
    forecast = forecaster.fit(panel, horizons).forecast(panel, last(panel), horizons)
    assert isinstance(forecast, Gaussian)
    return forecast


def test_random_walk_by_hand(ten: Panel):
    sigma = np.sqrt((RETURNS[1:] ** 2).mean())
    found = gaussian(RandomWalk(), ten)
    np.testing.assert_allclose(found.scale, [[sigma, 2 * sigma]])
    assert (found.loc == 0).all()


def test_drift_by_hand(ten: Panel):
    found = gaussian(Drift(), ten)
    np.testing.assert_allclose(found.loc, [[RETURNS[1:].mean(), 4 * RETURNS[1:].mean()]])
    np.testing.assert_allclose(found.scale, gaussian(RandomWalk(), ten).scale)


def test_window_volatility_by_hand(ten: Panel):
    sigma = np.sqrt((RETURNS[-4:] ** 2).mean())
    np.testing.assert_allclose(gaussian(WindowVolatility(4), ten).scale, [[sigma, 2 * sigma]])


def test_ewma_by_hand(ten: Panel):
    weights = 0.94 ** np.arange(8, -1, -1)
    sigma = np.sqrt((weights * RETURNS[1:] ** 2).sum() / weights.sum())
    np.testing.assert_allclose(gaussian(EwmaGaussian(), ten).scale, [[sigma, 2 * sigma]])


def test_historical_by_hand(ten: Panel):
    forecast = Historical(3).fit(ten, (1, 2)).forecast(ten, last(ten), (1, 2))
    assert isinstance(forecast, Empirical)
    samples = np.sort(forecast.samples[0], axis=-1)
    np.testing.assert_allclose(samples[0], np.sort(RETURNS[-3:]), atol=1e-12)
    pairs = [RETURNS[i] + RETURNS[i + 1] for i in (6, 7, 8)]
    np.testing.assert_allclose(samples[1], np.sort(pairs), atol=1e-12)


def test_a_young_symbol_lends_historical_its_quantiles(ten: Panel):
    forecast = Historical(50).fit(ten, (1,)).forecast(ten, last(ten), (1,))
    assert isinstance(forecast, Empirical)
    assert forecast.samples.shape == (1, 1, 50)
    assert forecast.samples.max() <= RETURNS.max() + 1e-12


def test_the_origin_decides_not_the_end_of_the_past():
    panel = walk_panel(600, 2)
    origins = Origins(np.array([0, 1, 0]), np.array([300, 400, 500]))
    for forecaster in BASELINES.values():
        fitted = forecaster.fit(panel.until(panel.clock[299]), (1, 5))
        rows = fitted.forecast(panel, origins, (1, 5)).quantile(np.array([0.05, 0.5, 0.9]))
        for i in range(3):
            alone = Origins(origins.member[i : i + 1], origins.bar[i : i + 1])
            until = panel.until(panel.members[0].closed_at[int(origins.bar[i])])
            one = fitted.forecast(until, alone, (1, 5)).quantile(np.array([0.05, 0.5, 0.9]))
            np.testing.assert_allclose(rows[i], one[0], rtol=1e-9, atol=1e-12)


def test_a_garch_that_fails_falls_back_to_riskmetrics_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    panel = garch_panel(800, 1)
    sound = GarchStudentT().fit(panel, (1,))
    assert sound.notes == ()
    monkeypatch.setattr(volatility_module, "fit_garch", lambda _: None)
    failed = GarchStudentT().fit(panel, (1,))
    assert failed.notes == ("GARCH-0: no sound GARCH fit on 800 bars, RiskMetrics instead",)
    y = np.array([[0.01]])
    ewma = EwmaStudentT().fit(panel, (1,)).forecast(panel, last(panel), (1,)).logpdf(y)
    assert failed.forecast(panel, last(panel), (1,)).logpdf(y) == ewma
    assert sound.forecast(panel, last(panel), (1,)).logpdf(y) != ewma


def test_a_constant_price_is_forecast_as_one():
    panel = walk_panel(600, 1)
    bars = panel.members[0]
    flat = np.full(len(bars), 70000.01)
    still = Panel((replace(bars, open=flat, high=flat, low=flat, close=flat),))
    for forecaster in BASELINES.values():
        forecast = forecaster.fit(still, (1, 20)).forecast(still, last(still), (1, 20))
        spread = forecast.quantile(np.array([0.05, 0.95]))
        assert np.isfinite(spread).all()
        assert np.abs(spread).max() < 1e-3


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("bars", [40, 100, 400])
def test_a_short_history_gives_a_forecast_or_one_clear_refusal(name: str, bars: int):
    """A symbol that is not there yet is forecast too, once it is."""
    panel = walk_panel(700, 2)
    late = panel.members[1].select(slice(450, None))
    panel = Panel((panel.members[0], late))
    history = panel.until(panel.clock[bars - 1])
    if bars == 40 and name in {"harx", "harx_own", "harx_pooled", "pool_classical"}:
        with pytest.raises(DataError, match=r"WALK-0, WALK-1: at most 0 returns have ended after"):
            BASELINES[name].fit(history, (1, 5))
        return
    fitted = BASELINES[name].fit(history, (1, 5))
    spread = fitted.forecast(panel, last(panel), (1, 5)).quantile([0.05, 0.95])
    assert np.isfinite(spread).all()
    assert (np.diff(spread) < 0.5).all()


def test_names_are_keys_and_naive_ones_are_always_in():
    assert all(name == each.name for name, each in BASELINES.items())
    assert [each.name for each in choose(("naive",))] == list(NAIVE_NAMES)
    assert [each.name for each in choose(("garch_student_t",))] == [*NAIVE_NAMES, "garch_student_t"]
    assert len(choose(("all",))) == len(BASELINES)
    with pytest.raises(UsageError, match=r"baseline 'garch' is unknown; did you mean"):
        choose(("garch",))


def test_boosted_quantiles_need_no_volume():
    """A regressor that no symbol has: once an error out of scikit-learn's bins."""
    panel = Panel(
        tuple(replace(bars, volume=np.full(len(bars), np.nan)) for bars in walk_panel(400))
    )
    fitted = BASELINES["boosted_quantiles"].fit(panel, (1,))
    origins = Origins(np.zeros(5, dtype=np.int64), np.arange(390, 395))
    assert np.isfinite(fitted.forecast(panel, origins, (1,)).logpdf(np.zeros((5, 1)))).all()


@pytest.mark.slow
def test_the_shape_of_one_bar_loses_at_longer_horizons(tmp_path: Path):
    """README's figures: a GJR that keeps one shape at all horizons, as it is usually done."""
    panel, _ = load_panel(RunConfig(), tmp_path, lambda _: None)
    schedule = Schedule(
        test_from=np.datetime64("2006-01-01", "us"),
        refit_every=RunConfig().refit_every,
        fewest_past=250,
    )
    horizons, lost = (5, 20), []
    for fold in walk_forward(panel, schedule):
        fitted = BASELINES["gjr_skew_t"].fit(fold.history(panel), (1, *horizons))
        assert isinstance(fitted, FittedSkew)
        usual = tuple(
            tuple((one[0] * h**0.5, *one[1:]) for h in (1, *horizons)) for one, *_ in fitted.shapes
        )
        past, origins = fold.past(panel), fold.origins(panel)
        y, _ = truth(panel, origins, (1, *horizons))
        ours, theirs = (
            each.forecast(past, origins, (1, *horizons)).logpdf(y)[:, 1:]
            for each in (fitted, FittedSkew(fitted.models, usual))
        )
        lost.append(ours - theirs)
    assert np.nanmean(np.concatenate(lost), axis=0) == pytest.approx([0.0090, 0.0256], abs=5e-4)
