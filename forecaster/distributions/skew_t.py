"""Hansen's skewed Student-t: two halves of a t, stretched unequally.

N origins, H horizons. `loc` is the mean, `scale` the standard deviation. With m the mode, s1 and s2
the stretches left and right of it, p = s1/(s1+s2), T the cdf of a t with df degrees of freedom:

    F(x) = 2 p T((x - m)/s1)  for x < m        1 - F(x) = 2 (1-p) T(-(x - m)/s2)  for x >= m

Source: Hansen, Autoregressive Conditional Density Estimation (IER 1994), eq. 10-13; the CRPS is
ours, from the integrals of T and T^2 (`_first`, `_second`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from forecaster.distributions.distribution import Floats, once_a_run, require
from forecaster.distributions.location_scale import MAX_DF, LocationScale
from forecaster.distributions.student_table import StudentTable


@dataclass(frozen=True, eq=False)
class SkewT(LocationScale):
    """skew in (-1, 1): negative leans to losses; df > 2, for the standard deviation is `scale`."""

    skew: Floats  # [N, H]
    df: Floats  # [N, H]

    def __post_init__(self) -> None:
        """Check, and cap df as StudentT does."""
        object.__setattr__(self, "df", np.minimum(self.df, MAX_DF))
        super().__post_init__()
        require(np.abs(self.skew) < 1, "skew", self.skew, "inside (-1, 1)")
        require(self.df > 2, "df", self.df, "above 2, so there is no standard deviation")

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats, Floats, Floats]:
        """(m, s1, s2, p), each [N, H]."""
        c = np.exp(special.gammaln((self.df + 1) / 2) - special.gammaln(self.df / 2))
        c = c / np.sqrt(np.pi * (self.df - 2))
        a = 4 * self.skew * c * (self.df - 2) / (self.df - 1)
        b = np.sqrt(1 + 3 * self.skew**2 - a**2)
        stretch = self.scale * np.sqrt((self.df - 2) / self.df) / b
        left = (1 - self.skew) / 2
        return self.loc - self.scale * a / b, 2 * left * stretch, 2 * (1 - left) * stretch, left

    @cached_property
    def _constant(self) -> Floats:
        """[N, H] log density at the mode."""
        _, s1, s2, _ = self._pieces
        constant = special.gammaln(0.5 * (self.df + 1)) - special.gammaln(0.5 * self.df)
        return constant - 0.5 * np.log(np.pi * self.df) + np.log(2 / (s1 + s2))

    def tabled(self) -> "SkewT":
        """The same law, its cdf from tables: one a different df."""
        out = object.__new__(_Tabled)
        vars(out).update(vars(self))
        return out

    def _half(self, u: Floats) -> Floats:
        """u [..., N, H], at most 0 -> T(u)."""
        return special.stdtr(self.df, u)

    @property
    def mode(self) -> Floats:
        """[N, H] where the halves meet: the density is smooth everywhere else."""
        return self._pieces[0]

    def _side(self, y: Floats) -> tuple[NDArray[np.bool_], Floats, Floats]:
        """(whether y is left of the mode, |y - m| / s as a negative number, mass 2p or 2(1-p))."""
        mode, s1, s2, p = self._pieces
        left = y < mode
        mass = np.asarray(2 * np.where(left, p, 1 - p))
        return left, -np.abs(y - mode) / np.where(left, s1, s2), mass

    def logpdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> nats."""
        return self._log_density(self._side(y)[1])

    def cdf_and_logpdf(self, y: Floats) -> tuple[Floats, Floats]:
        """Both at y [..., N, H]."""
        left, u, mass = self._side(y)
        tail = mass * self._half(u)
        return np.where(left, tail, 1 - tail), self._log_density(u)

    def _log_density(self, u: Floats) -> Floats:
        half = 0.5 * (self.df + 1)
        return self._constant - 2 * half * np.log(np.hypot(1.0, u / np.sqrt(self.df)))

    def slope(self, y: Floats) -> Floats:
        """y [..., N, H] -> derivative of logpdf by y, for fits by gradient."""
        _, s1, s2, _ = self._pieces
        left, u, _ = self._side(y)
        push = -(self.df + 1) * u / (self.df + u**2)
        return np.where(left, push / s1, -push / s2)

    def cdf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y <= y)."""
        left, u, mass = self._side(y)
        tail = mass * self._half(u)
        return np.where(left, tail, 1 - tail)

    def sf(self, y: Floats) -> Floats:
        """y [..., N, H] -> P(Y > y)."""
        left, u, mass = self._side(y)
        tail = mass * self._half(u)
        return np.where(left, 1 - tail, tail)

    def cdf_and_sf(self, y: Floats) -> tuple[Floats, Floats]:
        """y [..., N, H] -> (P(Y <= y), P(Y > y)), each as exact as alone."""
        left, u, mass = self._side(y)
        tail = mass * self._half(u)
        return np.where(left, tail, 1 - tail), np.where(left, 1 - tail, tail)

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> y."""
        mode, s1, s2, p = self._pieces
        left = u < p
        tail = np.where(left, u / (2 * p), (1 - u) / (2 * (1 - p)))
        distance = -np.abs(once_a_run(special.stdtrit, self.df, tail))  # of no tail it says +inf
        return mode + np.where(left, s1 * distance, -s2 * distance)

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y. Exact."""
        _, s1, s2, p = self._pieces
        left, u, mass = self._side(y)
        near, far = np.where(left, s1, s2), np.where(left, s2, s1)
        other = np.where(left, 2 * (1 - p), 2 * p)
        first0, second0 = self._first(np.zeros_like(u)), self._second(np.zeros_like(u))
        beyond = mass**2 * near * self._second(u)
        between = near * (
            -u - 2 * mass * (first0 - self._first(u)) + mass**2 * (second0 - self._second(u))
        )
        return beyond + between + other**2 * far * second0

    def mean(self) -> Floats:
        """[N, H] loc."""
        return self.loc

    def _first(self, u: Floats) -> Floats:
        """Integral of T up to u: u T(u) + w(u), with w = (df + u^2) / (df - 1) t(u)."""
        return u * special.stdtr(self.df, u) + self._weight(u)

    def _second(self, u: Floats) -> Floats:
        """Integral of T^2 up to u: u T^2 + 2 w T - 2 D T'(u sqrt((2 df - 1) / df)).

        T' has 2 df - 1 degrees of freedom, D is half the mean distance of two draws of T.
        """
        t, df = special.stdtr(self.df, u), self.df
        d = np.log(np.sqrt(df) / (df - 1)) + special.betaln(0.5, df - 0.5)
        d = np.exp(d - 2 * special.betaln(0.5, df / 2))
        wide = special.stdtr(2 * df - 1, u * np.sqrt((2 * df - 1) / df))
        return u * t**2 + 2 * self._weight(u) * t - 2 * d * wide

    def _weight(self, u: Floats) -> Floats:
        half = 0.5 * (self.df + 1)
        constant = special.gammaln(half) - special.gammaln(0.5 * self.df)
        log_t = constant - 0.5 * np.log(np.pi * self.df)
        log_t = log_t - 2 * half * np.log(np.hypot(1.0, u / np.sqrt(self.df)))
        return (self.df + u**2) / (self.df - 1) * np.exp(log_t)


class OwnSkewT(SkewT):
    """A skewed t whose shape is each forecast's own: as many tables would cost more than they save.

    It says so by its kind. To count who shares a df would let an answer hang on who else is asked.
    """

    def tabled(self) -> "OwnSkewT":
        """As it is."""
        return self


class _Tabled(SkewT):
    """A skewed t that is asked many times."""

    @cached_property
    def _table(self) -> StudentTable:
        return StudentTable.of(self.df)

    def _half(self, u: Floats) -> Floats:
        return self._table.cdf(u)
