"""Tests of calibration reject what is wrong at the nominal rate, and stand by closed forms."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forecaster.distributions import StudentT
from forecaster.inference.calibration import (
    berkowitz,
    calibration,
    christoffersen,
    kupiec,
    rank_correlation,
)
from forecaster.scores.risk import ASKED, fz0, qlike, spread

Test = Callable[[np.ndarray], float]
TESTS: dict[str, Test] = {
    "kupiec": lambda pit: kupiec(pit < 0.05, 0.05),
    "christoffersen": lambda pit: christoffersen(pit < 0.05, 0.05),
    "berkowitz": berkowitz,
}


def pits(kind: str, rng: np.random.Generator, n: int = 1000) -> np.ndarray:
    """Of the truth, of a scale that is too small, of a volatility that is not followed."""
    scale = {"narrow": np.full(n, 1.5), "stale": np.repeat(rng.choice([0.5, 1.7], n // 50), 50)}
    return stats.norm.cdf(rng.standard_normal(n) * scale.get(kind, 1.0))


@pytest.mark.parametrize("name", TESTS)
def test_size_and_power(name: str) -> None:
    rng = np.random.default_rng(8)

    def rejected(kind: str, runs: int) -> float:
        return float(np.mean([TESTS[name](pits(kind, rng)) < 0.05 for _ in range(runs)]))

    assert 0.02 <= rejected("true", 400) <= 0.09
    assert rejected("narrow", 20) == 1
    if name == "christoffersen":  # a mean rate alone would not show it
        assert rejected("stale", 40) > 0.8


def test_kupiec_is_a_ratio_of_binomial_likelihoods() -> None:
    for hits, n in ((0, 250), (7, 250), (250, 250)):
        series = np.arange(n) < hits
        p = stats.binom.logpmf(hits, n, hits / n) - stats.binom.logpmf(hits, n, 0.01)
        assert kupiec(series, 0.01) == pytest.approx(stats.chi2.sf(2 * p, 1))


def test_memory_is_what_christoffersen_adds() -> None:
    """Planted: the same ten exceedances in a row and far apart."""
    apart, row = np.zeros(200, bool), np.zeros(200, bool)
    apart[::20], row[:10] = True, True
    assert kupiec(apart, 0.05) == kupiec(row, 0.05) == pytest.approx(1)
    assert christoffersen(apart, 0.05) > 0.3
    assert christoffersen(row, 0.05) < 1e-6
    none = np.zeros(200, bool)  # without a hit nothing is learnt of memory
    assert christoffersen(none, 0.05) == pytest.approx(stats.chi2.sf(-400 * np.log(0.95), 2))


def scored(scale: float, n: int = 600, symbols: int = 3) -> pd.DataFrame:
    """Rows of a forecast whose scale is wrong by a factor; symbols share a market."""
    rng = np.random.default_rng(9)
    market = rng.standard_normal((n, 1))
    z = 0.6 * market + 0.8 * rng.standard_normal((n, symbols))
    cutoff = np.datetime64("2020-01-01") + np.arange(n)
    return pd.DataFrame(
        {
            "pit": stats.norm.cdf(z * scale).ravel(),
            "cutoff": np.repeat(cutoff, symbols),
            "unique_id": np.tile([f"S{i}" for i in range(symbols)], n),
        }
    )


def test_a_calibrated_forecast_passes_and_a_narrow_one_does_not() -> None:
    true, narrow = calibration(scored(1.0), 1), calibration(scored(1.4), 1)
    assert true["pit_outside"] == 0
    assert narrow["pit_outside"] >= 2
    assert true["shares"]["coverage_90"]["p"] > 0.05 > narrow["shares"]["coverage_90"]["p"]
    assert true["shares"]["below_0.05"]["share"] == pytest.approx(0.05, abs=0.015)
    assert sum(true["pit"]) == pytest.approx(1)
    assert true["rejected"]["symbols"] == narrow["rejected"]["symbols"] == 3
    assert narrow["rejected"]["berkowitz"] == narrow["rejected"]["kupiec_0.05"] == 3
    assert true["rejected"]["berkowitz"] <= 1


def test_too_few_dates_are_said_and_not_tested() -> None:
    few = calibration(scored(1.0, n=20), 1)
    assert few["pit_outside"] is None
    assert few["pit_band"] is None
    assert few["shares"]["coverage_50"]["p"] is None
    assert few["rejected"]["symbols"] == 0


def test_rank_correlation_is_spearmans_a_date() -> None:
    rng = np.random.default_rng(10)
    y = rng.standard_normal((80, 25))
    signal = 0.3 * y + rng.standard_normal(y.shape)
    rows = pd.DataFrame({"cutoff": np.repeat(np.arange(80), 25), "y": y.ravel()})
    rows["median"] = signal.ravel()
    found = rank_correlation(rows, 1)
    by_hand = [np.corrcoef(*map(stats.rankdata, ab))[0, 1] for ab in zip(signal, y, strict=True)]
    assert found is not None
    assert found["mean"] == pytest.approx(np.mean(by_hand))
    assert found["p"] < 0.001
    assert rank_correlation(rows.assign(median=0.0), 1) is None  # all the same: no ranks
    assert rank_correlation(rows[rows.index % 25 < 19], 1) is None  # 19 symbols a date


@pytest.mark.parametrize("df", [3.0, 5.0, 40.0])
def test_spread_by_closed_form(df: float) -> None:
    one = np.ones((1, 1))
    found = spread(StudentT(0 * one, one, df * one).quantile(ASKED))
    q = stats.t.ppf([0.01, 0.05], df)
    tail = -stats.t.pdf(q, df) * (df + q**2) / (df - 1) / np.array([0.01, 0.05])
    assert found.variance[0, 0] == pytest.approx(df / (df - 2), rel=2e-3)
    assert found.shortfall[0, 0] == pytest.approx(tail, rel=2e-3)
    assert found.median[0, 0] == pytest.approx(0, abs=1e-12)


def test_the_risk_scores_are_least_at_the_truth() -> None:
    """Planted: a shortfall of half the size, a variance of half the size."""
    y = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    v = stats.norm.ppf(0.05)
    e = -stats.norm.pdf(v) / 0.05
    true = fz0(y, v, e, 0.05).mean()
    for wrong in ((v, 0.5 * e), (v, 1.5 * e), (0.8 * v, e), (1.2 * v, e)):
        assert fz0(y, *wrong, 0.05).mean() > true + 1e-4
    realised = np.random.default_rng(0).chisquare(1, 100_000)
    best = qlike(np.array(1.0), realised).mean()
    assert all(qlike(np.array(f), realised).mean() > best + 0.01 for f in (0.5, 0.8, 1.25, 2.0))


def test_a_density_that_only_gains_has_a_finite_score() -> None:
    assert np.isfinite(fz0(np.array(0.01), np.array(0.002), np.array(0.001), 0.05))
