"""Shapes and GARCH against scipy, arch, and parameters that we chose ourselves."""

import numpy as np
import pytest
from arch import arch_model
from panels import garch_returns
from scipy import stats

from forecaster.econometrics import garch as garch_module
from forecaster.econometrics.arch_fit import Fit
from forecaster.econometrics.garch import Garch, fit_garch
from forecaster.econometrics.student_t import FEWEST, Shape, fit_shape


def test_a_shape_is_scipys_maximum_likelihood(rng: np.random.Generator):
    z = 0.1 + 0.9 * rng.standard_t(5, 4000)
    df, loc, scale = stats.t.fit(z)
    found = fit_shape(z)
    assert (found.df, found.loc, found.scale) == pytest.approx((df, loc, scale), rel=1e-3)


def test_the_unit_of_z_moves_only_location_and_scale(rng: np.random.Generator):
    z = rng.standard_t(6, 2000)
    one, other = fit_shape(z), fit_shape(50 * z)
    assert other.scale == pytest.approx(50 * one.scale, rel=1e-4)
    assert other.df == pytest.approx(one.df, rel=1e-3)


@pytest.mark.parametrize("z", [np.zeros(500), np.full(500, 3.0), np.r_[np.zeros(499), 1e6]])
def test_z_that_do_not_move_give_a_finite_positive_scale(z: np.ndarray):
    found = fit_shape(z)
    assert np.isfinite([found.loc, found.scale, found.df]).all()
    assert found.scale > 0


def test_too_few_z_give_the_standard_shape():
    assert fit_shape(np.ones(FEWEST - 1)) == Shape(0.0, 1.0, 5.0)


def test_the_recursion_is_archs():
    r = garch_returns(1500, 3)
    fitted = fit_garch(r)
    assert fitted is not None
    at = [100 * fitted.mu, 1e4 * fitted.omega, fitted.alpha, fitted.beta, 6.0]
    theirs = arch_model(100 * r, vol="GARCH", p=1, q=1, dist="t", rescale=False).fix(at)
    ours = np.sqrt(fitted.next_variance(r))
    # From bar 500 on the two start values are forgotten.
    np.testing.assert_allclose(100 * ours[500:-1], theirs.conditional_volatility[501:], rtol=1e-6)
    ahead = theirs.forecast(horizon=20).variance.to_numpy()[-1].sum()
    summed = fitted.cumulative_variance(fitted.next_variance(r)[-1:], 20)[0]
    assert 1e4 * summed == pytest.approx(ahead, rel=1e-6)


def test_it_finds_the_parameters_of_its_own_law():
    fitted = fit_garch(garch_returns(8000, 1, alpha=0.1, beta=0.85))
    assert fitted is not None
    assert fitted.alpha == pytest.approx(0.1, abs=0.03)
    assert fitted.beta == pytest.approx(0.85, abs=0.05)


def test_one_bar_ahead_is_the_next_variance():
    model = Garch(0.0, 1e-6, 0.1, 0.85, 1e-4)
    following = model.next_variance(np.array([np.nan, 0.01, -0.02]))
    assert following[1] == pytest.approx(1e-6 + 0.1 * 1e-4 + 0.85 * following[0])
    np.testing.assert_allclose(model.cumulative_variance(following, 1), following)


@pytest.mark.parametrize("r", [np.zeros(500), np.full(40, 0.01), np.full(500, np.nan)])
def test_returns_without_life_have_no_garch(r: np.ndarray):
    assert fit_garch(r) is None


def test_an_exploded_fit_is_refused_and_clipped_returns_are_tried(monkeypatch: pytest.MonkeyPatch):
    tried = []

    def exploded(r: np.ndarray, *_: object) -> Fit:
        tried.append(np.abs(r).max())
        return Fit(np.array([-9.5e8, 1.0, 0.1, 0.8, 5.0]), r, True, 0.0, 50.0)

    monkeypatch.setattr(garch_module, "most_likely", exploded)
    r = np.r_[garch_returns(500, 2), -0.73]
    assert fit_garch(r) is None
    assert tried[0] == pytest.approx(73.0)
    assert tried[1] < 20.0
