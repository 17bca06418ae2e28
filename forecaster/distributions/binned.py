"""A base density tilted bin by bin: what token probabilities mean as a density of returns.

N origins, H horizons, K bins, z = (y - loc) / scale.
    f(y) = f0(z) / scale * p[k] / w[k]        w[k] = the base's mass of bin k, where z lies

Equal to the base exactly where p = w; the tails keep the base's shape, and the density integrates
to one by construction. No score is sampled or gridded: inside bin k the cdf is
G = P[k] + p[k] rise(z), so integrals of G and G^2 are sums of the base's own, computed once a base
(`progress.py`), and of one short quadrature between y and the edges of its bin.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import forecaster.distributions.distribution as checks
from forecaster.distributions.distribution import Distribution, Floats, at_bins, require, taken
from forecaster.distributions.location_scale import LocationScale
from forecaster.distributions.progress import Progress, progress_of

SUM_TOLERANCE = 1e-6  # softmax rows in single precision miss 1 by about 1e-7
# A bin keeps at least this share of its base mass: a certain mistake costs 13.8 nats, not infinity.
TILT_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class Binned(Distribution):
    """Bin k is [edge k-1, edge k) in units of z; p[k] > 0 where the base has no mass is refused."""

    base: LocationScale  # shape [1, H], in units of z
    edges: Floats  # [H, K-1] inner edges, strictly increasing; the outer ones are infinite
    probabilities: Floats  # [N, H, K] rows sum to 1; floored at 1e-6 of the base's mass
    scale: Floats  # [N, H] unit of y
    loc: Floats = field(default_factory=lambda: np.zeros((1, 1)))  # [N, H] or [1, 1] unit of y

    def __post_init__(self) -> None:
        """Check, copy, freeze."""
        scale = checks.positive("scale", self.scale, 2)
        loc = checks.finite("loc", np.broadcast_to(self.loc, scale.shape), 2)
        edges = checks.finite("edges", self.edges, 2)
        n, h = scale.shape
        shapes = {
            "base": (self.base.shape, (1, h)),
            "edges": (edges.shape[:1], (h,)),
            "probabilities": (np.shape(self.probabilities), (n, h, edges.shape[1] + 1)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise ValueError(f"{name} has shape {found}: wanted {wanted} with scale {(n, h)}")
        require(np.diff(edges) > 0, "step of edges", np.diff(edges), "positive")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "loc", loc)
        object.__setattr__(self, "probabilities", self._checked_probabilities())

    def _checked_probabilities(self) -> Floats:
        """[N, H, K] summing to one, floored where the floor binds; other rows keep p / w."""
        p, mass = checks.finite("probabilities", self.probabilities, 3), self.masses[None]
        require(p >= 0, "probabilities", p, "at least 0")
        total = p.sum(axis=-1)
        require(np.abs(total - 1) < SUM_TOLERANCE, "sum of probabilities", total, "1")
        require((p == 0) | (mass > 0), "probabilities", p, "0 in a bin without base mass")
        p = np.maximum(p, TILT_FLOOR * mass)
        p /= p.sum(axis=-1, keepdims=True)
        p.flags.writeable = False
        return p

    @property
    def shape(self) -> tuple[int, int]:
        """(N, H)."""
        return self.scale.shape[0], self.scale.shape[1]

    @cached_property
    def progress(self) -> Progress:
        """The base inside the bins: shared by all origins, computed once."""
        return progress_of(self.base, self.edges)

    @property
    def masses(self) -> Floats:
        """[H, K] the base's mass of each bin: the probabilities of no opinion."""
        return self.progress.masses

    def logpdf(self, y: Floats) -> Floats:
        """y [N, H] -> nats."""
        return self._log_density(*self._locate(y))

    def cdf(self, y: Floats) -> Floats:
        """y [N, H] -> P(Y <= y)."""
        return self._share(*self._locate(y))

    def cdf_and_logpdf(self, y: Floats) -> tuple[Floats, Floats]:
        """Both at y [N, H]."""
        place = self._locate(y)
        return self._share(*place), self._log_density(*place)

    def _log_density(self, z: Floats, bins: NDArray[np.int64]) -> Floats:
        w = self.masses[np.arange(z.shape[1]), bins]
        # A void bin has p = 0 and less than 1e-12 of the base: its density is the base's.
        tilt = np.where(w > 0, at_bins(self.probabilities, bins) / np.where(w > 0, w, 1.0), 1.0)
        return self.base.logpdf(z) + np.log(tilt) - np.log(self.scale)

    def _share(self, z: Floats, bins: NDArray[np.int64]) -> Floats:
        rise, fall = self.progress.rise(z, bins)
        p = at_bins(self.probabilities, bins)
        from_below = at_bins(self._below, bins) + p * rise
        from_above = 1 - (at_bins(self._above, bins) + p * fall)
        return np.where(from_below < 0.5, from_below, from_above)

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y: the base's own ppf inside the bin that holds u."""
        u = np.asarray(u, dtype=np.float64)
        u = np.broadcast_to(u, np.broadcast_shapes(u.shape, self.shape))
        bins = checks.bins_of(self._below[..., 1:], u)
        p = at_bins(self.probabilities, bins)
        share = np.where(p > 0, (u - at_bins(self._below, bins)) / np.where(p > 0, p, 1.0), 0.0)
        at = np.arange(u.shape[-1]), bins
        lower, upper = self.progress.lower[at], self.progress.upper[at]
        level = self.base.cdf(lower) + np.clip(share, 0.0, 1.0) * self.masses[at]
        # Sums round: a level must not leave its bin, nor reach 1.
        z = np.clip(self.base.ppf(np.minimum(level, 1 - 2.0**-53)), lower, upper)
        return self.loc + self.scale * z

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y; relative error about 1e-10 or better out to 1e5 scales."""
        z, bins = self._locate(y)
        known = np.where(np.isnan(z), 0.0, z)
        parts = (self.probabilities, self._below, self._above)
        p, below, above = (at_bins(values, bins) for values in parts)
        at = np.arange(z.shape[1]), bins
        lower, upper = self.progress.lower[at], self.progress.upper[at]
        first, last = np.isinf(lower), np.isinf(upper)
        start, stop = np.where(first, known, lower), np.where(last, known, upper)
        left = self.progress.between(start, known, bins)
        right = self.progress.between(known, stop, bins)
        whole = self.progress.whole
        # In the outer bins the infinite part is the whole less what lies on the other side of y.
        lowest = whole.rise_squared[:, 0] - right.rise_squared
        highest = whole.fall_squared[:, -1] - left.fall_squared
        rises = np.where(first, lowest, left.rise_squared)
        falls = np.where(last, highest, right.fall_squared)
        inside = below**2 * (known - start) + 2 * below * p * left.rise + p**2 * rises
        inside += above**2 * (stop - known) + 2 * above * p * right.fall + p**2 * falls
        outside = at_bins(self._squares[0], bins) + at_bins(self._squares[1], bins)
        return np.where(np.isnan(z), np.nan, (inside + outside) * self.scale)

    def mean(self) -> Floats:
        """[N, H] expectation."""
        whole = self.progress.whole
        # By parts: the mean of z inside a bin is its upper edge less the integral of the rise.
        centres = np.concatenate(
            (self.edges - whole.rise[:, :-1], self.edges[:, -1:] + whole.fall[:, -1:]), axis=1
        )
        return self.loc + self.scale * (self.probabilities * centres).sum(axis=-1)

    def take(self, rows: NDArray[Any]) -> Self:
        """The distributions of some origins, over the same base and bins."""
        _ = self.progress  # worked out before, for all rows
        return taken(self, rows, ("base", "edges", "progress"))

    def at(self, h: int) -> Self:
        """The distributions of one horizon."""
        return checks.column_of(self, h, base=self.base.at(h), edges=self.edges[h : h + 1])

    def tabled(self) -> Self:
        """The same, the cdf of its base from tables."""
        return checks.remade(self, base=self.base.tabled())

    @cached_property
    def _below(self) -> Floats:
        """[N, H, K] probability below each bin."""
        total = np.cumsum(self.probabilities, axis=-1)
        return np.concatenate((np.zeros_like(total[..., :1]), total[..., :-1]), axis=-1)

    @cached_property
    def _above(self) -> Floats:
        """[N, H, K] probability above each bin, summed from the top: small ones are exact."""
        total = np.cumsum(self.probabilities[..., ::-1], axis=-1)[..., ::-1]
        return np.concatenate((total[..., 1:], np.zeros_like(total[..., :1])), axis=-1)

    @cached_property
    def _squares(self) -> tuple[Floats, Floats]:
        """[N, H, K] integrals of G^2 over the bins below each, of (1 - G)^2 over those above."""
        p, whole, progress = self.probabilities, self.progress.whole, self.progress
        width = np.nan_to_num(progress.upper - progress.lower, posinf=0.0)
        low, high = self._below, self._above
        g = low**2 * width + 2 * low * p * whole.rise + p**2 * whole.rise_squared
        s = high**2 * width + 2 * high * p * whole.fall + p**2 * whole.fall_squared
        zero = np.zeros_like(p[..., :1])
        left = np.concatenate((zero, np.cumsum(g, axis=-1)[..., :-1]), axis=-1)
        right = np.cumsum(s[..., ::-1], axis=-1)[..., ::-1]
        return left, np.concatenate((right[..., 1:], zero), axis=-1)

    def _locate(self, y: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """z [N, H] of y and the bin [N, H] that holds it."""
        z = (np.asarray(y, dtype=np.float64) - self.loc) / self.scale
        columns = [np.searchsorted(e, z[:, h], side="right") for h, e in enumerate(self.edges)]
        return z, np.stack(columns, axis=1)
