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

import numpy as np
from scipy.optimize import minimize

from forecaster.bars import Floats, Panel
from forecaster.distributions import SkewT
from forecaster.econometrics.memo import remembered
from forecaster.econometrics.regressors import regressors
from forecaster.econometrics.sample import FEWEST, Sample, sample_of, standardised
from forecaster.econometrics.season import season_width
from forecaster.features import WARM_UP, cumulative_return

# Strength of the pull of a symbol's slopes to the common ones, times root h: longer targets
# overlap, and say less than their number. From earlier experiments on 2006-2011.
RHO = 400.0
ITERATIONS = 200
KEPT = 64  # fits, of a few kilobytes
STEP = 1e-5  # of the shape's parameters, for central differences
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
        if symbol in self.symbols:
            i = self.symbols.index(symbol)
            intercept, slope = self.intercept[i], self.slope[i]
        else:
            intercept, slope = self.intercept.mean(), self.slope.mean(axis=0)
        z = standardised(x, self.mean, self.deviation)
        # Not `z @ slope`: its bits depend on T, and bars that come later would change earlier rows.
        return np.exp(intercept + (z * slope).sum(axis=1))


@remembered(KEPT)
def fit_harx(sample: Sample, rho: float) -> Harx:
    """The most likely coefficients under the shrinkage rho (0: own, infinity: pooled)."""
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
        sample.symbols, sample.mean, sample.deviation, a, b + d, float(loc), *_shape(skew, df)
    )


def fit_horizons(history: Panel, horizons: Sequence[int], rho: float = RHO) -> tuple[Harx, ...]:
    """The HARX of each horizon."""
    x = [regressors(bars)[WARM_UP:] for bars in history]
    models = []
    for h in horizons:
        r = [cumulative_return(bars, h)[WARM_UP:] for bars in history]
        shrink = rho * np.sqrt(h) if np.isfinite(rho) else rho
        sample = sample_of(history.symbols, x, r, season_width(history.interval))
        models.append(fit_harx(sample, shrink))
    return tuple(models)


def fit_skew(z: Floats) -> tuple[float, float, float, float]:
    """(loc, scale, skew, df) of the skewed t of z [n]: a HARX without regressors."""
    known = z[np.isfinite(z)]
    if len(known) < FEWEST:
        return 0.0, 1.0, 0.0, 5.0
    fitted = fit_harx(sample_of(("",), [np.empty((len(known), 0))], [known]), math.inf)
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


def _shape(skew: float, df: float) -> tuple[float, float]:
    """Free numbers -> skew in (-0.9, 0.9), df above 2.1."""
    return 0.9 * float(np.tanh(skew)), 2.1 + float(np.exp(min(df, 6.0)))


def _log_likelihood(z: Floats, shape: Floats) -> tuple[Floats, Floats]:
    """ln g(z) and its derivative by z, each [N]."""
    skew, df = _shape(shape[1], shape[2])
    one = np.ones((1, 1))
    density = SkewT(shape[0] * one, one, skew * one, df * one)
    return density.logpdf(z[:, None])[:, 0], density.slope(z[:, None])[:, 0]


def _loss(theta: Floats, sample: Sample, rho: float) -> tuple[float, Floats]:
    """Mean negative log likelihood plus the shrinkage, and its gradient."""
    s, f = len(sample.symbols), sample.x.shape[1]
    a, b, d, shape = _parts(theta, s, f)
    which, x, n = sample.which, sample.x, len(sample.r)
    log_scale = a[which] + x @ b + np.einsum("nf,nf->n", x, d[which])
    log_scale = np.clip(log_scale, -WIDEST_LOG, WIDEST_LOG)
    z = sample.r * np.exp(-log_scale)
    value, slope = _log_likelihood(z, shape)
    pull = 1 + z * slope  # d(-log likelihood) / d ln sigma
    g_a = np.array([pull[rows].sum() for rows in sample.rows])
    g_d = np.stack([pull[rows] @ x[rows] for rows in sample.rows])
    g_shape = [_difference(z, shape, k) for k in range(3)]
    loss = (log_scale - value).sum() + 0.5 * rho * (d**2).sum()
    g_b, g_own = g_d.sum(axis=0), g_d + rho * d
    season, more = slice(f - sample.season, f), max(RHO - rho, 0.0)
    loss += 0.5 * RHO * (b[season] ** 2).sum() + 0.5 * more * (d[:, season] ** 2).sum()
    g_b[season] += RHO * b[season]
    g_own[:, season] += more * d[:, season]
    own = g_own.ravel() if theta.size > s + f + 3 else []
    return float(loss) / n, np.concatenate((g_a, g_b, own, g_shape)) / n


def _difference(z: Floats, shape: Floats, k: int) -> float:
    """Derivative of the summed loss by one parameter of the shape."""
    step = np.zeros(3)
    step[k] = STEP
    up, down = (_log_likelihood(z, shape + sign * step)[0].sum() for sign in (1, -1))
    return -(up - down) / (2 * STEP)
