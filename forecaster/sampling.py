"""Sampled paths of candles from a learner and from its prior alone, block by block.

A block is some paths of some origins, simulated together: memory is flat in their number. No path
depends on its block. N paths in a block, K steps, H horizons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats, Panel
from forecaster.learner import ROWS, FieldHeads, FittedLearner, NetworkLaw, Sampler, Start, tokenise
from forecaster.paths.memory import PathMemory, Remembered, remember_all
from forecaster.paths.randomness import levels
from forecaster.paths.shapes import BarShapes, Bootstrap
from forecaster.paths.simulate import BarLaw, PriorLaw, next_bar, one_ahead
from forecaster.paths.within import WithinBins
from forecaster.protocol import Origins

BLOCK = 2048  # paths


@dataclass(frozen=True, eq=False)
class PathBlock:
    """N paths."""

    origin: NDArray[np.int64]  # [N] index into the origins
    path: NDArray[np.int64]  # [N] its number, from 0
    candles: Floats  # [N, K, 5] open, high, low, close, volume; NaN where the symbol has none


@dataclass(frozen=True)
class Walk:
    """How many paths, how far, from which seed."""

    paths: int
    steps: int
    seed: int


class PathSource:
    """Paths of one fitted learner from origins of one panel."""

    def __init__(
        self,
        fitted: FittedLearner,
        heads: tuple[FieldHeads, ...],
        shapes: BarShapes,
        past: Panel,
        origins: Origins,
    ) -> None:
        self.fitted, self.heads, self.panel, self.origins = fitted, heads, past, origins
        tokenizer = fitted.tokenizer
        ahead, bootstrap = one_ahead(tokenizer), Bootstrap(shapes)
        self.prior = PriorLaw(ahead[0], bootstrap)
        within = WithinBins(shapes, tokenizer)
        self.sampler = Sampler(fitted, heads, within, bootstrap, ahead)
        self.remembered: list[Remembered] = remember_all(past, tokenizer)
        self.members = tokenise(past, tokenizer)
        j = tokenizer.horizons.index(1)
        self.first = fitted.forecast(past, origins, tokenizer.horizons).probabilities[:, j]

    def from_prior(self, walk: Walk) -> Iterator[PathBlock]:
        """The prior alone."""
        for origin, path in blocks(len(self.origins), walk.paths):
            yield PathBlock(origin, path, self._walk(self.prior, origin, path, walk))

    def from_learner(self, walk: Walk) -> Iterator[PathBlock]:
        """Path i follows network i modulo their number."""
        count = len(self.fitted.networks)
        for origin, path in blocks(len(self.origins), walk.paths):
            candles = np.empty((len(path), walk.steps, 5))
            for number in range(count):
                mine = np.flatnonzero(path % count == number)
                for at in range(0, len(mine), ROWS):
                    rows = mine[at : at + ROWS]
                    law = self._law(number, origin[rows], walk.steps)
                    candles[rows] = self._walk(law, origin[rows], path[rows], walk)
            yield PathBlock(origin, path, candles)

    def _law(self, number: int, origin: NDArray[np.int64], steps: int) -> NetworkLaw:
        member, bar = self.origins.member[origin], self.origins.bar[origin]
        start = Start(number, self.members, member, bar, self.first[origin])
        return NetworkLaw(self.sampler, start, steps)

    def _walk(
        self, law: BarLaw, origin: NDArray[np.int64], path: NDArray[np.int64], walk: Walk
    ) -> Floats:
        """Paths [N] of these origins [N] -> candles [N, K, 5]."""
        member, bar = self.origins.member[origin], self.origins.bar[origin]
        memory = PathMemory(self.remembered, self.fitted.tokenizer, member, bar)
        bars = [next_bar(memory, law, self._levels(origin, path, walk, k)) for k in range(walk.steps)]
        return np.stack(bars, axis=1)

    def _levels(
        self, origin: NDArray[np.int64], path: NDArray[np.int64], walk: Walk, step: int
    ) -> Floats:
        """[N, LEVELS]; the paths of an origin stand together, in order."""
        out = []
        for i in np.unique(origin):
            bars, t = self.panel.members[self.origins.member[i]], self.origins.bar[i]
            own = path[origin == i]
            drawn = levels(walk.seed, bars.symbol, bars.opened_at[t], step, range(own[0], own[-1] + 1))
            out.append(drawn[own - own[0]])
        return np.concatenate(out)


def blocks(origins: int, paths: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(origin [N], path [N]) of every path of every origin in order, N at most BLOCK."""
    for start in range(0, origins * paths, BLOCK):
        flat = np.arange(start, min(start + BLOCK, origins * paths))
        yield flat // paths, flat % paths
