"""Expected shortfall and variance of any distribution, from its quantiles alone, and their scores.

One call for quantiles answers all of them, so that no distribution needs formulas of its own.
"""

from dataclasses import dataclass

import numpy as np

from forecaster.bars import Floats
from forecaster.frames import PINBALL_LEVELS, QUANTILES, RISK_LEVELS

POWER = 5  # u = part * v**POWER: nodes reach down to a 1e-9th of a tail
# An expected shortfall is a loss. Where a density says that even its worst per cent gains, the
# score below does not exist; it is taken for a loss of a ten-thousandth of a per cent.
LEAST_SHORTFALL = 1e-6


def _legendre(n: int) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss and Legendre on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def _between(low: float, high: float, n: int) -> tuple[Floats, Floats]:
    x, w = _legendre(n)
    return low + (high - low) * x, (high - low) * w


def _tail(part: float, n: int) -> tuple[Floats, Floats]:
    """Levels in (0, part) and weights, dense near 0, for quantiles that go to infinity there."""
    x, w = _legendre(n)
    return part * x**POWER, part * POWER * x ** (POWER - 1) * w


# Levels below 1 %, below 5 %, the rest, and above 95 %.
_PARTS = [_tail(0.01, 6), _between(0.01, 0.05, 3), _between(0.05, 0.95, 10), _tail(0.05, 6)]
_ENDS = np.cumsum([len(levels) for levels, _ in _PARTS])
NODES = np.concatenate([*(levels for levels, _ in _PARTS[:3]), 1 - _PARTS[3][0]])
WEIGHTS = np.concatenate([weights for _, weights in _PARTS])
# What a table of forecasts and its scores ask together: a pool searches for each of them.
ASKED = np.concatenate([QUANTILES, NODES])
_MIDDLE, *_PINBALL = (QUANTILES.index(level) for level in (0.5, *PINBALL_LEVELS))


@dataclass(frozen=True, eq=False)
class Spread:
    """What the quantiles of N x H distributions say."""

    median: Floats  # [N, H]
    quantiles: Floats  # [N, H, 4] at PINBALL_LEVELS
    shortfall: Floats  # [N, H, 2] mean below the quantile at RISK_LEVELS, unit of y
    variance: Floats  # [N, H]


def spread(q: Floats) -> Spread:
    """Of quantiles [N, H, Q] at ASKED: what they say; within 1 % for a Student-t of 3 degrees."""
    tail = q[..., len(QUANTILES) :]
    below = [tail[..., :end] @ WEIGHTS[:end] for end in _ENDS[:2]]
    mean = tail @ WEIGHTS
    variance = (tail - mean[..., None]) ** 2 @ WEIGHTS
    return Spread(
        median=q[..., _MIDDLE],
        quantiles=q[..., _PINBALL],
        shortfall=np.stack(below, axis=-1) / np.array(RISK_LEVELS),
        variance=np.maximum(variance, LEAST_SHORTFALL**2),
    )


def fz0(y: Floats, value_at_risk: Floats, shortfall: Floats, level: float) -> Floats:
    """Joint loss of a quantile v and the mean e below it, any shape; lower is better, in nats.

    -1{y <= v} (v - y) / (level e) + v / e + ln(-e) - 1, with e < 0. Source: Patton, Ziegel and
    Chen, Dynamic semiparametric models for expected shortfall (J. Econometrics 2019), equation 6.
    """
    e = np.minimum(shortfall, -LEAST_SHORTFALL)
    miss = np.maximum(value_at_risk - y, 0.0)
    return -miss / (level * e) + value_at_risk / e + np.log(-e) - 1


def qlike(variance: Floats, realised: Floats) -> Floats:
    """Loss of a variance forecast, any shape, in nats: ln f + x / f; lower is better.

    Least in the mean at the true variance whatever the noise of an unbiased x. Source: Patton,
    Volatility forecast comparison using imperfect volatility proxies (J. Econometrics 2011).
    """
    return np.log(variance) + realised / variance
