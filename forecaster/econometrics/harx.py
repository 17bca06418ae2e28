"""HARX: a log-linear scale on past ranges, returns and activity, under one skewed t.

    ln sigma[i,t] = a[i] + (b + d[i])' x[i,t]        r[i,t] / sigma[i,t] ~ skew-t(mu, skew, df)

By maximum likelihood; i symbol, x standardised. `rho` shrinks a symbol's own slopes d: 0 gives each
symbol its own model, infinity one model for all, in between a hierarchy (half rho |d|^2 is the log
of a normal prior). A season has many columns and may have few days: its slopes, common and own, are
shrunk by RHO at least.
N observations of S symbols, F regressors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from forecaster.bars import Floats, Panel
from forecaster.econometrics.hansen import Likelihood, natural
from forecaster.econometrics.memo import remembered
from forecaster.econometrics.regressors import regressors
from forecaster.econometrics.sample import FEWEST, Sample, sample_of, standardised
from forecaster.econometrics.season import season_width
from forecaster.features import WARM_UP, cumulative_return
from forecaster.stages import stage

# Strength of the pull of a symbol's slopes to the common ones, times root h: longer targets
# overlap, and say less than their number. From earlier experiments on 2006-2011.
RHO = 400.0
ITERATIONS = 200
KEPT = 64  # fits of all symbols, of a few kilobytes each
KEPT_SHAPES = 16384  # of one symbol and horizon, of four numbers: a fold of hundreds of symbols
WIDEST_LOG = 40.0  # of ln sigma: keeps trial steps of the search finite


@dataclass(frozen=True, eq=False)
class Harx:
    """Fitted coefficients; an unseen symbol gets the mean intercept and the mean slopes."""

    symbols: tuple[str, ...]
    mean: Floats  # [F] of the regressors
    deviation: Floats  # [F]
    intercept: Floats  # [S]
    slope: Floats  # [S, F] b + d
    loc: float  # mean of r / sigma
    skew: float
    df: float

    def scale(self, symbol: str, x: Floats) -> Floats:
        """x [T, F] -> [T] deviation of the return ahead. Unknown regressors count as their mean."""
        i = self._place.get(symbol)
        if i is None:
            intercept, slope = self.intercept.mean(), self.slope.mean(axis=0)
        else:
            intercept, slope = self.intercept[i], self.slope[i]
        z = standardised(x, self.mean, self.deviation)
        # Not `z @ slope`: its bits depend on T, and bars that come later would change earlier rows.
        return np.exp(intercept + (z * slope).sum(axis=1))

    @cached_property
    def _place(self) -> dict[str, int]:
        """Row of each symbol."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}


@remembered(KEPT)
def fit_harx(sample: Sample, rho: float) -> Harx:
    """The most likely coefficients under the shrinkage rho (0: own, infinity: pooled)."""
    return _most_likely(sample, rho)


def _most_likely(sample: Sample, rho: float) -> Harx:
    s, f = len(sample.symbols), sample.x.shape[1]
    own = np.isfinite(rho)
    spread = [np.std(sample.r[rows]) for rows in sample.rows]
    start = np.concatenate(
        (np.log(np.maximum(spread, 1e-6)), np.zeros(f + (s * f if own else 0)), [0.03, -0.05, 1.5])
    )
    best = minimize(
        _loss,
        start,
        args=(sample, rho if own else 0.0),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS},
    ).x
    a, b, d, (loc, skew, df) = _parts(best, s, f)
    return Harx(
        sample.symbols, sample.mean, sample.deviation, a, b + d, float(loc), *natural(skew, df)
    )


def fit_horizons(history: Panel, horizons: Sequence[int], rho: float = RHO) -> tuple[Harx, ...]:
    """The HARX of each horizon."""
    x = [regressors(bars)[WARM_UP:] for bars in history]
    models = []
    for h in horizons:
        r = [cumulative_return(bars, h)[WARM_UP:] for bars in history]
        shrink = rho * np.sqrt(h) if np.isfinite(rho) else rho
        sample = sample_of(history.symbols, x, r, season_width(history.interval))
        with stage("econometric fits"):  # of a tokeniser, too
            models.append(fit_harx(sample, shrink))
    return tuple(models)


@remembered(KEPT_SHAPES)
def fit_skew(z: Floats) -> tuple[float, float, float, float]:
    """(loc, scale, skew, df) of the skewed t of z [n]: a HARX without regressors."""
    known = z[np.isfinite(z)]
    if len(known) < FEWEST:
        return 0.0, 1.0, 0.0, 5.0
    fitted = _most_likely(sample_of(("",), [np.empty((len(known), 0))], [known]), math.inf)
    scale = float(np.exp(fitted.intercept[0]))
    return fitted.loc * scale, scale, fitted.skew, fitted.df


def _parts(theta: Floats, s: int, f: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Intercepts [S], common slopes [F], own slopes [S, F] (zero when pooled), shape [3]."""
    own = theta[s + f : -3]
    return (
        theta[:s],
        theta[s : s + f],
        own.reshape(s, f) if own.size else np.zeros((s, f)),
        theta[-3:],
    )


def _loss(theta: Floats, sample: Sample, rho: float) -> tuple[float, Floats]:
    """Mean negative log likelihood plus the shrinkage, and its gradient; symbol by symbol, for the
    rows of one are read while they are near.
    """
    s, f = len(sample.symbols), sample.x.shape[1]
    a, b, d, shape = _parts(theta, s, f)
    found, slopes = Likelihood(shape), b + d
    loss, g_a, g_d = 0.0, np.empty(s), np.empty((s, f))
    for i, own in enumerate(sample.rows):
        x = sample.x[own]
        log_scale = np.clip(a[i] + x @ slopes[i], -WIDEST_LOG, WIDEST_LOG)
        z = sample.r[own] * np.exp(-log_scale)
        pull = 1 + z * found.slope(z)  # d(-log likelihood) / d ln sigma
        loss += float(log_scale.sum())
        g_a[i], g_d[i] = pull.sum(), pull @ x
    loss += 0.5 * rho * (d**2).sum() - found.total
    g_b, g_own = g_d.sum(axis=0), g_d + rho * d
    season, more = slice(f - sample.season, f), max(RHO - rho, 0.0)
    loss += 0.5 * RHO * (b[season] ** 2).sum() + 0.5 * more * (d[:, season] ** 2).sum()
    g_b[season] += RHO * b[season]
    g_own[:, season] += more * d[:, season]
    flat = g_own.ravel() if theta.size > s + f + 3 else []
    n = len(sample.r)
    return float(loss) / n, np.concatenate((g_a, g_b, flat, -found.by_shape)) / n
