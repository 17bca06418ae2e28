"""Quantiles of a distribution whose cdf and density are known, by a bracketed search.

N distributions of one horizon, [N, 1] each. A step is that of the inverse cubic Hermite polynomial
through the last two points, whose values and slopes are known; Newton's where there is one point
alone. A step that leaves its bracket, or comes after one that gained little, is halved.

Source: Ostrowski, Solution of Equations and Systems of Equations (1966), chapter 3, for inverse
interpolation; safeguards as in Brent, Algorithms for Minimization without Derivatives (1973).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.distributions.distribution import Distribution, Floats

ITERATIONS = 80
CROWD = 0.7  # of the rows: with fewer to be found, the rest is left behind


@dataclass(frozen=True, eq=False)
class Search:
    """How far the inversion of levels u [N, 1] is."""

    u: Floats
    enough: Floats  # what cdf(y) may miss u by
    low: Floats  # y lies between these
    high: Floats
    y: Floats
    # The point before: where it was, what it missed u by, 1 / density.
    last: Floats
    before: Floats
    slope: Floats

    def take(self, rows: NDArray[Any]) -> "Search":
        """Some of the levels."""
        return Search(*(getattr(self, f.name)[rows] for f in fields(self)))


def begun(u: Floats, low: Floats, high: Floats, y: Floats) -> Search:
    """A search from y in [low, high], to 1e-12 of the nearer tail or the last bit of a cdf."""
    enough = np.maximum(1e-12 * np.minimum(u, 1 - u), 2.0**-51)
    return Search(u, enough, low, high, y, y, np.full_like(y, np.inf), np.zeros_like(y))


def narrowed(law: Distribution, at: Search) -> Floats:
    """Y [N, 1]; once most rows are found, on with the others alone."""
    for _ in range(ITERATIONS):
        cdf, log_density = law.cdf_and_logpdf(at.y)
        miss = cdf - at.u
        flat = at.high - at.low <= np.spacing(np.abs(at.y))
        found = (np.abs(miss) <= at.enough) | flat
        alive = np.asarray(~found[:, 0])
        if not alive.any():
            break
        low, high = np.where(miss > 0, at.low, at.y), np.where(miss > 0, at.y, at.high)
        # Where there is next to no density a step may be beyond all bounds.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            slope = np.exp(-log_density)
            stepped = at.y + _step(at, miss, slope)
        # A step may leave, or go round in circles where a density jumps: then halve.
        inside = (stepped >= low) & (stepped <= high) & (np.abs(miss) <= np.abs(at.before) / 2)
        y = np.where(found, at.y, np.where(inside, stepped, (low + high) / 2))
        at = Search(at.u, at.enough, low, high, y, at.y, miss, slope)
        if alive.mean() < CROWD:
            y[alive] = narrowed(law.take(alive), at.take(alive))
            break
    return at.y


def _step(at: Search, miss: Floats, slope: Floats) -> Floats:
    """From y to where the cubic through this point and the one before has u."""
    newton = -miss * slope
    gap, back = at.before - miss, at.last - at.y  # in u and in y, to the point before
    t = -miss / gap
    square = 3 * back - gap * (2 * slope + at.slope)
    cube = gap * (slope + at.slope) - 2 * back
    cubic = newton + t * t * (square + t * cube)
    return np.where(np.isfinite(cubic) & np.isfinite(at.before), cubic, newton)
