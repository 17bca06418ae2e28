"""Location-scale families: a standard shape, moved and stretched. Also the bases of `Binned`.

N origins, H horizons. z = (y - loc) / scale. Tails by scipy.special in float64: stdtr and stdtrit
agree with 40-digit arithmetic to 2e-14 out to z = -1e5.
"""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
import scoringrules
from numpy.typing import NDArray
from scipy import special

from forecaster.distributions.distribution import (
    Distribution,
    Floats,
    column_of,
    finite,
    once_a_run,
    positive,
    require,
    taken,
)

# A likelihood is flat in df far above this, so that fits run away, and single-precision log-gamma
# differences are off by 0.9 nats at df = 1e7. At 200 the density is within 0.005 nats of the
# Gaussian's everywhere within three scales.
MAX_DF = 200.0
SIGNED = ("loc", "skew")  # parameters that may be negative; every other one is positive


Family = TypeVar("Family", bound="LocationScale")


@dataclass(frozen=True, eq=False)
class LocationScale(Distribution):
    """loc + scale * (a standard variable). Parameters broadcast to [N, H]."""

    loc: Floats  # [N, H] unit of y
    scale: Floats  # [N, H] unit of y, > 0; not in general the standard deviation

    def __post_init__(self) -> None:
        """Broadcast, copy, freeze and check every parameter."""
        names = [f.name for f in fields(self)]
        arrays = np.broadcast_arrays(*(np.asarray(getattr(self, name)) for name in names))
        for name, array in zip(names, arrays, strict=True):
            check = finite if name in SIGNED else positive
            object.__setattr__(self, name, check(name, array, 2))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, H)."""
        return self.loc.shape[0], self.loc.shape[1]

    @abstractmethod
    def sf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y > y), exact in the upper tail, where 1 - cdf is not."""

    def cdf_and_sf(self, y: Floats) -> tuple[Floats, Floats]:
        """y [..., N, H] -> (P(Y <= y), P(Y > y)), each as exact as alone."""
        return self.cdf(y), self.sf(y)

    def take(self, rows: NDArray[Any]) -> Self:
        """The distributions of some origins."""
        return taken(self, rows)

    def at(self, h: int) -> Self:
        """The distributions of one horizon."""
        return column_of(self, h)

    def _standard(self, y: Floats) -> Floats:
        return (np.asarray(y, dtype=np.float64) - self.loc) / self.scale


class Gaussian(LocationScale):
    """Normal distributions; `scale` is the standard deviation."""

    def logpdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> nats."""
        with np.errstate(over="ignore"):  # beyond 1e154 scales the log density is -inf in float64
            return -0.5 * self._standard(y) ** 2 - np.log(self.scale) - 0.5 * np.log(2 * np.pi)

    def cdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y <= y)."""
        return special.ndtr(self._standard(y))

    def sf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y > y)."""
        return special.ndtr(-self._standard(y))

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y."""
        return self.loc + self.scale * special.ndtri(u)

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y."""
        return np.asarray(scoringrules.crps_normal(y, self.loc, self.scale, backend="numpy"))

    def mean(self) -> Floats:
        """[N, H] loc."""
        return self.loc


@dataclass(frozen=True, eq=False)
class StudentT(LocationScale):
    """Student's t; `scale` is not the standard deviation, which is scale * sqrt(df / (df - 2)).

    df above 200 is taken as 200 (MAX_DF). The mean and the CRPS are finite for df > 1 only.
    """

    df: Floats  # [N, H] degrees of freedom, > 0

    def __post_init__(self) -> None:
        """Check, and cap df."""
        object.__setattr__(self, "df", np.minimum(self.df, MAX_DF))
        super().__post_init__()

    def logpdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> nats. By hypot, so that no square overflows."""
        half = 0.5 * (self.df + 1)
        constant = special.gammaln(half) - special.gammaln(0.5 * self.df)
        constant = constant - 0.5 * np.log(np.pi * self.df) - np.log(self.scale)
        return constant - 2 * half * np.log(np.hypot(1.0, self._standard(y) / np.sqrt(self.df)))

    def cdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y <= y)."""
        return special.stdtr(self.df, self._standard(y))

    def sf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y > y)."""
        return special.stdtr(self.df, -self._standard(y))

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y."""
        return self.loc + self.scale * once_a_run(special.stdtrit, self.df, np.asarray(u))

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y. Raises ValueError for df <= 1, where it is infinite."""
        self._require_mean()
        return np.asarray(
            scoringrules.crps_t(y, self.df, self.loc, self.scale, backend="numpy"),
        )

    def mean(self) -> Floats:
        """[N, H] loc. Raises ValueError for df <= 1, where there is none."""
        self._require_mean()
        return self.loc

    def _require_mean(self) -> None:
        require(self.df > 1, "df", self.df, "above 1, so mean and CRPS are not finite")


def moved(base: Family, loc: Floats, scale: Floats) -> Family:
    """Each row [1, H] of a base around loc [N, H], in units of scale [N, H]."""
    about = {f.name: getattr(base, f.name) for f in fields(base)}
    return type(base)(**about | {"loc": loc + scale * base.loc, "scale": scale * base.scale})
