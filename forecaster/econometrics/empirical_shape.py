"""The shape of standardised returns as they came: a smoothed body, generalised Pareto tails.

K knots. The body is a Gaussian kernel estimate between the TAIL and 1 - TAIL quantiles, kept as its
own quantiles at LEVELS; beyond them a Pareto tail is fitted to what lies there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

from forecaster.bars import Floats
from forecaster.distributions import ParetoTailed
from forecaster.econometrics.pareto import fit_pareto

TAIL = 0.05  # of the sample in each tail
LEVELS = np.linspace(TAIL, 1 - TAIL, 91)
FEWEST = 200  # values that a body and two tails are made of; fewer only stretch a t with df = 5
SILVERMAN = 0.9  # Density Estimation (1986), eq. 3.31
CELLS = 2048  # of the grid that the kernel is laid over
# Of the standard deviation: bandwidth and width of a bin of a sample whose middle is one atom.
NARROWEST = 1e-3


@dataclass(frozen=True, eq=False)
class EmpiricalShape:
    """z at LEVELS, and the tails beyond: what returns in units of their scale look like."""

    knots: Floats  # [K]
    beta: Floats  # [2] below, above
    xi: Floats  # [2]


def fit_empirical_shape(z: Floats) -> EmpiricalShape:
    """The shape of z [n], NaN skipped; the unit of z moves with it, constant z get a thin body."""
    z = np.sort(z[np.isfinite(z)])
    deviation = max(float(z.std()), 1e-6) if len(z) > 1 else 1.0
    if len(z) < FEWEST:
        return _student_t(deviation)
    knots = _spread(_smoothed_quantiles(z, deviation), NARROWEST * deviation)
    low, high = knots[0] - z[z < knots[0]], z[z > knots[-1]] - knots[-1]
    tails = [fit_pareto(each) for each in (low, high)]
    beta, xi = np.array(tails).T
    return EmpiricalShape(knots, np.maximum(beta, NARROWEST * deviation), xi)


def stretched(shapes: Sequence[EmpiricalShape], scale: Floats) -> ParetoTailed:
    """Scale [N, H] times one shape a horizon."""
    knots, beta, xi = (
        np.stack([getattr(s, name) for s in shapes])[None] for name in ("knots", "beta", "xi")
    )
    wide = scale[..., None]
    return ParetoTailed(
        LEVELS, wide * knots, wide * beta, np.broadcast_to(xi, (*wide.shape[:2], 2))
    )


def _smoothed_quantiles(z: Floats, deviation: float) -> Floats:
    """[K] quantiles of the kernel estimate of sorted z, from its cdf on a grid."""
    quartiles = np.quantile(z, [0.25, 0.75])
    spread = min(deviation, float(np.diff(quartiles)[0]) / 1.349)
    bandwidth = max(SILVERMAN * spread * len(z) ** -0.2, NARROWEST * deviation)
    low, high = np.quantile(z, [TAIL / 2, 1 - TAIL / 2])
    grid = np.linspace(low - 6 * bandwidth, high + 6 * bandwidth, CELLS + 1)
    cell = float(grid[1] - grid[0])
    counts = np.searchsorted(z, grid, side="right").astype(np.float64)  # z up to each grid point
    reach = int(np.ceil(6 * bandwidth / cell))
    kernel = norm.pdf(np.arange(-reach, reach + 1) * cell / bandwidth)
    padded = np.pad(counts, reach, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="valid") / len(z)
    return np.interp(LEVELS, smooth, grid)


def _spread(knots: Floats, least: float) -> Floats:
    """Knots at least `least` apart, about their middle: atoms leave some on one point."""
    middle = len(knots) // 2
    room = least * (np.arange(len(knots)) - middle)
    return np.asarray(np.maximum.accumulate(knots - room) + room, dtype=np.float64)


def _student_t(deviation: float) -> EmpiricalShape:
    """A Student-t with 5 degrees of freedom, whose tails are about Pareto ones of index 1/5."""
    knots = deviation * stdtrit(5.0, LEVELS) * np.sqrt(3 / 5)
    return EmpiricalShape(knots, np.full(2, -0.3 * knots[0]), np.full(2, 0.2))
