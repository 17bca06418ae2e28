"""A learner as the law of the next bar: its density of the return, then its heads for the rest.

Each path follows one network from its second bar on, so that the paths of all networks together are
their average at every horizon, as forecasts are. The first bar is drawn from the forecast itself.
The past of each path is cached; where the context is full its later half is read anew.
N paths, T bars, F fields, I inputs, K bins, H horizons.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.attention import LayerCache
from backbones.model import Backbone
from backbones.past import Tail
from forecaster.bars import Floats
from forecaster.distributions import Binned, LocationScale
from forecaster.distributions.distribution import SMALLEST_LEVEL
from forecaster.errors import UsageError
from forecaster.features import Features
from forecaster.learner.fields import FieldHeads
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.heads import BinHead
from forecaster.learner.windows import Member
from forecaster.paths.memory import PathMemory
from forecaster.paths.randomness import GAP, ROW, WITHIN
from forecaster.paths.remembered import walkable
from forecaster.paths.shapes import Bootstrap, Drawn, Shape
from forecaster.paths.within import DRAWN, WithinBins

ROWS = 256  # paths a forward pass, and
PROMPTS = 16  # origins a reading of the past: always, for bits depend on shapes


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


@dataclass(frozen=True, eq=False)
class Start:
    """Where N <= ROWS paths begin: all of them follow one network."""

    number: int  # of the network
    members: list[Member]
    member: NDArray[np.int64]  # [N]
    bar: NDArray[np.int64]  # [N]
    first: Floats  # [N, K] the learner's own forecast of the first bar


class NetworkLaw:
    """A BarLaw; made for one walk, which begins with half a context of bars before it."""

    def __init__(self, sampler: Sampler, start: Start) -> None:
        self.sampler, self.n, self.p = sampler, len(start.bar), start.first
        self.network = sampler.fitted.networks[start.number]
        self.heads = sampler.heads[start.number]
        self.context = sampler.fitted.config.context
        length = self.context // 2
        origins, which = np.unique(np.stack((start.member, start.bar)), axis=1, return_inverse=True)
        past = [_past(start.members[m], int(t), length) for m, t in origins.T]
        rows = torch.from_numpy(np.resize(which.ravel(), ROWS))
        parts = [self._read(past[i : i + PROMPTS]) for i in range(0, len(past), PROMPTS)]
        self.hidden = torch.cat([hidden for hidden, _ in parts])[rows]  # [ROWS, C]
        self.caches = gathered([caches for _, caches in parts], rows)
        tokens, inputs = (torch.stack(each) for each in zip(*past, strict=True))
        self.tokens, self.inputs = tokens[rows], inputs[rows]  # [ROWS, T, F], [ROWS, T, I]

    @torch.no_grad()
    def _read(self, past: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[LayerCache]]:
        """The pasts of PROMPTS origins or fewer: what the network makes of each, and remembers."""
        index = np.resize(np.arange(len(past)), PROMPTS)
        caches = self.network.new_caches()
        tokens, inputs = (torch.stack([past[i][j] for i in index]) for j in range(2))
        return self.network.hidden(tokens, inputs, caches)[:, -1], caches

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
        tokens = np.full((self.n, 1 + len(DRAWN)), tokenizer.missing)
        tokens[:, 0] = np.searchsorted(tokenizer.field_edges[0], log_return / scale, side="right")
        values = np.empty((len(DRAWN), self.n))
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
        padded = torch.from_numpy(np.resize(tokens, (ROWS, field + 1)))
        logits = self.heads.logits(field, self.hidden, padded)
        return logits.double().softmax(dim=-1).numpy()[: self.n]

    @torch.no_grad()
    def heard(self, memory: PathMemory, known: Features) -> None:
        """Read the new bar, and what the network says after it."""
        tokenizer = self.sampler.fitted.tokenizer
        token = _padded(tokenizer.encode(known))
        value = _padded(tokenizer.inputs_at(known, memory.scales))
        self.tokens = torch.cat((self.tokens, token[:, None]), dim=1)
        self.inputs = torch.cat((self.inputs, value[:, None]), dim=1)
        new = slice(-1, None)
        if self.caches[0].length == self.context:
            self.caches, new = self.network.new_caches(), slice(-(self.context // 2), None)
        hidden = self.network.hidden(self.tokens[:, new], self.inputs[:, new], self.caches)[:, -1:]
        self.hidden = hidden[:, 0]
        said, fitted = self.network.head(self.hidden), self.sampler.fitted
        weights = self.network.head.pooled(said[None], fitted.config)[: self.n]
        self.p = fitted.normalised(weights)[:, tokenizer.horizons.index(1)]


def _past(member: Member, bar: int, length: int) -> tuple[Tensor, Tensor]:
    """The last `length` bars up to `bar`: [T, F], [T, I]."""
    window = member.window(bar + 1 - length, bar + 1)
    return torch.from_numpy(window.tokens), torch.from_numpy(window.inputs)


def _padded(x: NDArray[Any]) -> Tensor:
    """[N, ...] -> [ROWS, ...], the first rows again where there are fewer."""
    return torch.from_numpy(x[np.resize(np.arange(len(x)), ROWS)])


def gathered(parts: list[list[LayerCache]], rows: Tensor) -> list[LayerCache]:
    """Caches of some batches one after another, as one batch of their rows [ROWS]."""
    out = []
    for layer in zip(*parts, strict=True):
        kept = zip(*(cache.memory or () for cache in layer), strict=True)
        memory = tuple(torch.cat(each)[rows] for each in kept)
        running = [cache.running for cache in layer if cache.running is not None]
        tails = {
            name: Tail(torch.cat([cache.tails[name].inputs for cache in layer])[rows], tail.length)
            for name, tail in layer[0].tails.items()
        }
        whole = torch.cat(running)[rows] if running else None
        out.append(LayerCache(memory=memory, running=whole, tails=tails))
    return out


def inverted(p: Floats, level: Floats) -> NDArray[np.int64]:
    """Probabilities [N, K] and levels [N] in [0, 1) -> the bin that holds each level."""
    total = np.cumsum(p, axis=1)
    below = (total[:, :-1] <= level[:, None] * total[:, -1:]).sum(axis=1)
    return below.astype(np.int64)
