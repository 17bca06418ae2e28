"""A network along paths: it reads bar after bar, and says what the next one may be.

The past of each path is cached; where the context is full its later half is read anew.
N paths, T bars, F fields, I inputs, K bins, H horizons, C width of the network.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.attention import LayerCache
from backbones.past import Tail
from forecaster.bars import Floats
from forecaster.learner.fields import FieldHeads
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.windows import Member

ROWS = 256  # paths a forward pass, and
PROMPTS = 16  # origins a reading of the past: always, for bits depend on shapes


@dataclass(frozen=True, eq=False)
class Start:
    """Where N paths begin, and which network each follows."""

    members: list[Member]
    member: NDArray[np.int64]  # [N]
    bar: NDArray[np.int64]  # [N]
    number: NDArray[np.int64]  # [N] of the network
    first: Floats  # [N, K] the learner's own forecast of the first bar


class Reader:
    """One network along n <= ROWS paths, `rows` of all: reads bar after bar, says what comes next.

    Begins with half a context of bars before the paths.
    """

    def __init__(
        self, fitted: FittedLearner, heads: FieldHeads, start: Start, rows: NDArray[np.int64]
    ) -> None:
        self.rows, self.fitted, self.heads = rows, fitted, heads
        self.network = fitted.networks[start.number[rows[0]]]
        context = fitted.config.context
        self.half, self.context = context // 2, context
        where = np.stack((start.member[rows], start.bar[rows]))
        origins, which = np.unique(where, axis=1, return_inverse=True)
        past = [_past(start.members[m], int(t), self.half) for m, t in origins.T]
        every = torch.from_numpy(np.resize(which.ravel(), ROWS))
        parts = [self._read(past[i : i + PROMPTS]) for i in range(0, len(past), PROMPTS)]
        self.caches = gathered([caches for _, caches in parts], every)
        tokens, inputs = (torch.stack(each)[every] for each in zip(*past, strict=True))
        # What the caches have read, a bar each: ([ROWS, F], [ROWS, I])
        bars = zip(tokens.unbind(dim=1), inputs.unbind(dim=1), strict=True)
        self.recent = deque(bars, maxlen=context)
        self._said(torch.cat([hidden for hidden, _ in parts])[every])

    def _read(self, past: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[LayerCache]]:
        """The pasts of PROMPTS origins or fewer: what the network makes of each, and remembers."""
        index = np.resize(np.arange(len(past)), PROMPTS)
        caches = self.network.new_caches()
        tokens, inputs = (torch.stack([past[i][j] for i in index]) for j in range(2))
        return self.network.hidden(tokens, inputs, caches)[:, -1], caches

    def _said(self, hidden: Tensor) -> None:
        """Keep what the network makes of the last bar [ROWS, C], and its heads of that."""
        self.hidden, self.prepared = hidden, self.heads.prepared(hidden)

    def field(self, field: int, tokens: NDArray[np.int64]) -> Floats:
        """Tokens so far [n, field + 1] -> probabilities [n, K]."""
        logits = self.heads.logits(field, self.prepared, _padded(tokens))
        return logits.double().softmax(dim=-1).numpy()[: len(self.rows)]

    def heard(self, token: NDArray[np.int64], value: NDArray[np.float32]) -> Floats:
        """The new bars [n, F], [n, I] -> weights [n, H, K] of the next one's return."""
        self.recent.append((_padded(token), _padded(value)))
        count = 1
        if self.caches[0].length == self.context:
            self.caches, count = self.network.new_caches(), self.half
        new = list(self.recent)[-count:]
        tokens, inputs = (torch.stack(each, dim=1) for each in zip(*new, strict=True))
        self._said(self.network.hidden(tokens, inputs, self.caches)[:, -1])
        said = self.network.head(self.hidden)[None]
        return self.network.head.pooled(said, self.fitted.config)[: len(self.rows)]


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
