"""Windows of tokenised bars: what a network is trained on and asked about.

B windows, T bars a window, F token fields, I continuous inputs, H horizons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecaster.bars import Floats, Panel
from forecaster.errors import DataError
from forecaster.features import WARM_UP, features
from forecaster.protocol import Origins
from forecaster.tokens import BarTokenizer


@dataclass(frozen=True, eq=False)
class TokenisedBars:
    """All bars of one symbol as arrays."""

    tokens: NDArray[np.int64]  # [T, F]
    inputs: NDArray[np.float32]  # [T, I]
    targets: NDArray[np.int64]  # [T, H]; -1 where unknown
    scales: Floats  # [T, H] the prior's scale of each horizon's log return


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows as tensors; every position's targets."""

    tokens: Tensor  # [B, T, F] int64
    inputs: Tensor  # [B, T, I] float32
    targets: Tensor  # [B, T, H] int64; -1 where there is none


def tokenise(panel: Panel, tokenizer: BarTokenizer) -> list[TokenisedBars]:
    """Every member's bars, targets included where they have ended inside the panel."""
    out = []
    for bars in panel:
        known = features(bars)
        targets = tokenizer.encode_returns(bars, known)
        inputs, scales = tokenizer.inputs(bars, known), tokenizer.scales(bars, known)
        out.append(TokenisedBars(tokenizer.encode(known), inputs, targets, scales))
    return out


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """Batch k is a pure function of (seed, k): a resumed run draws what the first would."""

    members: list[TokenisedBars]
    context: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a history in which no symbol fills a window."""
        longest = max(len(m.scales) for m in self.members)
        if longest < WARM_UP + self.context:
            raise DataError(
                f"the longest history has {longest} bars, a window needs {WARM_UP + self.context}"
                f" ({WARM_UP} of warm-up and a context of {self.context}); fetch more history"
            )

    def draw(self, k: int) -> Batch:
        """Windows of symbols in proportion to their length, starts uniform after the warm-up."""
        rng = np.random.default_rng((self.seed, k))
        spans = np.array([max(len(m.scales) - WARM_UP - self.context + 1, 0) for m in self.members])
        flat = rng.integers(spans.sum(), size=self.batch)
        ends = spans.cumsum()
        which = np.searchsorted(ends, flat, side="right")
        starts = flat - (ends - spans)[which] + WARM_UP
        windows = [(self.members[i], s) for i, s in zip(which, starts, strict=True)]
        return Batch(
            tokens=_stack([m.tokens[s : s + self.context] for m, s in windows]),
            inputs=_stack([m.inputs[s : s + self.context] for m, s in windows]),
            targets=_stack([m.targets[s : s + self.context] for m, s in windows]),
        )


def origin_windows(
    members: list[TokenisedBars], origins: Origins, context: int, batch: int
) -> Iterator[tuple[slice, Batch]]:
    """(rows, windows ending at those origins), every batch of one shape: bits depend on shapes.

    Raises DataError for an origin with less than a context of bars behind it.
    """
    short = origins.bar < context - 1
    if short.any():
        i = int(np.flatnonzero(short)[0])
        raise DataError(
            f"origin at bar {origins.bar[i]} of member {origins.member[i]}: {origins.bar[i] + 1}"
            f" bars, the context is {context}; shorten the context or ask later"
        )
    for first in range(0, len(origins), batch):
        rows = slice(first, min(first + batch, len(origins)))
        index = np.resize(np.arange(rows.start, rows.stop), batch)  # a short last batch is refilled
        windows = [(members[origins.member[i]], origins.bar[i] + 1) for i in index]
        yield (
            rows,
            Batch(
                tokens=_stack([m.tokens[e - context : e] for m, e in windows]),
                inputs=_stack([m.inputs[e - context : e] for m, e in windows]),
                targets=torch.empty(0, dtype=torch.int64),
            ),
        )


def _stack(arrays: list[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
