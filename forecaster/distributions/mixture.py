"""A linear pool: the weighted mean of other distributions' densities.

N origins, H horizons, M members.

    f(y) = sum_m w[m] f[m](y)        CRPS = sum_m w[m] CRPS[m] - sum_(m < n) w[m] w[n] D[m, n]

with D[m, n] the integral of (F[m] - F[n])^2: what a pool gains where its members disagree.

Source: Stone, The Opinion Pool (Annals of Mathematical Statistics 1961); the CRPS follows from
sum_m w[m] (F[m] - 1)^2 - (F - 1)^2 = sum_(m < n) w[m] w[n] (F[m] - F[n])^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecaster.distributions.distribution import Distribution, Floats, finite, require
from forecaster.distributions.inversion import begun, narrowed

SUM_TOLERANCE = 1e-9
# D by the trapezium rule in v, x = median + width sinh(v): for smooth cdfs as wide as each other
# the error falls as exp(-pi^2 / step), 1e-20 here, so that kinks of the members decide.
STEP, REACH = 0.2, 7.0
ROWS = 4096  # forecasts that are inverted at a time: several levels where origins are few


@dataclass(frozen=True, eq=False)
class Mixture(Distribution):
    """The weights of a horizon are those of all its origins."""

    members: tuple[Distribution, ...]  # M of shape [N, H]
    weights: Floats  # [H, M], at least 0; rows sum to 1

    def __post_init__(self) -> None:
        """Check, copy, freeze."""
        if not self.members:
            raise ValueError("members is empty: wanted one or more")
        weights = finite("weights", self.weights, 2)
        shapes = {each.shape for each in self.members}
        if len(shapes) > 1 or weights.shape != (self.shape[1], len(self.members)):
            raise ValueError(
                f"weights has shape {weights.shape}: wanted {(self.shape[1], len(self.members))}"
                f" for members of one shape, found {sorted(shapes)}"
            )
        require(weights >= 0, "weights", weights, "at least 0")
        total = weights.sum(axis=1)
        require(np.abs(total - 1) < SUM_TOLERANCE, "sum of weights", total, "1")
        object.__setattr__(self, "weights", weights)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, H)."""
        return self.members[0].shape

    def logpdf(self, y: Floats) -> Floats:
        """y [N, H] -> nats."""
        return self._pooled([each.logpdf(y) for each in self.members])

    def cdf(self, y: Floats) -> Floats:
        """y [N, H] -> P(Y <= y)."""
        return sum((w * m.cdf(y) for w, m in self._used), np.zeros(self.shape))

    def cdf_and_logpdf(self, y: Floats) -> tuple[Floats, Floats]:
        """Both at y [N, H]."""
        both = [each.cdf_and_logpdf(y) for each in self.members]
        pairs = zip(self._columns, both, strict=True)
        cdf = sum((w * cdf for w, (cdf, _) in pairs if w.any()), np.zeros(self.shape))
        return cdf, self._pooled([log_density for _, log_density in both])

    def _pooled(self, log_densities: Sequence[Floats]) -> Floats:
        """Of the members -> of the pool."""
        with np.errstate(divide="ignore"):  # a weight of zero
            terms = np.stack(log_densities) + np.log(self._columns)
        highest = terms.max(axis=0)
        return highest + np.log(np.exp(terms - highest).sum(axis=0))

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y, to 1e-12 of the nearer tail or the last bit of y."""
        u = np.asarray(u, dtype=np.float64)
        levels = np.broadcast_to(u, np.broadcast_shapes(u.shape, self.shape))
        out = np.empty(levels.shape)
        for h in range(self.shape[1]):
            out[..., [h]] = self.at(h)._one_horizon(levels[..., [h]])
        return out

    def _one_horizon(self, u: Floats) -> Floats:
        """U [..., N, 1] -> y; a member alone answers for itself."""
        if len(self.members) == 1:
            return self.members[0].ppf(u)
        quick, n = self.tabled(), self.shape[0]
        levels = u.reshape(-1, n, 1)
        parts = []
        step = max(1, ROWS // n)
        for start in range(0, len(levels), step):
            part = levels[start : start + step]
            again = quick if len(part) == 1 else quick.take(np.tile(np.arange(n), len(part)))
            parts.append(again._invert(part.reshape(-1, 1)).reshape(part.shape))
        return np.concatenate([levels[:0], *parts]).reshape(u.shape)

    def _invert(self, u: Floats) -> Floats:
        """U [N, 1] -> y between the quantiles of the members."""
        ends = [m.ppf(u) for m in self.members]
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
        y = sum((w * end for w, end in zip(self.weights[0], ends, strict=True)), np.zeros(u.shape))
        return narrowed(self, begun(u, low, high, np.clip(y, low, high)))

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y; relative error 1e-10, or 1e-4 where members' densities jump."""
        own = sum((w * m.crps(y) for w, m in self._used), np.zeros(self.shape))
        return own - self._disagreement

    def mean(self) -> Floats:
        """[N, H] expectation."""
        return sum((w * m.mean() for w, m in self._used), np.zeros(self.shape))

    def take(self, rows: NDArray[Any]) -> Self:
        """The pools of some origins."""
        return type(self)(tuple(each.take(rows) for each in self.members), self.weights)

    def at(self, h: int) -> Self:
        """The pools of a horizon [N, 1], of the members that count there."""
        used = np.flatnonzero(self.weights[h])
        members = tuple(self.members[i].at(h) for i in used)
        return type(self)(members, self.weights[h : h + 1, used])

    def tabled(self) -> "Mixture":
        """The same, of members from tables."""
        return type(self)(tuple(each.tabled() for each in self.members), self.weights)

    @property
    def _columns(self) -> Floats:
        """[M, 1, H] weights."""
        return self.weights.T[:, None]

    @property
    def _used(self) -> list[tuple[Floats, Distribution]]:
        """(weights [1, H], member) of those that count somewhere."""
        pairs = zip(self._columns, self.members, strict=True)
        return [(w, m) for w, m in pairs if w.any()]

    @cached_property
    def _disagreement(self) -> Floats:
        """[N, H] sum over pairs of w w' times the integral of (F - F')^2."""
        columns = [self.at(h)._of_one_horizon() for h in range(self.shape[1])]
        return np.concatenate(columns, axis=1)

    def _of_one_horizon(self) -> Floats:
        """[N, 1] the same of a pool [N, 1]."""
        total = np.zeros(self.shape)
        if len(self.members) == 1:
            return total
        quartiles = np.stack([m.quantile([0.25, 0.5, 0.75]) for m in self.members])
        width = (quartiles[..., 2] - quartiles[..., 0]).min(axis=0)
        middle = quartiles[..., 1].mean(axis=0)
        quick = self.tabled()
        for v in np.arange(-REACH, REACH + STEP / 2, STEP):
            x = middle + width * np.sinh(v)
            cdfs = [(w, m.cdf(x)) for w, m in quick._used]
            mean = sum((w * f for w, f in cdfs), np.zeros(self.shape))
            spread = sum((w * (f - mean) ** 2 for w, f in cdfs), np.zeros(self.shape))
            total += STEP * width * np.cosh(v) * spread
        return total
