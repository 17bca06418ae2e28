"""A Student-t shape fitted to standardised returns by maximum likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from forecaster.bars import Floats

# Below 2.1 degrees of freedom the variance is about to be infinite, above 100 the shape is a
# normal.
DF_BOUNDS = (2.1, 100.0)
FEWEST = 20  # standardised returns that a three-parameter shape is fitted to


@dataclass(frozen=True)
class Shape:
    """z ~ loc + scale * t(df), z a return in units of its forecast scale."""

    loc: float
    scale: float
    df: float


def fit_shape(z: Floats) -> Shape:
    """The most likely Shape of z [n]; for fewer than FEWEST a standard one with df = 5.

    z that do not move (a constant price) give a scale at the floor of 1e-3, never zero.
    """
    z = z[np.isfinite(z)]
    if len(z) < FEWEST:
        return Shape(0.0, 1.0, 5.0)
    spread = max(float(np.median(np.abs(z))) / 0.6745, 1e-3)
    start = np.array([float(np.median(z)) / spread, 0.0, np.log(6.0)])
    bounds = [(-1.0, 1.0), (np.log(0.2), np.log(5.0)), (np.log(DF_BOUNDS[0]), np.log(DF_BOUNDS[1]))]
    start = np.clip(start, [low for low, _ in bounds], [high for _, high in bounds])
    best = minimize(_loss, start, args=(z / spread,), jac=True, bounds=bounds, method="L-BFGS-B")
    loc, log_scale, log_df = best.x
    return Shape(float(loc) * spread, float(np.exp(log_scale)) * spread, float(np.exp(log_df)))


def _loss(x: Floats, z: Floats) -> tuple[float, Floats]:
    """Mean negative log likelihood of (loc, ln scale, ln df) and its gradient."""
    loc, scale, df = x[0], np.exp(x[1]), np.exp(x[2])
    u = (z - loc) / scale
    tail = np.log1p(u * u / df)
    loss = -_log_constant(df) + x[1] + 0.5 * (df + 1) * tail.mean()
    pull = (df + 1) * u / (df + u * u)
    step = 1e-5  # of ln df: the digamma difference is smooth there
    up, down = np.exp(x[2] + step), np.exp(x[2] - step)
    d_constant = (_log_constant(up) - _log_constant(down)) / (2 * step)
    d_df = -d_constant + 0.5 * df * tail.mean() - 0.5 * ((df + 1) * u * u / (df + u * u)).mean()
    return float(loss), np.array([-pull.mean() / scale, 1 - (pull * u).mean(), d_df])


def _log_constant(df: float) -> float:
    return float(gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi))
