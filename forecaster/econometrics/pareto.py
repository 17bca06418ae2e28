"""Generalised Pareto tails by maximum likelihood, by one search instead of two.

    S(x) = (1 + xi x / beta)^(-1 / xi)        with theta = xi / beta: xi = mean ln(1 + theta x)

maximises the likelihood for a given theta, so that only theta is searched for.

Source: Grimshaw, Computing Maximum Likelihood Estimates for the Generalized Pareto Distribution
(Technometrics 1993).
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import fminbound

from forecaster.bars import Floats

# A tail that ends (xi < 0) would call a crash impossible, one with xi near 1 has no mean; tails of
# returns are between 0.1 and 0.5 (Cont, Empirical Properties of Asset Returns, QF 2001).
XI_BOUNDS = (0.05, 0.6)
FEWEST = 10  # excesses
SMALLEST = 1e-30  # beta where nothing lies beyond


def fit_pareto(excess: Floats) -> tuple[float, float]:
    """(beta, xi) of excesses [n] > 0, xi within its bounds; fewer than FEWEST: xi = 0.2."""
    size = float(excess.mean()) if len(excess) else 0.0
    if size <= 0:
        return SMALLEST, XI_BOUNDS[0]
    if len(excess) < FEWEST:
        return 0.8 * size, 0.2  # the mean excess is beta / (1 - xi)
    x = excess / size

    def loss(log_theta: float) -> float:
        xi = _xi(x, log_theta)
        return float(np.log(xi)) - log_theta + xi

    log_theta = _least(loss, (-8.0, 5.0))
    xi = _xi(x, log_theta)
    if XI_BOUNDS[0] <= xi <= XI_BOUNDS[1]:
        return size * xi / float(np.exp(log_theta)), xi
    xi = float(np.clip(xi, *XI_BOUNDS))

    def loss_of_beta(log_beta: float) -> float:
        return log_beta + (1 + 1 / xi) * float(np.log1p(xi * x * np.exp(-log_beta)).mean())

    return size * float(np.exp(_least(loss_of_beta, (-5.0, 5.0)))), xi


def _xi(x: Floats, log_theta: float) -> float:
    return float(np.log1p(np.exp(log_theta) * x).mean())


def _least(loss: Callable[[float], float], bounds: tuple[float, float]) -> float:
    """Where a function of one number is least, to five digits."""
    return float(np.asarray(fminbound(loss, *bounds)).item())
