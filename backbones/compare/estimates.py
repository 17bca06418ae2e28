"""Means over seeds with intervals, and what a difference allows to say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtrit

LEVEL = 0.95  # of every interval

Verdict = Literal["reference", "better", "worse", "not decided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean of n values and half its t-interval, which one value does not have."""

    mean: float
    half: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if self.half is None else f" +- {self.half:.4f}")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and half of the LEVEL interval by Student's t, n - 1 degrees of freedom.

    The values are taken as independent and normal: seeds are the first, and nearly the second.
    """
    n = len(values)
    if n < 2:
        return Estimate(mean=values[0], half=None, n=n)
    quantile = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return Estimate(mean=fmean(values), half=quantile * stdev(values) / math.sqrt(n), n=n)


def verdict(difference: Estimate) -> Verdict:
    """What a difference in nats to the reference says: below zero is better."""
    if difference.half is None or abs(difference.mean) <= difference.half:
        return "not decided"
    return "better" if difference.mean < 0 else "worse"
