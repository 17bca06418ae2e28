"""Paths of candles: what a law says of the next bar, made a legal bar, remembered, and again.

    C' = C exp(r)   O' = C exp(gap)   H' = max(O', C') exp(upper)   L' = min(O', C') exp(-lower)

with both wicks at least 0, so that every candle is legal. Temperature 1, nothing cut off. N paths.
"""

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.candle import Candles
from forecaster.distributions import LocationScale
from forecaster.distributions.distribution import SMALLEST_LEVEL
from forecaster.features import Features
from forecaster.paths.memory import PathMemory
from forecaster.paths.randomness import FILLED, RETURN, ROW
from forecaster.paths.shapes import Bootstrap, Drawn, Shape
from forecaster.tokens import BarTokenizer

# Of one bar's log return, so that prices stay finite: about a thousand scales of a daily bar.
LARGEST = 20.0


class BarLaw(Protocol):
    """How the next bar of each path is drawn."""

    def log_return(self, memory: PathMemory, level: Floats) -> Floats:
        """Levels [N] -> log returns [N]."""
        ...

    def shape(
        self, memory: PathMemory, log_return: Floats, level: Floats, filled: NDArray[np.bool_]
    ) -> Shape:
        """The rest of each bar by levels [N, LEVELS]; `filled`: paths whose open is none."""
        ...

    def heard(self, memory: PathMemory, known: Features) -> None:
        """The bar that was drawn, as features, one row a path."""
        ...


@dataclass(frozen=True, eq=False)
class PriorLaw:
    """The prior alone: its density of the return, and around it a bar of the past."""

    base: LocationScale  # [1, 1] of one bar's return in units of its scale
    bootstrap: Bootstrap

    def log_return(self, memory: PathMemory, level: Floats) -> Floats:
        """By inversion."""
        level = np.maximum(level, SMALLEST_LEVEL)
        return self.base.ppf(level[:, None])[:, 0] * memory.next_scale

    def shape(
        self, memory: PathMemory, log_return: Floats, level: Floats, filled: NDArray[np.bool_]
    ) -> Shape:
        """A row of the past with about this return."""
        how = Drawn(level[:, ROW], filled)
        return self.bootstrap.draw(log_return, memory.next_scale, memory.activity, how)

    def heard(self, memory: PathMemory, known: Features) -> None:
        """Nothing that the memory does not hold."""


def one_ahead(tokenizer: BarTokenizer) -> tuple[LocationScale, Floats]:
    """The prior's shape [1, 1] and the edges [1, K-1] of one bar's return."""
    j, base = tokenizer.horizons.index(1), tokenizer.prior.base()
    columns = (getattr(base, field.name)[:, j : j + 1] for field in fields(base))
    return type(base)(*columns), np.array(tokenizer.return_edges)[j : j + 1]


def next_bar(memory: PathMemory, law: BarLaw, level: Floats) -> Floats:
    """Draw one more bar on every path by levels [N, LEVELS], and remember it: [N, 5] of
    open, high, low, close, volume.
    """
    log_return = np.clip(law.log_return(memory, level[:, RETURN]), -LARGEST, LARGEST)
    filled = level[:, FILLED] < memory.filled
    shape = law.shape(memory, log_return, level, filled)
    candle = legal(memory, log_return, shape)
    volume = memory.volume_of(shape.activity, candle.close)
    law.heard(memory, memory.append(candle, volume))
    return np.stack([candle.open, candle.high, candle.low, candle.close, volume], axis=1)


def legal(memory: PathMemory, log_return: Floats, shape: Shape) -> Candles:
    """The candles [N] of a return and a shape; only a close where the symbol has nothing else."""
    previous = memory.close
    close, opened = previous * np.exp(log_return), previous * np.exp(shape.gap)
    high = np.maximum(opened, close) * np.exp(np.maximum(shape.upper, 0.0))
    low = np.minimum(opened, close) * np.exp(-np.maximum(shape.lower, 0.0))
    opened, high, low = (np.where(memory.has_range, x, np.nan) for x in (opened, high, low))
    return Candles(previous, opened, high, low, close)
