"""The likelihood of Hansen's skewed t and all its derivatives in one pass over the values.

A search evaluates it thousands of times. With u = (z - mode) / s, s = s1 left of the mode, else s2:

    ln g(z) = constant - (df + 1) / 2 ln(1 + u^2 / df)

so that the derivatives by mode, s1, s2 and df are five sums over z; those by the shape's own
numbers follow from how mode, s1, s2, df and the constant depend on them, which costs no pass.
`distributions.SkewT` is the same law as a distribution.

Source: Hansen, Autoregressive Conditional Density Estimation (IER 1994), eq. 10-13. N values.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from forecaster.bars import Floats
from forecaster.distributions.location_scale import MAX_DF

STEP = 1e-5  # of the shape's free numbers, for central differences of the halves


class Halves(NamedTuple):
    """What the density of z needs, by the numbers that it is written in."""

    mode: float
    left: float  # s1
    right: float  # s2
    df: float
    constant: float


def natural(skew: float, df: float) -> tuple[float, float]:
    """Free numbers -> skew in (-0.9, 0.9), df above 2.1."""
    return 0.9 * float(np.tanh(skew)), 2.1 + float(np.exp(min(df, 6.0)))


def halves(shape: Floats) -> Halves:
    """Free numbers (loc, skew, df) -> the two halves of a law of deviation one."""
    skew, df = natural(float(shape[1]), float(shape[2]))
    df = min(df, MAX_DF)
    log_ratio = float(gammaln((df + 1) / 2) - gammaln(df / 2))
    a = 4 * skew * np.exp(log_ratio) / np.sqrt(np.pi * (df - 2)) * (df - 2) / (df - 1)
    b = np.sqrt(1 + 3 * skew**2 - a**2)
    stretch = np.sqrt((df - 2) / df) / b
    constant = log_ratio - 0.5 * np.log(np.pi * df) - np.log(stretch)
    return Halves(
        float(shape[0] - a / b),
        float((1 - skew) * stretch),
        float((1 + skew) * stretch),
        df,
        float(constant),
    )


class Likelihood:
    """The shape is given once; values may then come in parts, a symbol at a time."""

    def __init__(self, shape: Floats) -> None:
        self._shape, self._at = shape, halves(shape)
        self._count, self._tail = 0, 0.0
        # Left and right of the mode: sums of d ln g / dz, and of the same times z - mode.
        self._slopes, self._moments = np.zeros(2), np.zeros(2)

    def slope(self, z: Floats) -> Floats:
        """z [N] -> d ln g / dz [N]; the values count from now on."""
        at = self._at
        distance = z - at.mode
        below = (distance < 0).astype(np.float64)
        inverse = np.where(below, 1 / at.left, 1 / at.right)
        u = distance * inverse
        squared = u * u
        self._count += len(z)
        self._tail += float(np.log1p(squared / at.df).sum())
        slope = -(at.df + 1) * u * inverse / (at.df + squared)
        self._slopes += _sides(slope, below)
        self._moments += _sides(slope * distance, below)
        return slope

    @property
    def total(self) -> float:
        """Sum of ln g."""
        return self._count * self._at.constant - 0.5 * (self._at.df + 1) * self._tail

    @property
    def by_shape(self) -> Floats:
        """[3] derivatives of the sum by (loc, skew, df), as free numbers."""
        at, (left, right) = self._at, self._moments
        by_df = -0.5 * self._tail - 0.5 * (left + right) / at.df
        by_half = np.array(
            [-self._slopes.sum(), -left / at.left, -right / at.right, by_df, self._count]
        )
        moved = []
        for step in STEP * np.eye(3):
            up, down = (np.array(halves(self._shape + sign * step)) for sign in (1, -1))
            moved.append((up - down) / (2 * STEP))
        return np.array(moved) @ by_half


def _sides(values: Floats, below: Floats) -> Floats:
    """[2] sums where `below` is 1 and where it is 0."""
    low = float(values @ below)
    return np.array([low, float(values.sum()) - low])
