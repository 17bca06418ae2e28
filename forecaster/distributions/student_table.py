"""The cdf of a Student-t by tables, for searches that ask for it millions of times.

With w = z / sqrt(df + z^2) the density of w is c (1 - w^2)^(df / 2 - 1), whose derivatives follow
from each other, so that a Taylor series about the nearest of NODES points has the cdf: to 1e-13 of
its value (a test), many times sooner than `stdtr`, which has the points and what is beyond them.

Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.1 and 26.5.1; the
recurrence is that of (1 - w^2) g' = -2 a w g. U different degrees of freedom.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from forecaster.distributions.distribution import Floats

NODES = 512  # on w in [-1, 0]
ORDER = 10
FARTHEST = 12.0  # of -z: a tail of many degrees of freedom falls too fast for the series
LAST = NODES - NODES // 16  # beyond it the series would feel the singularity at w = -1


@dataclass(frozen=True, eq=False)
class StudentTable:
    """Of degrees of freedom [N, H]."""

    df: Floats
    which: NDArray[np.int64]  # [N, H] where the table of each begins
    series: Floats  # [U * (LAST + 1) * ORDER] coefficients, a table after another

    @classmethod
    def of(cls, df: Floats) -> "StudentTable":
        """A table a different value of df [N, H]."""
        values, which = np.unique(df, return_inverse=True)
        series = np.concatenate([_series(value) for value in values.tolist()])
        return cls(df, which.reshape(df.shape) * (LAST + 1) * ORDER, series)

    def cdf(self, z: Floats) -> Floats:
        """z [..., N, H], at most 0 -> P(Z <= z)."""
        with np.errstate(over="ignore", invalid="ignore"):  # z beyond 1e154
            w = z / np.sqrt(self.df + z * z)
        beyond = ~((w > -(LAST + 0.5) / NODES) & (z > -FARTHEST))  # NaN, too
        i = np.rint(np.where(beyond, 0.0, w) * -NODES).astype(np.int64)
        apart, at = w + i / NODES, self.which + i * ORDER
        found = self.series.take(at + (ORDER - 1))
        for k in range(ORDER - 2, -1, -1):
            found *= apart
            found += self.series.take(at + k)
        if beyond.any():
            df = np.broadcast_to(self.df, z.shape)[beyond]
            found[beyond] = special.stdtr(df, z[beyond])
        return found

    def __getitem__(self, rows: NDArray[Any]) -> Self:
        """Of some rows."""
        return type(self)(self.df[rows], self.which[rows], self.series)


def _series(df: float) -> Floats:
    """[(LAST + 1) * ORDER] coefficients of the cdf in powers of w less each node."""
    w, a = -np.arange(LAST + 1) / NODES, df / 2 - 1
    room = 1 - w * w
    g = np.zeros((ORDER, LAST + 1))  # of the density of w
    g[0] = np.exp(a * np.log(room) - special.betaln(0.5, df / 2))
    g[1] = -2 * a * w * g[0] / room
    for n in range(1, ORDER - 1):
        turned = 2 * w * n * g[n] + (n - 1) * g[n - 1] - 2 * a * (w * g[n] + g[n - 1])
        g[n + 1] = turned / (room * (n + 1))
    series = np.empty((LAST + 1, ORDER))
    series[:, 0] = special.stdtr(df, w * np.sqrt(df / room))
    series[:, 1:] = (g[:-1] / np.arange(1, ORDER)[:, None]).T
    return series.ravel()
