"""Paths of candles from a fitted learner and from its prior alone, block by block.

A block is some paths of some origins, simulated together: memory is flat in their number. No path
depends on its block. N paths in a block, K steps, H horizons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats, Panel
from forecaster.distributions import Binned
from forecaster.learner import FieldHeads, FittedLearner, NetworkLaw, Sampler, Start, tokenise
from forecaster.paths.memory import PathMemory
from forecaster.paths.randomness import levels
from forecaster.paths.remembered import remember_all
from forecaster.paths.shapes import BarShapes, Bootstrap
from forecaster.paths.simulate import BarLaw, PriorLaw, next_bar, one_ahead
from forecaster.paths.table import PathBlock
from forecaster.paths.within import WithinBins
from forecaster.protocol import Origins

BLOCK = 2048  # paths


@dataclass(frozen=True)
class Walk:
    """How many paths, how far, from which seed."""

    paths: int
    steps: int
    seed: int


@dataclass(frozen=True, eq=False)
class Walker:
    """A learner with what it takes to draw whole bars."""

    name: str
    fitted: FittedLearner
    heads: tuple[FieldHeads, ...]  # one a network, of all or of the first ones
    shapes: BarShapes


class PathSource:
    """Paths of one fitted learner from origins of one panel."""

    def __init__(self, walker: Walker, past: Panel, origins: Origins) -> None:
        self.fitted, self.panel, self.origins = walker.fitted, past, origins
        self.name, tokenizer = walker.name, walker.fitted.tokenizer
        ahead, bootstrap = one_ahead(tokenizer), Bootstrap(walker.shapes)
        self.prior = PriorLaw(ahead[0], bootstrap)
        within = WithinBins(walker.shapes, tokenizer)
        self.sampler = Sampler(walker.fitted, walker.heads, within, bootstrap, ahead)
        self.remembered = remember_all(past, tokenizer)
        self.members = tokenise(past, tokenizer)
        j = tokenizer.horizons.index(1)
        # The learner's own: paths know nothing of the pool beyond the next bar.
        density = self.fitted.forecast(past, origins, tokenizer.horizons)
        if not isinstance(density, Binned):
            raise TypeError(f"{type(density).__name__} is forecast: paths need bins")
        self.density, self.first = density, density.probabilities[:, j]

    def from_prior(self, walk: Walk) -> Iterator[PathBlock]:
        """The prior alone."""
        for origin, path in blocks(len(self.origins), walk.paths):
            candles = self._walk(self.prior, origin, path, walk)
            yield PathBlock(self.fitted.tokenizer.prior.law, origin, path, candles)

    def from_learner(self, walk: Walk) -> Iterator[PathBlock]:
        """Path i follows network i modulo the number of those whose bars can be drawn."""
        count = len(self.sampler.heads)
        for origin, path in blocks(len(self.origins), walk.paths):
            law = self.law(path % count, origin)
            yield PathBlock(self.name, origin, path, self._walk(law, origin, path, walk))

    def law(self, number: NDArray[np.int64], origin: NDArray[np.int64]) -> NetworkLaw:
        """Of paths from these origins [N] that follow these networks [N]."""
        member, bar = self.origins.member[origin], self.origins.bar[origin]
        start = Start(self.members, member, bar, number, self.first[origin])
        return NetworkLaw(self.sampler, start)

    def _walk(
        self, law: BarLaw, origin: NDArray[np.int64], path: NDArray[np.int64], walk: Walk
    ) -> Floats:
        """Paths [N] of these origins [N] -> candles [N, K, 5]."""
        member, bar = self.origins.member[origin], self.origins.bar[origin]
        memory = PathMemory(self.remembered, self.fitted.tokenizer, member, bar)
        bars = [
            next_bar(memory, law, self._levels(origin, path, walk, k)) for k in range(walk.steps)
        ]
        return np.stack(bars, axis=1)

    def _levels(
        self, origin: NDArray[np.int64], path: NDArray[np.int64], walk: Walk, step: int
    ) -> Floats:
        """[N, LEVELS]; the paths of an origin stand together, in order."""
        out = []
        for i in np.unique(origin):
            bars = self.panel.members[self.origins.member[i]]
            cutoff = bars.label(int(self.origins.bar[i]))
            own = path[origin == i]
            drawn = levels(walk.seed, (bars.symbol, cutoff), step, range(own[0], own[-1] + 1))
            out.append(drawn[own - own[0]])
        return np.concatenate(out)


def blocks(origins: int, paths: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(origin [N], path [N]) of every path of every origin in order, N at most BLOCK."""
    for start in range(0, origins * paths, BLOCK):
        flat = np.arange(start, min(start + BLOCK, origins * paths))
        yield flat // paths, flat % paths
