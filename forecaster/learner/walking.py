"""A learner as the law of the next bar: its density of the return, then its heads for the rest.

Each path follows one network from its second bar on, so that the paths of all networks together are
their average at every horizon, as forecasts are. The first bar is drawn from the forecast itself.
N paths, K bins.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.model import Backbone
from forecaster.bars import Floats
from forecaster.distributions import Binned, LocationScale
from forecaster.distributions.distribution import SMALLEST_LEVEL
from forecaster.errors import UsageError
from forecaster.features import Features
from forecaster.learner.fields import FieldHeads
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.heads import BinHead
from forecaster.learner.reader import ROWS, Reader, Start
from forecaster.paths.memory import PathMemory
from forecaster.paths.randomness import GAP, ROW, WITHIN
from forecaster.paths.remembered import walkable
from forecaster.paths.shapes import Bootstrap, Drawn, Shape
from forecaster.paths.within import DRAWN, WithinBins


def require_paths(fitted: FittedLearner) -> None:
    """Raises UsageError, with the reason, for a learner that cannot draw whole bars."""
    walkable(fitted.tokenizer)
    network = fitted.networks[0]
    if not isinstance(network.head, BinHead):
        raise UsageError(f"head={fitted.config.head} has no bins: paths need a head that has")
    if fitted.config.panel is not None:
        raise UsageError(
            f"panel={fitted.config.panel}: symbols that are read together would have to be drawn"
            " together; paths need a learner without panel"
        )
    if fitted.shuffle or not isinstance(network.backbone, Backbone):
        raise UsageError("a control without memory of order draws no paths: train a preset")


@dataclass(frozen=True, eq=False)
class Sampler:
    """What all paths of a learner share."""

    fitted: FittedLearner
    heads: tuple[FieldHeads, ...]  # one a network
    within: WithinBins
    bootstrap: Bootstrap  # for bars whose open is none
    ahead: tuple[LocationScale, Floats]  # of one bar: the prior's shape [1, 1], edges [1, K-1]


class NetworkLaw:
    """A BarLaw; made for one walk of paths that may follow different networks."""

    @torch.no_grad()
    def __init__(self, sampler: Sampler, start: Start) -> None:
        self.sampler, self.p = sampler, start.first.copy()
        self.readers = [
            Reader(sampler.fitted, sampler.heads[number], start, mine[at : at + ROWS])
            for number in np.unique(start.number)
            for mine in [np.flatnonzero(start.number == number)]
            for at in range(0, len(mine), ROWS)
        ]

    def log_return(self, memory: PathMemory, level: Floats) -> Floats:
        """By inversion of the learner's density: inside a bin, uniform under the prior."""
        base, edges = self.sampler.ahead
        density = Binned(base, edges, self.p[:, None], memory.next_scale[:, None])
        return density.ppf(np.maximum(level, SMALLEST_LEVEL)[:, None])[:, 0]

    def shape(
        self, memory: PathMemory, log_return: Floats, level: Floats, filled: NDArray[np.bool_]
    ) -> Shape:
        """Field by field from the heads; where the open is none, a bar of the past."""
        tokenizer, scale = self.sampler.fitted.tokenizer, memory.scale
        tokens = np.full((len(level), 1 + len(DRAWN)), tokenizer.missing)
        tokens[:, 0] = np.searchsorted(tokenizer.field_edges[0], log_return / scale, side="right")
        values = np.empty((len(DRAWN), len(level)))
        for i, name in enumerate(DRAWN):
            bins = inverted(self._field(i, tokens[:, : i + 1]), level[:, GAP + i])
            values[i] = self.sampler.within.value(i, bins, level[:, WITHIN + i])
            unknown = ~memory.has_volume if name == "activity" else filled | ~memory.has_range
            tokens[:, i + 1] = np.where(unknown, tokenizer.missing, bins)
        how = Drawn(level[:, ROW], filled)
        past = self.sampler.bootstrap.draw(log_return, memory.next_scale, memory.activity, how)
        gap, upper, lower = values[:3] * scale
        return Shape(
            gap=np.where(filled, past.gap, gap),
            upper=np.where(filled, past.upper, upper),
            lower=np.where(filled, past.lower, lower),
            activity=values[3],
        )

    @torch.no_grad()
    def _field(self, field: int, tokens: NDArray[np.int64]) -> Floats:
        """Tokens so far [N, field + 1] -> probabilities [N, K]."""
        found = np.empty((len(tokens), self.sampler.fitted.tokenizer.field_bins))
        for reader in self.readers:
            found[reader.rows] = reader.field(field, tokens[reader.rows])
        return found

    @torch.no_grad()
    def heard(self, memory: PathMemory, known: Features) -> None:
        """Read the new bar, and what the networks say after it."""
        fitted = self.sampler.fitted
        token = fitted.tokenizer.encode(known)
        value = fitted.tokenizer.inputs_at(known, memory.scales)
        j = fitted.tokenizer.horizons.index(1)
        for reader in self.readers:
            weights = reader.heard(token[reader.rows], value[reader.rows])
            self.p[reader.rows] = fitted.normalised(weights)[:, j]


def inverted(p: Floats, level: Floats) -> NDArray[np.int64]:
    """Probabilities [N, K] and levels [N] in [0, 1) -> the bin that holds each level."""
    total = np.cumsum(p, axis=1)
    below = (total[:, :-1] <= level[:, None] * total[:, -1:]).sum(axis=1)
    return below.astype(np.int64)
