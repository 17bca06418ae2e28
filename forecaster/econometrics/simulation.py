"""Filtered historical simulation: past residuals, drawn anew, sent through the GJR recursion.

All that an origin knows enters a path through one number, the variance of the next bar, so paths
are simulated once a fit, from a grid of such variances with the same draws, and an origin's shape
lies between those of its neighbours on the grid: no draw is made when a forecast is.

Source: Barone-Adesi, Giannopoulos and Vosper, VaR without Correlations for Portfolios of Derivative
Securities (Journal of Futures Markets 1999).
G variances, H horizons, K knots, P paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Floats
from forecaster.distributions import ParetoTailed
from forecaster.econometrics.empirical_shape import LEVELS, EmpiricalShape, fit_empirical_shape
from forecaster.econometrics.garch import Garch

PATHS = 10_000
GRID = 7  # variances
WIDER = 0.5  # how far the grid goes beyond the history's log variances


@dataclass(frozen=True, eq=False)
class ShapeGrid:
    """Shapes of the return in units of its forecast scale, by the log variance of the next bar."""

    log_variance: Floats  # [G] increasing
    knots: Floats  # [G, H, K]
    beta: Floats  # [G, H, 2]
    xi: Floats  # [G, H, 2]

    def between(self, variance: Floats) -> tuple[Floats, Floats, Floats]:
        """Variance [N] -> knots, beta, xi [N, H, ...], straight between the grid's, flat beyond."""
        at = np.interp(np.log(variance), self.log_variance, np.arange(len(self.log_variance)))
        low = np.minimum(at.astype(np.int64), max(len(self.log_variance) - 2, 0))
        high = np.minimum(low + 1, len(self.log_variance) - 1)
        share = (at - low)[:, None, None]
        knots, beta, xi = (
            (1 - share) * x[low] + share * x[high] for x in (self.knots, self.beta, self.xi)
        )
        return knots, beta, xi


def one_shape(shapes: Sequence[EmpiricalShape]) -> ShapeGrid:
    """The same shapes [H] whatever the variance."""
    return _grid(np.zeros(1), [list(shapes)])


def simulate_shapes(
    model: Garch, log_return: Floats, horizons: Sequence[int], seed: Sequence[int]
) -> ShapeGrid:
    """Shapes from `model`'s own residuals on log returns [T], all of them at h = 1."""
    following = model.next_variance(log_return)
    shocks = (log_return[1:] - model.mu) / np.sqrt(following[:-1])
    shocks = shocks[np.isfinite(shocks)]
    low, high = np.log(following.min()) - WIDER, np.log(following.max()) + WIDER
    grid = np.linspace(low, high, GRID)
    start = np.exp(grid)
    draws = np.random.default_rng(seed).choice(shocks, (max(horizons), PATHS))
    paths = simulated_returns(model, start, draws)
    shapes = []
    for g, variance in enumerate(start):
        row = []
        for h in horizons:
            scale = np.sqrt(model.cumulative_variance(variance, h))
            returns = model.mu + np.sqrt(variance) * shocks if h == 1 else paths[h - 1, g]
            row.append(fit_empirical_shape(returns / scale))
        shapes.append(row)
    return _grid(grid, shapes)


def simulated_returns(model: Garch, start: Floats, draws: Floats) -> Floats:
    """Variances [G], shocks [steps, P] -> cumulative log returns [steps, G, P]."""
    variance = np.repeat(start[:, None], draws.shape[1], axis=1)
    total, out = np.zeros_like(variance), np.empty((len(draws), *variance.shape))
    for step, e in enumerate(draws):
        total = total + model.mu + np.sqrt(variance) * e
        out[step] = total
        weight = model.alpha + model.gamma * (e < 0)
        variance = model.omega + (weight * e**2 + model.beta) * variance
    return out


def shaped(parts: tuple[Floats, Floats, Floats], scale: Floats) -> ParetoTailed:
    """Knots, beta, xi [N, H, ...] in units of scale [N, H]."""
    knots, beta, xi = parts
    return ParetoTailed(LEVELS, knots * scale[..., None], beta * scale[..., None], xi)


def _grid(log_variance: Floats, shapes: list[list[EmpiricalShape]]) -> ShapeGrid:
    knots, beta, xi = (
        np.array([[getattr(s, name) for s in row] for row in shapes])
        for name in ("knots", "beta", "xi")
    )
    return ShapeGrid(log_variance, knots, beta, xi)
