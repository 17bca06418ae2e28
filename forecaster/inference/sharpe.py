"""Is a Sharpe ratio real: its interval, its lead over another, what is left of the best of many.

n returns of equal bars over cash, oldest first. Ratios are a bar's, not annualised.
"""

import math

import numpy as np
from scipy import stats

from forecaster.bars import Floats
from forecaster.inference.mean_tests import SIZE, fewest, standard_errors

STILL = 1e-12  # deviation below which returns do not move
Estimate = tuple[float, float, float]  # value, ends of its 95 % interval


def sharpe(returns: Floats) -> float:
    """Mean over deviation of returns [n]; NaN where they do not move."""
    deviation = float(returns.std()) if len(returns) else 0.0
    return float(returns.mean()) / deviation if deviation > STILL else math.nan


def sharpe_estimate(returns: Floats) -> Estimate | None:
    """The Sharpe ratio of returns [n] with its interval; None for too few or still ones."""
    if not _can_be_judged(returns):
        return None
    return _estimate(sharpe(returns), _influence(returns))


def sharpe_difference(a: Floats, b: Floats) -> Estimate | None:
    """Sharpe of a less that of b, returns [n] of the same bars; None as above.

    What the two share goes out of the error: the interval is narrower than those of each.
    """
    if not (_can_be_judged(a) and _can_be_judged(b)):
        return None
    return _estimate(sharpe(a) - sharpe(b), _influence(a) - _influence(b))


def deflated_sharpe(returns: Floats, trials: int) -> float | None:
    """Probability that the true Sharpe of returns [n], the best of so many trials, is above zero.

    Source: Bailey and Lopez de Prado, The deflated Sharpe ratio (JPM 2014).
    Departure: the variance over trials is that of a ratio of zero, 1 / (n - 1): only how many
    trials there were is known, not what each had.
    """
    if not _can_be_judged(returns):
        return None
    n = len(returns)
    shape = float(stats.skew(returns)), float(stats.kurtosis(returns, fisher=False))
    return probabilistic_sharpe(sharpe(returns), n, shape, expected_best(trials) / math.sqrt(n - 1))


def probabilistic_sharpe(found: float, n: int, shape: tuple[float, float], above: float) -> float:
    """Probability that a ratio found in n returns of (skewness, kurtosis) is truly above another.

    Phi((S - S*) sqrt(n - 1) / sqrt(1 - skewness S + (kurtosis - 1) S^2 / 4)), as above.
    """
    skewness, kurtosis = shape
    spread = math.sqrt(max(1 - skewness * found + (kurtosis - 1) / 4 * found**2, STILL))
    return float(stats.norm.cdf((found - above) * math.sqrt(n - 1) / spread))


def expected_best(trials: int) -> float:
    """About the expected greatest of so many standard normal numbers; 0 for one.

    (1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)), g being Euler's constant; as above.
    """
    if trials <= 1:
        return 0.0
    tails = stats.norm.isf([1 / trials, 1 / (trials * math.e)])
    return float((1 - np.euler_gamma) * tails[0] + np.euler_gamma * tails[1])


def _can_be_judged(returns: Floats) -> bool:
    return len(returns) >= fewest(1) and math.isfinite(sharpe(returns))


def _influence(returns: Floats) -> Floats:
    """[n] what each return adds to the ratio, to first order; its mean is zero.

    With z = (x - mean) / deviation: z - S (z^2 - 1) / 2. Source: Lo, The statistics of Sharpe
    ratios (FAJ 2002); for two series Ledoit and Wolf (Journal of Empirical Finance 2008).
    """
    z = (returns - returns.mean()) / returns.std()
    return z - sharpe(returns) / 2 * (z**2 - 1)


def _estimate(value: float, influence: Floats) -> Estimate:
    """By HAC errors of the mean influence, as wide as those of every other test here."""
    error = float(standard_errors(influence[:, None], 1)[0])
    half = float(stats.t.ppf(1 - SIZE / 2, len(influence) - 1)) * error
    return value, value - half, value + half
