"""Is a difference of per-date losses real: Diebold and Mariano, with overlap in mind.

n dates, oldest first. Losses are averaged over symbols a date before they come here.
"""

import math
from typing import Any, cast

import numpy as np
from scipy import stats
from statsmodels.stats.sandwich_covariance import S_hac_simple
from statsmodels.tsa.stattools import acovf, diebold_mariano_test

from forecaster.bars import Floats
from forecaster.errors import DataError

SIZE = 0.05  # two-sided
POWER = 0.8
# Below these a HAC variance means nothing: 30 dates, and three horizons' worth of them.
MIN_DATES, MIN_SPANS = 30, 3
ROUNDING = 1e-9  # one distribution by two formulas differs by 1e-13 or so; no edge is this small


def hac_lags(n: int, h: int) -> int:
    """Lags of the Bartlett kernel for n dates and forecasts h bars ahead.

    Errors overlap over h - 1 dates, and Bartlett weights fall to nothing at the last lag: with
    h - 1 lags two thirds of the variance is seen, and 8 to 10 % are rejected at 5 %. Hence twice
    that, and at least 1.3 sqrt(n) (Lazarus, Lewis, Stock and Watson, JBES 2018). Symbols that miss
    days stretch h bars over more than h dates of the common clock; the margin covers that too.
    """
    return min(max(2 * (h - 1), math.ceil(1.3 * math.sqrt(n))), n - 1)


def diebold_mariano(loss_a: Floats, loss_b: Floats, h: int) -> tuple[float, float, float]:
    """Losses [n] a date -> (mean of a - b, statistic, two-sided p): a is better where negative.

    Long-run variance and Harvey's correction by statsmodels, then fixed-b critical values
    (`_fixed_b`) for the many lags. Equal losses give (0, 0, 1). Raises DataError for too few dates.
    """
    a, b = np.asarray(loss_a, dtype=np.float64), np.asarray(loss_b, dtype=np.float64)
    n = len(a)
    if n < fewest(h):
        raise DataError(f"{n} dates at h={h}: a test wants {fewest(h)} or more")
    difference = a - b
    mean = float(difference.mean())
    if equal(a, b):
        return 0.0, 0.0, 1.0
    if np.ptp(difference) == 0:
        return mean, math.copysign(math.inf, mean), 0.0
    lags = hac_lags(n, h)
    criterion = cast(Any, lambda _, loss: loss)  # the two "forecasts" are losses already
    found = diebold_mariano_test(
        np.zeros(n), a, b, lags=lags, criterion=criterion, harvey_adj=True, horizon=h
    )
    statistic = float(found.statistic) / _fixed_b(n, lags)
    return mean, statistic, float(2 * stats.t.sf(abs(statistic), n - 1))


def detectable(loss_a: Floats, loss_b: Floats, h: int) -> float:
    """The mean of a - b that this test would find four times in five: 80 % power at 5 %.

    (t_{97.5 %} + t_{80 %}) standard errors, which hold Harvey's and the fixed-b correction.
    """
    wanted = stats.t.ppf([1 - SIZE / 2, POWER], len(loss_a) - 1).sum()
    return float(wanted * standard_errors((loss_a - loss_b)[:, None], h)[0])


def standard_errors(values: Floats, h: int) -> Floats:
    """values [n, k] -> [k] standard errors of the means, as wide as the test's (HAC, fixed-b)."""
    n = len(values)
    lags = hac_lags(n, h)
    weights = 1 - np.arange(lags + 1) / (lags + 1)
    weights[1:] *= 2
    variances = [weights @ acovf(column, nlag=lags, fft=True) for column in values.T]
    return np.sqrt(np.maximum(variances, 0.0) / n) * caution(n, h, lags)


def fewest(h: int) -> int:
    """Dates that a test at h wants."""
    return max(MIN_DATES, MIN_SPANS * h)


def equal(a: Floats, b: Floats) -> bool:
    """Whether losses differ by rounding alone, which has a side and so can look significant."""
    return bool(np.abs(a - b).max() <= ROUNDING * np.abs(b).max())


def caution(n: int, h: int, lags: int) -> float:
    """How much more a statistic must show than normal theory asks for, with that many lags."""
    return _fixed_b(n, lags) / _harvey(n, h)


def _harvey(n: int, h: int) -> float:
    """Correction of a t-value for small n. Source: Harvey, Leybourne and Newbold (IJF 1997)."""
    return math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)


def _fixed_b(n: int, lags: int) -> float:
    """How much wider the 5 % critical value is than the normal's at a bandwidth of b = share of n.

    Source: Kiefer and Vogelsang, Econometric Theory 21 (2005), table 1, Bartlett, 97.5 %.
    """
    b = (lags + 1) / n
    return (1.9600 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3) / 1.9600


def fieller(a: Floats, b: Floats, h: int) -> tuple[float, float]:
    """95 % interval of 1 - mean(a) / mean(b): ratios r with |mean(a - r b)| <= c se(a - r b)."""
    n, lags = len(a), hac_lags(len(a), h)
    if equal(a, b):
        return 0.0, 0.0
    losses = np.stack((a, b), axis=1)
    mean = losses.mean(axis=0)
    covariance = S_hac_simple(losses - mean, nlags=lags) / n**2
    c = float(stats.t.ppf(1 - SIZE / 2, n - 1)) * caution(n, h, lags)
    # (mean_a - r mean_b)^2 - c^2 (V_aa - 2 r V_ab + r^2 V_bb) <= 0
    square, middle, constant = (
        float(mean[i] * mean[j] - c**2 * covariance[i, j]) for i, j in ((1, 1), (0, 1), (0, 0))
    )
    root = math.sqrt(max(middle**2 - square * constant, 0.0))
    if square <= 0:  # the reference's own mean is not distinguishable from zero
        return -math.inf, math.inf
    return 1 - (middle + root) / square, 1 - (middle - root) / square
