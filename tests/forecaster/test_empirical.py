"""Pareto tails, empirical shapes, EGARCH, simulated paths, boosted quantiles, seasons, memory."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from arch import arch_model
from panels import bars_from_returns, garch_panel, garch_returns, walk_panel
from scipy import stats
from threadpoolctl import threadpool_limits

from forecaster.bars import Panel
from forecaster.baselines import BASELINES
from forecaster.baselines import skewed as skewed_module
from forecaster.baselines.boosted import (
    QUANTILE_TREES,
    SCALE_TREES,
    Bins,
    BoostedQuantiles,
    grow,
)
from forecaster.baselines.expanding import ExpandingGaussian, Seasonal, season_of
from forecaster.distributions import ParetoTailed
from forecaster.econometrics import memo
from forecaster.econometrics.egarch import fit_egarch
from forecaster.econometrics.empirical_shape import LEVELS, fit_empirical_shape, stretched
from forecaster.econometrics.garch import fit_garch
from forecaster.econometrics.har import fit_har
from forecaster.econometrics.pareto import XI_BOUNDS, fit_pareto
from forecaster.econometrics.simulation import simulate_shapes
from forecaster.features import range_variance
from forecaster.protocol import Origins

NEW = ("egarch_skew_t", "filtered_historical", "har_empirical", "boosted_quantiles")


def last(panel: Panel) -> Origins:
    n = len(panel)
    return Origins(np.arange(n), np.array([len(bars) - 1 for bars in panel]))


@pytest.mark.parametrize("xi", [0.1, 0.3])
def test_a_pareto_fit_is_scipys(xi: float):
    excess = np.asarray(stats.genpareto.rvs(xi, scale=2.0, size=3000, random_state=3))
    theirs = stats.genpareto.fit(excess, floc=0)
    assert fit_pareto(excess) == pytest.approx((theirs[2], theirs[0]), rel=1e-3)


@pytest.mark.parametrize("xi", [-0.3, 0.9])
def test_a_tail_that_ends_or_has_no_mean_is_held_at_its_bound(xi: float):
    excess = np.asarray(stats.genpareto.rvs(xi, scale=2.0, size=3000, random_state=3))
    beta, found = fit_pareto(excess)
    assert found == XI_BOUNDS[int(xi > 0)]
    likelihoods = [
        stats.genpareto.logpdf(excess, found, scale=b * beta).sum() for b in (0.9, 1, 1.1)
    ]
    assert np.argmax(likelihoods) == 1


def test_an_empirical_shape_is_nearly_the_law_it_was_drawn_from():
    """Planted: the body alone, stretched to the whole sample, which has no tails to pay for."""
    rng = np.random.default_rng(1)
    z, fresh = rng.standard_t(5, 20_000), rng.standard_t(5, 50_000)
    d = stretched([fit_empirical_shape(z)], np.ones((1, 1))).take(np.zeros(50_000, dtype=int))
    lost = stats.t.logpdf(fresh, 5).mean() - d.logpdf(fresh[:, None]).mean()
    assert 0 < lost < 2e-3
    planted = ParetoTailed(d.levels, d.knots, d.beta / 10, d.xi)
    assert stats.t.logpdf(fresh, 5).mean() - planted.logpdf(fresh[:, None]).mean() > 0.02


@pytest.mark.parametrize("z", [np.zeros(500), np.r_[np.zeros(499), 1e6], np.ones(3), np.empty(0)])
def test_z_that_do_not_move_give_a_shape(z: np.ndarray):
    d = stretched([fit_empirical_shape(z)], np.ones((1, 1)))
    assert np.isfinite(d.logpdf(np.array([[0.0]]))).all()
    assert (np.diff(d.quantile(LEVELS)[0, 0]) > 0).all()


def test_egarch_is_archs():
    r = garch_returns(3000, 3)
    fitted = fit_egarch(r)
    assert fitted is not None
    model = arch_model(100 * r, vol="EGARCH", p=1, o=1, q=1, dist="skewt", rescale=False)
    omega = fitted.omega + (1 - fitted.beta) * 2 * np.log(100)  # of per cents
    at = [100 * fitted.mu, omega, fitted.alpha, fitted.gamma, fitted.beta, 8.0, 0.0]
    theirs = model.fix(at)
    variance = fitted.next_variance(r)
    ours = 100 * np.sqrt(variance[500:-1])
    np.testing.assert_allclose(ours, theirs.conditional_volatility[501:], rtol=1e-9)
    ahead = theirs.forecast(
        horizon=10, method="bootstrap", simulations=20_000, random_state=np.random.RandomState(1)
    )
    summed = fitted.cumulative_variance(variance[-1:], 10)[0]
    assert 1e4 * summed == pytest.approx(ahead.variance.to_numpy()[-1].sum(), rel=5e-3)


def test_simulated_shapes_are_archs_bootstrap():
    r = garch_returns(3000, 3)
    fitted = fit_garch(r, "gjr-skew-t")
    assert fitted is not None
    model = arch_model(100 * r, vol="GARCH", p=1, o=1, q=1, dist="skewt", rescale=False)
    draws = model.fit(disp="off").forecast(
        horizon=10, method="bootstrap", simulations=40_000, random_state=np.random.RandomState(1)
    )
    assert draws.simulations.values is not None
    theirs = draws.simulations.values[-1].sum(axis=1) / 100
    variance = fitted.next_variance(r)[-1:]
    knots = simulate_shapes(fitted, r, (1, 10), (7,)).between(variance)[0][0]
    ours = knots * np.sqrt([fitted.cumulative_variance(variance, h) for h in (1, 10)])
    levels = [0, 20, 70, 90]
    wanted = np.quantile(theirs, LEVELS[levels])
    np.testing.assert_allclose(ours[1][levels], wanted, rtol=0.05, atol=2e-3 * 0.03)
    one = (r[1:] - fitted.mu) / np.sqrt(fitted.next_variance(r)[:-1])
    np.testing.assert_allclose(knots[0][[0, 90]], np.quantile(one, [0.05, 0.95]), rtol=0.05)


def test_har_is_least_squares_by_hand():
    bars = garch_panel(600, 1).members[0]
    log_variance = np.log(range_variance(bars)[1:])
    rows = range(66, 599)
    x = [[1.0, *(log_variance[t - n : t].mean() for n in (1, 5, 22))] for t in rows]
    y = [log_variance[t] for t in rows]
    wanted = np.linalg.lstsq(np.array(x), np.array(y), rcond=None)[0]
    # The floor of still bars moves a few rows.
    np.testing.assert_allclose(fit_har(Panel((bars,)), (1,)).own[bars.symbol][0], wanted, atol=0.05)


def test_boosted_quantiles_do_not_cross_and_do_not_depend_on_threads():
    panel = garch_panel(1500, 3)
    asked = Origins(np.zeros(200, dtype=int), np.arange(1300, 1500))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fitted = BoostedQuantiles().fit(panel, (1, 5))
            found.append(fitted.forecast(panel, asked, (1, 5)))
    one, two = found
    assert (np.diff(one.knots) > 0).all()
    for name in ("knots", "beta", "xi"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.knots.std(axis=0).min() > 0  # it does look at its inputs
    assert fitted.notes == ()


def test_trees_of_shared_bins_are_those_of_their_own():
    """Bit by bit, on more rows than bins are counted on. Planted: bins of other rows."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((201_000, 2))
    x[:9, 1] = np.nan
    y, shared = np.abs(x[:, 0] + rng.standard_normal(len(x))), Bins()
    for trees in (SCALE_TREES, {**QUANTILE_TREES, "quantile": 0.2}):
        few = {**trees, "max_iter": 2}
        alone = grow(few, x, y, 1, Bins()).predict(x)
        assert (grow(few, x, y, 1, shared).predict(x) == alone).all()
    planted = grow(few, x[::-1], y, 1, shared).predict(x[::-1])
    assert (planted != grow(few, x[::-1], y, 1, Bins()).predict(x[::-1])).any()


def test_boosted_quantiles_without_enough_rows_are_one_shape_and_say_so():
    panel = walk_panel(300, 1)
    fitted = BoostedQuantiles().fit(panel, (1,))
    assert fitted.notes == ("fewer than 500 rows: no trees, one scale and shape",)
    assert np.isfinite(fitted.forecast(panel, last(panel), (1,)).knots).all()


def test_expanding_moments_by_hand():
    returns = np.array([0.0, 0.01, -0.02, 0.03, 0.01])
    panel = Panel((bars_from_returns("FIVE", returns, 0),))
    found = ExpandingGaussian().fit(panel, (2,)).forecast(panel, last(panel), (2,))
    pairs = np.array([-0.01, 0.01, 0.04])
    np.testing.assert_allclose([found.loc[0, 0], found.scale[0, 0]], [pairs.mean(), pairs.std()])


def test_a_season_has_the_scale_of_its_own_past():
    """Hours of a day, one of them five times as wild; planted: the last returns of any season."""
    rng = np.random.default_rng(0)
    n = 24 * 60
    returns = rng.normal(0, 0.001, n) * np.where(np.arange(n) % 24 == 14, 5.0, 1.0)
    daily = bars_from_returns("HOURLY", returns, 0)
    start = np.datetime64("2024-01-01", "us")
    bars = replace(daily, interval="1h", opened_at=start + np.arange(n) * np.timedelta64(1, "h"))
    assert season_of(bars)[:25].tolist() == [*range(24), 0]
    panel = Panel((bars,))
    asked = Origins(np.zeros(24, dtype=int), np.arange(n - 24, n))
    scale = Seasonal(20).fit(panel, (1,)).forecast(panel, asked, (1,)).scale[:, 0]
    assert scale.argmax() == 13  # the return from its close is the wild one
    same = (
        bars.close[n - 24 + 13 - 24 * np.arange(1, 21) + 1]
        / bars.close[n - 24 + 13 - 24 * np.arange(1, 21)]
    )
    assert scale[13] == pytest.approx(np.sqrt((np.log(same) ** 2).mean()))
    planted = BASELINES["volatility_20"].fit(panel, (1,)).forecast(panel, asked, (1,))
    assert np.ptp(planted.quantile([0.9])) < np.ptp(1.28 * scale) / 2


def test_seasons_of_days_and_weeks():
    bars = walk_panel(300, 1).members[0]  # from a Monday on
    assert season_of(bars)[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert set(season_of(replace(bars, interval="1wk"))) == {0}


@pytest.mark.parametrize("name", [*NEW, "pool_garch_har", "pool_classical"])
def test_a_day_of_minus_52_per_cent_explodes_nothing(name: str):
    returns = garch_returns(1400, 2)
    returns[700] = -0.731
    panel = Panel((bars_from_returns("CRASH", returns, 0), *garch_panel(1400, 1).members))
    fitted = BASELINES[name].fit(panel, (1, 20))
    spread = fitted.forecast(panel, last(panel), (1, 20)).quantile([0.05, 0.95])
    assert (spread[..., 1] - spread[..., 0] < 0.5).all()
    asked = Origins(np.zeros(1, dtype=int), np.array([700]))
    after = fitted.forecast(panel, asked, (1, 20)).quantile([0.05, 0.95])
    assert np.isfinite(after).all()


def test_an_egarch_that_fails_falls_back_to_riskmetrics_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    panel = garch_panel(800, 1)
    monkeypatch.setattr(skewed_module, "fit_egarch", lambda _: None)
    fitted = BASELINES["egarch_skew_t"].fit(panel, (1,))
    assert fitted.notes == ("GARCH-0: no sound EGARCH fit on 800 bars, RiskMetrics instead",)


@dataclass(frozen=True)
class Held:
    numbers: np.ndarray
    rate: float


def test_a_fit_is_kept_by_content_and_nothing_less():
    """Planted: a key of shapes alone."""
    calls = []

    @memo.remembered(2)
    def fit(held: Held, law: str) -> Held:
        calls.append(law)
        return Held(2 * held.numbers, held.rate)

    one, other = Held(np.ones(3), 0.5), Held(np.array([1.0, 1.0, 2.0]), 0.5)
    first = fit(one, "a")
    assert fit(Held(np.ones(3), 0.5), "a") is first
    assert fit(other, "a").numbers.tolist() == [2.0, 2.0, 4.0]
    fit(one, "b")
    assert calls == ["a", "a", "b"]
    fit(one, "a")  # the oldest of three was dropped
    assert calls == ["a", "a", "b", "a"]
    with pytest.raises(ValueError, match="read-only"):
        first.numbers[0] = 7
    with pytest.raises(TypeError, match="dict has no content"):
        memo.digest({})
    memo.forget()
    fit(one, "a")
    assert len(calls) == 5
