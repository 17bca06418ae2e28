"""Sharpe ratios: intervals that cover, and the published example of the deflated one."""

import math

import numpy as np
import pytest

from forecaster import inference
from forecaster.inference.sharpe import expected_best, probabilistic_sharpe


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    """Returns with a mean and with volatility that clusters."""
    variance, out = 1.0, np.empty(n)
    for t in range(n):
        shock = math.sqrt(variance) * rng.normal()
        out[t], variance = 0.05 + shock, 0.1 + 0.1 * shock**2 + 0.8 * variance
    return out


def test_intervals_cover_the_true_ratio():
    """500 series of 500 bars; the planted error, 1 / sqrt(n) for memory of one bar, does not."""
    covered = {"right": 0, "planted": 0}
    for seed in range(500):
        noise = np.random.default_rng(seed).standard_t(6, 501) / math.sqrt(1.5)
        returns = 0.05 + (noise[1:] + noise[:-1]) / math.sqrt(2)  # correlated from bar to bar
        found = inference.sharpe_estimate(returns)
        assert found is not None
        covered["right"] += found[1] <= 0.05 <= found[2]
        covered["planted"] += abs(found[0] - 0.05) <= 1.96 / math.sqrt(500)
    assert 460 <= covered["right"] <= 490
    assert covered["planted"] < 430


def test_a_difference_is_surer_than_its_parts():
    rng = np.random.default_rng(1)
    market = clustered(rng, 1000)
    other = market + 0.1 * rng.normal(size=1000)
    found = inference.sharpe_difference(market, other)
    alone = inference.sharpe_estimate(market)
    assert found is not None
    assert alone is not None
    assert found[0] == pytest.approx(inference.sharpe(market) - inference.sharpe(other))
    assert found[2] - found[1] < 0.3 * (alone[2] - alone[1])
    assert inference.sharpe_difference(market, 3 * market) == pytest.approx((0, 0, 0), abs=1e-12)


def test_the_published_example_of_a_deflated_ratio():
    """Bailey and Lopez de Prado 2014, section "a numerical example"; 250 bars a year.

    A ratio of 2.5 a year in 1,250 days, skewness -3, kurtosis 10, the best of 100 trials whose
    ratios have a variance of a half a year: 0.1132 a day is the threshold, 0.9004 the probability;
    for 46 trials 0.9505.
    """
    for trials, wanted in ((100, 0.9004), (46, 0.9505)):
        above = math.sqrt(0.5 / 250) * expected_best(trials)
        if trials == 100:
            assert above == pytest.approx(0.1132, abs=5e-5)
        found = probabilistic_sharpe(2.5 / math.sqrt(250), 1250, (-3.0, 10.0), above)
        assert found == pytest.approx(wanted, abs=3e-4)


def test_the_best_of_many_is_about_the_mean_of_the_greatest():
    assert expected_best(1) == 0
    for trials in (5, 50, 500):
        drawn = np.random.default_rng(0).normal(size=(4000, trials)).max(axis=1)
        assert expected_best(trials) == pytest.approx(drawn.mean(), rel=0.05)


@pytest.mark.parametrize(
    "returns", [np.zeros(100), np.full(100, 0.01), np.arange(10.0), np.empty(0)]
)
def test_too_few_and_still_returns_tell_nothing(returns: np.ndarray):
    moving = np.random.default_rng(0).normal(size=len(returns))
    assert inference.sharpe_estimate(returns) is None
    assert inference.deflated_sharpe(returns, 3) is None
    assert inference.sharpe_difference(returns, moving) is None


def test_more_trials_deflate_more():
    returns = np.random.default_rng(0).normal(0.1, 1, 500)
    found = [inference.deflated_sharpe(returns, n) or 0.0 for n in (1, 10, 1000)]
    assert found[0] > found[1] > found[2]
