"""HARX: its gradient, its own law, its limits, and regressors that do not look ahead."""

import math
from dataclasses import replace

import numpy as np
import pytest
from panels import bars_from_returns, garch_panel, rewritten_after

from forecaster.bars import Floats, Panel
from forecaster.distributions import SkewT
from forecaster.econometrics import harx, sample
from forecaster.econometrics.harx import Harx, Sample, fit_harx, fit_horizons, fit_skew, sample_of
from forecaster.econometrics.regressors import REGRESSORS, floored, regressors
from forecaster.features import known_moments

SLOPES = np.array([[0.4, -0.2], [0.2, 0.1]])


def drawn(n: int = 6000, seed: int = 0) -> Sample:
    """Two symbols whose returns follow the model exactly."""
    rng = np.random.default_rng(seed)
    xs, rs = [], []
    for i in range(2):
        x = rng.normal(size=(n, 2))
        one = np.ones((n, 1))
        z = SkewT(0.05 * one, one, -0.2 * one, 6.0 * one).sample(rng, 1)[0][:, 0]
        xs.append(x)
        rs.append(np.exp(-4.0 - i + x @ SLOPES[i]) * z)
    return sample_of(("A", "B"), xs, rs)


def numeric_gradient(theta: Floats, sample: Sample, rho: float) -> Floats:
    out = np.empty_like(theta)
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = 1e-6
        up, down = (harx._loss(theta + s * step, sample, rho)[0] for s in (1, -1))  # pyright: ignore[reportPrivateUsage]
        out[k] = (up - down) / 2e-6
    return out


@pytest.mark.parametrize("season", [0, 1])
@pytest.mark.parametrize("own", [0, 4])
def test_the_gradient_is_the_gradient(own: int, season: int):
    rng = np.random.default_rng(1)
    theta = np.concatenate(([-4.0, -5.0], rng.normal(0, 0.1, 2 + own), [0.03, -0.05, 1.5]))
    sample = replace(drawn(500), season=season)
    found = harx._loss(theta, sample, 30.0)[1]  # pyright: ignore[reportPrivateUsage]
    np.testing.assert_allclose(found, numeric_gradient(theta, sample, 30.0), rtol=1e-4, atol=1e-7)


def test_it_finds_the_parameters_of_its_own_law():
    sample = drawn(20_000)
    fitted = fit_harx(sample, 0.0)
    np.testing.assert_allclose(fitted.slope / fitted.deviation, SLOPES, atol=0.03)
    assert fitted.loc == pytest.approx(0.05, abs=0.02)
    assert fitted.skew == pytest.approx(-0.2, abs=0.04)
    assert fitted.df == pytest.approx(6.0, abs=0.8)


def test_shrinkage_leads_from_own_to_pooled():
    sample = drawn()
    own, between, pooled = (fit_harx(sample, rho) for rho in (0.0, 2000.0, math.inf))
    gaps = [np.abs(m.slope[0] - m.slope[1]).max() for m in (own, between, pooled)]
    assert gaps[0] > gaps[1] > gaps[2] == 0.0


def test_an_unseen_symbol_gets_the_common_model():
    fitted = fit_harx(drawn(), 10.0)
    x = np.zeros((3, 2)) + fitted.mean
    expected = np.exp(fitted.intercept.mean())
    np.testing.assert_allclose(fitted.scale("C", x), expected)
    assert fitted.scale("A", x)[0] != pytest.approx(expected)


def test_an_unknown_regressor_counts_as_its_mean():
    fitted = fit_harx(drawn(), math.inf)
    x = np.array([[np.nan, 1.0], [fitted.mean[0], 1.0]])
    scales = fitted.scale("A", x)
    assert scales[0] == pytest.approx(scales[1])


def test_a_shape_alone_is_a_fit_without_regressors():
    z = stats_sample(-0.3, 5.0, 20_000)
    loc, scale, skew, df = fit_skew(3.0 * z)
    assert (loc, scale) == (pytest.approx(0.0, abs=0.05), pytest.approx(3.0, rel=0.05))
    assert (skew, df) == (pytest.approx(-0.3, abs=0.05), pytest.approx(5.0, abs=0.6))
    assert fit_skew(np.ones(5)) == (0.0, 1.0, 0.0, 5.0)


def stats_sample(skew: float, df: float, n: int) -> Floats:
    one = np.ones((1, 1))
    rng = np.random.default_rng(2)
    return SkewT(0 * one, one, skew * one, df * one).sample(rng, n)[:, 0, 0]


def test_it_is_better_than_a_constant_scale_where_volatility_moves():
    panel = garch_panel(2500, 2)
    models = fit_horizons(panel, (1,))
    assert isinstance(models[0], Harx)
    bars = panel.members[0]
    scale = models[0].scale(bars.symbol, regressors(bars))[100:-1]
    returns = np.log(bars.close[101:] / bars.close[100:-1])
    fixed = np.log(returns.std()) + 0.5
    assert (np.log(scale) + 0.5 * (returns / scale) ** 2).mean() < fixed - 0.05


def test_no_regressor_sees_the_future():
    panel = garch_panel(400, 1)
    bars = panel.members[0]
    other = rewritten_after(panel, bars.closed_at[250]).members[0]
    before, after = regressors(bars), regressors(other)
    assert before.shape == (400, len(REGRESSORS))
    assert before[:251].tobytes() == after[:251].tobytes()
    assert not np.allclose(before[251:], after[251:], equal_nan=True)


def test_a_bar_that_hardly_moved_is_floored_by_its_neighbours():
    variance = np.full(100, 1e-4)
    variance[50] = 0.0
    assert floored(variance)[50] == pytest.approx(2e-6)
    assert floored(variance)[49] == 1e-4


def test_a_constant_price_is_fitted_without_a_crash():
    still = Panel((bars_from_returns("STILL", np.zeros(400), 0),))
    bars = still.members[0]
    scale = fit_horizons(still, (1,))[0].scale("STILL", regressors(bars))
    assert np.isfinite(scale[70:]).all()
    assert scale[-1] < 1e-4


def test_moments_of_parts_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: means of the parts' means, which are other bits."""
    x = np.random.default_rng(7).standard_normal((1000, 5)) ** 3
    x[::17, 2] = np.nan
    x[:, 4] = 1.0
    monkeypatch.setattr(sample, "ROWS", 64)
    found, known = sample.moments(x), known_moments(x)
    np.testing.assert_array_equal(found, known)
    means = np.array([np.nanmean(x[i : i + 64], axis=0) for i in range(0, 1000, 64)])
    assert (means.mean(axis=0)[:4] != known[0][:4]).all()
