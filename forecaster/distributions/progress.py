"""How a base distribution rises inside bins, and the integrals of that rise: the parts of `Binned`.

N origins, H horizons, K bins. Inside bin k the base's cdf climbs from 0 to 1:
rise(z) = (F(z) - F(lower)) / mass, and fall = 1 - rise. Everything is in standardised units z;
the base has shape [1, H]; quadrature nodes come first: [nodes, N, H].
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecaster.distributions.distribution import Floats, finite
from forecaster.distributions.location_scale import LocationScale

Bins = NDArray[np.int64]  # [N, H] which bin of each horizon

# A bin that the base gives less than this is void: its rise would be rounding noise.
VOID_MASS = 1e-12
# Gauss-Legendre in v = arcsinh((z - loc) / scale): the poles of a Student t's cdf are at least
# pi/2 away from the real v, so 32 nodes give 1e-13 on an interval of 100 scales, and 1e-6 on 1e6.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
# Lengths in v of a tail's panels: exp(-512 (df - 1)) of a tail is left out, 1e-11 at df = 1.05.
TAIL_PANELS = np.array([1.0] * 8 + [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 250.0])


class Integrals(NamedTuple):
    """Over some intervals: of the rise, its square, the fall, its square; in units of z."""

    rise: Floats
    rise_squared: Floats
    fall: Floats
    fall_squared: Floats


@dataclass(frozen=True, eq=False)
class Progress:
    """The base inside each bin."""

    base: LocationScale  # shape [1, H]
    lower: Floats  # [H, K] lower edges, -inf first
    upper: Floats  # [H, K] upper edges, inf last

    @cached_property
    def masses(self) -> Floats:
        """[H, K] what the base gives each bin, from its nearer tail; void bins are exactly 0."""
        below_lower, below_upper, above_lower, above_upper = self._ends
        mass = np.where(below_lower < 0.5, below_upper - below_lower, above_lower - above_upper)
        return np.where(mass < VOID_MASS, 0.0, mass)

    def rise(self, z: Floats, bins: Bins) -> tuple[Floats, Floats]:
        """z [..., N, H] inside bins [N, H] -> (rise, fall), each exact in its own tail."""
        columns = np.arange(bins.shape[-1])
        mass = self.masses[columns, bins]
        lower, upper = self._ends[0][columns, bins], self._ends[1][columns, bins]
        below, above = self.base.cdf_and_sf(z)
        # From the nearer tail: a difference of cdfs above the median would leave rounding noise.
        climbed = np.where(lower < 0.5, below - lower, self._ends[2][columns, bins] - above)
        left = np.where(upper < 0.5, upper - below, above - self._ends[3][columns, bins])
        safe = np.where(mass > 0, mass, 1.0)
        return np.clip(climbed / safe, 0.0, 1.0), np.clip(left / safe, 0.0, 1.0)

    def between(self, start: Floats, stop: Floats, bins: Bins) -> Integrals:
        """Integrals from start to stop [N, H], finite, both inside bins [N, H]."""
        centre, scale = self.base.loc, self.base.scale
        first, last = np.arcsinh((start - centre) / scale), np.arcsinh((stop - centre) / scale)
        half = 0.5 * (last - first)
        v = 0.5 * (first + last) + half * NODES[:, None, None]
        weights = WEIGHTS[:, None, None] * half * scale * np.cosh(v)
        z = np.clip(centre + scale * np.sinh(v), start, stop)
        rise, fall = self.rise(z, bins)
        return Integrals(*((weights * g).sum(axis=0) for g in (rise, rise**2, fall, fall**2)))

    @cached_property
    def whole(self) -> Integrals:
        """[H, K] over each bin. Where infinite (fall of the first, rise of the last): 0."""
        count = self.lower.shape[1]
        bins = np.broadcast_to(np.arange(count)[:, None], self.lower.T.shape)
        start, stop = self.lower.T.copy(), self.upper.T.copy()
        start[0], stop[-1] = stop[0], start[-1]
        inner = self.between(start, stop, bins)
        first, last = self._tail(0, -1.0), self._tail(count - 1, 1.0)
        inner.rise[0], inner.rise_squared[0] = first.rise[0], first.rise_squared[0]
        inner.fall[-1], inner.fall_squared[-1] = last.fall[0], last.fall_squared[0]
        return Integrals(*(column.T for column in inner))

    def _tail(self, k: int, sign: float) -> Integrals:
        """[1, H] integrals over the outer bin k, panel by panel outwards."""
        edge = self.upper[None, :, k] if sign < 0 else self.lower[None, :, k]
        v0 = sign * np.arcsinh((edge - self.base.loc) / self.base.scale)
        marks = np.concatenate(([0.0], np.cumsum(TAIL_PANELS)))[:, None, None] + v0
        z = self.base.loc + sign * self.base.scale * np.sinh(marks)
        bins = np.full(edge.shape, k)
        parts = [self.between(np.minimum(a, b), np.maximum(a, b), bins) for a, b in pairwise(z)]
        return Integrals(*np.sum(parts, axis=0))

    @cached_property
    def _ends(self) -> tuple[Floats, Floats, Floats, Floats]:
        """[H, K] each: cdf at the lower and upper edges, survival at the lower and upper edges."""
        lower, upper = self.lower.T, self.upper.T
        cdf, sf = self.base.cdf, self.base.sf
        return cdf(lower).T, cdf(upper).T, sf(lower).T, sf(upper).T


def progress_of(base: LocationScale, edges: Floats) -> Progress:
    """The base of shape [1, H] inside the bins that inner edges [H, K-1] cut."""
    infinite = np.full((len(edges), 1), np.inf)
    return Progress(
        base, np.concatenate((-infinite, edges), axis=1), np.concatenate((edges, infinite), axis=1)
    )


def bin_masses(base: LocationScale, edges: ArrayLike) -> Floats:
    """[H, K] what a base of shape [1, H] gives the bins between inner edges [H, K-1]."""
    return progress_of(base, finite("edges", edges, 2)).masses
