"""A table of quantiles with generalised Pareto tails: any body, and tails that never end.

N origins, H horizons, K knots. Between two knots the density is constant; beyond the outer ones

    P(Y < knots[0] - x) = levels[0] S(x)        S(x) = (1 + xi x / beta)^(-1 / xi)

and the same above, so cdf, quantiles, CRPS and mean are in closed form.

Source: McNeil and Frey, Estimation of Tail-Related Risk Measures (Journal of Empirical Finance
2000), section 2.2; the CRPS is ours, from the integrals of S and S^2.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import forecaster.distributions.distribution as checks
from forecaster.distributions.distribution import (
    Distribution,
    Floats,
    at_bins,
    bins_of,
    column_of,
    require,
    taken,
)


@dataclass(frozen=True, eq=False)
class ParetoTailed(Distribution):
    """xi in (0, 1): above 0, or a crash could be impossible; below 1, or there would be no mean."""

    levels: Floats  # [K] cdf at the knots, strictly increasing inside (0, 1)
    knots: Floats  # [N, H, K] unit of y, strictly increasing
    beta: Floats  # [N, H, 2] scale of the tail below and above, unit of y
    xi: Floats  # [N, H, 2] their shape

    def __post_init__(self) -> None:
        """Check, copy, freeze."""
        levels, knots = (
            checks.finite("levels", self.levels, 1),
            checks.finite("knots", self.knots, 3),
        )
        require((levels > 0) & (levels < 1), "levels", levels, "inside (0, 1)")
        require(np.diff(levels) > 0, "step of levels", np.diff(levels), "positive")
        require(np.diff(knots) > 0, "step of knots", np.diff(knots), "positive")
        beta, xi = checks.positive("beta", self.beta, 3), checks.positive("xi", self.xi, 3)
        require(xi < 1, "xi", xi, "below 1, so there is no mean")
        for name, found, wanted in (
            ("knots", knots.shape[2:], levels.shape),
            ("beta", beta.shape, (*knots.shape[:2], 2)),
            ("xi", xi.shape, (*knots.shape[:2], 2)),
        ):
            if found != wanted:
                raise ValueError(f"{name} ends in shape {found}: wanted {wanted}")
        for name, value in (("levels", levels), ("knots", knots), ("beta", beta), ("xi", xi)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, H)."""
        return self.knots.shape[0], self.knots.shape[1]

    def logpdf(self, y: Floats) -> Floats:
        """y [N, H] -> nats."""
        return self._log_density(self._place(y))

    def cdf_and_logpdf(self, y: Floats) -> tuple[Floats, Floats]:
        """Both at y [N, H]."""
        place = self._place(y)
        return place.cdf, self._log_density(place)

    def _log_density(self, place: "_Place") -> Floats:
        density = np.log(np.diff(self.levels)[place.bin] / place.width)
        tail = np.log(place.mass / place.beta) - (1 + 1 / place.xi) * place.log_stretch
        return np.where(place.outside, tail, density)

    def cdf(self, y: Floats) -> Floats:
        """y [N, H] -> P(Y <= y)."""
        return self._place(y).cdf

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y."""
        u = np.asarray(u, dtype=np.float64)
        u = np.broadcast_to(u, np.broadcast_shapes(u.shape, self.shape))
        k = np.clip(np.searchsorted(self.levels, u, side="right") - 1, 0, len(self.levels) - 2)
        start, stop = (at_bins(self.knots, i) for i in (k, k + 1))
        share = (u - self.levels[k]) / np.diff(self.levels)[k]
        low, high = self.levels[0], self.levels[-1]
        below = self.knots[..., 0] - self._reach(0, np.minimum(u / low, 1.0))
        above = self.knots[..., -1] + self._reach(1, np.minimum((1 - u) / (1 - high), 1.0))
        body = start + share * (stop - start)
        return np.where(u < low, below, np.where(u > high, above, body))

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y. Exact."""
        place = self._place(y)
        below, above = self._squares
        a, b, f = self.levels[place.bin], self.levels[place.bin + 1], place.cdf
        left = at_bins(below, place.bin) + place.past * (a * a + a * f + f * f) / 3
        rest = (1 - f) ** 2 + (1 - f) * (1 - b) + (1 - b) ** 2
        right = at_bins(above, place.bin + 1) + (place.width - place.past) * rest / 3
        # In a tail: from y to the knot the outcome is on the other side, beyond y as in the body.
        s, xi, mass = np.exp(-place.log_stretch / place.xi), place.xi, place.mass
        first, second = place.beta / (1 - xi), mass**2 * place.beta / (2 - xi)
        crossed = place.beyond - 2 * mass * first * (1 - s ** (1 - xi))
        crossed = crossed + second * (1 - s ** (2 - xi)) + second * s ** (2 - xi)
        other = np.where(place.low, above[..., 0], below[..., -1])
        return np.where(place.outside, crossed + other, left + right)

    def mean(self) -> Floats:
        """[N, H] expectation."""
        middle = (self.knots[..., 1:] + self.knots[..., :-1]) / 2
        reach = self.beta / (1 - self.xi)
        low, high = self.levels[0], self.levels[-1]
        tails = low * (self.knots[..., 0] - reach[..., 0])
        tails = tails + (1 - high) * (self.knots[..., -1] + reach[..., 1])
        return middle @ np.diff(self.levels) + tails

    def take(self, rows: NDArray[Any]) -> Self:
        """The tables of some origins."""
        return taken(self, rows, ("levels",))

    def at(self, h: int) -> Self:
        """The tables of one horizon."""
        return column_of(self, h, levels=self.levels)

    @cached_property
    def _squares(self) -> tuple[Floats, Floats]:
        """[N, H, K] integrals of cdf^2 up to each knot, of (1 - cdf)^2 from it on."""
        width, u, v = np.diff(self.knots), self.levels, 1 - self.levels
        ends = np.array([u[0], v[-1]]) ** 2 * self.beta / (2 - self.xi)
        rises = width * (u[1:] ** 2 + u[1:] * u[:-1] + u[:-1] ** 2) / 3
        falls = width * (v[1:] ** 2 + v[1:] * v[:-1] + v[:-1] ** 2) / 3
        below = np.cumsum(np.concatenate((ends[..., :1], rises), axis=-1), axis=-1)
        above = np.cumsum(np.concatenate((ends[..., 1:], falls[..., ::-1]), axis=-1), axis=-1)
        return below, above[..., ::-1]

    def _reach(self, side: int, share: Floats) -> Floats:
        """Distance beyond the outer knot of a side where S is `share`."""
        xi = self.xi[..., side]
        return self.beta[..., side] * np.expm1(-xi * np.log(share)) / xi

    def _place(self, y: Floats) -> "_Place":
        y = np.asarray(y, dtype=np.float64)
        count = bins_of(self.knots, y)
        low, outside = count == 0, (count == 0) | (count == len(self.levels))
        k = np.clip(count - 1, 0, len(self.levels) - 2)
        start, stop = at_bins(self.knots, k), at_bins(self.knots, k + 1)
        beta, xi = (np.where(low, x[..., 0], x[..., 1]) for x in (self.beta, self.xi))
        beyond = np.where(low, self.knots[..., 0] - y, np.maximum(y - self.knots[..., -1], 0.0))
        mass = np.where(low, self.levels[0], 1 - self.levels[-1])
        stretch = np.log1p(xi * beyond / beta)
        body = self.levels[k] + np.diff(self.levels)[k] * (y - start) / (stop - start)
        tail = mass * np.exp(-stretch / xi)
        cdf = np.where(outside, np.where(low, tail, 1 - tail), body)
        return _Place(
            k, y - start, stop - start, low, outside, beyond, mass, beta, xi, stretch, cdf
        )


@dataclass(frozen=True, eq=False)
class _Place:
    """Where y [N, H] lies: in a bin of the body, or beyond an outer knot."""

    bin: NDArray[np.int64]
    past: Floats  # y less the bin's lower knot
    width: Floats  # of the bin
    low: NDArray[np.bool_]  # in the lower tail
    outside: NDArray[np.bool_]  # in either tail
    beyond: Floats  # distance from the outer knot
    mass: Floats  # of that tail
    beta: Floats
    xi: Floats
    log_stretch: Floats  # ln(1 + xi beyond / beta)
    cdf: Floats
