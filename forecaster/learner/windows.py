"""Windows of tokenised bars: what a network is trained on and asked about.

B windows, T bars, F token fields, I continuous inputs, H horizons, J targets: the tokens of each
horizon's return, then of its variance where that is taught.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forecaster.bars import Bars, Floats, Panel
from forecaster.config import LearnerConfig
from forecaster.errors import DataError
from forecaster.features import WARM_UP, features
from forecaster.learner.levels import LevelBars
from forecaster.learner.window import Window
from forecaster.protocol import Origins
from forecaster.stages import stage
from forecaster.tokens import BarTokenizer

# Windows a step where only the last bar of each is scored, times those where nearly all are.
LAST_ONLY = 4
NOTHING = torch.empty(0)
UNSCORED = -1  # token of a target that there is not


class Member(Protocol):
    """One symbol's bars, ready to be cut into windows."""

    @property
    def locs(self) -> Floats:
        """[T, H] where the prior's shape is centred, log return."""
        ...

    @property
    def scales(self) -> Floats:
        """[T, H] the prior's scale of each horizon's log return."""
        ...

    def window(self, start: int, stop: int) -> Window:
        """Bars start .. stop-1."""
        ...


@dataclass(frozen=True, eq=False)
class TokenisedBars(Window):
    """All bars of one symbol as one window: a bar's tokens are the same wherever it stands."""

    locs: Floats
    scales: Floats

    def window(self, start: int, stop: int) -> Window:
        """Bars start .. stop-1."""
        return Window(*(getattr(self, f.name)[start:stop] for f in fields(Window)))


@dataclass(frozen=True, eq=False)
class Company:
    """What is said beside the bars of sequences of L positions that hold K symbols each."""

    moments: Tensor  # [B, L] ranks of their closes in the context; -1 where there is no bar
    symbols: Tensor  # [B, L] rows of embeddings
    last: Tensor  # [B, K] positions of each symbol's last bar


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows as tensors."""

    tokens: Tensor  # [B, T, F] int64
    inputs: Tensor  # [B, T, I] float32
    targets: Tensor  # [B, T, J] int64; -1 where there is none
    returns: Tensor  # [B, T, H] float32, in units of the prior's scale; NaN where there is none
    company: Company | None = None  # none where each window is of one symbol


def tokenise(panel: Panel, tokenizer: BarTokenizer) -> list[Member]:
    """Every member's bars, targets included where they have ended inside the panel."""
    return [tokenised(bars, tokenizer, taught=True) for bars in panel]


def tokenised(bars: Bars, tokenizer: BarTokenizer, *, taught: bool) -> Member:
    """One member; without targets where it is not to be taught."""
    with stage("features and tokens"):
        if tokenizer.kind == "levels":
            return LevelBars(bars, tokenizer)
        known, nothing = features(bars), np.empty((len(bars), 0))
        returns = tokenizer.standardised_returns(bars, known) if taught else nothing
        return TokenisedBars(
            tokens=tokenizer.encode(known),
            inputs=tokenizer.inputs(bars, known),
            targets=tokenizer.targets(bars, known) if taught else nothing.astype(np.int64),
            returns=returns.astype(np.float32),
            locs=tokenizer.locs(bars, known),
            scales=tokenizer.scales(bars, known),
        )


def skipped(batch: Batch, learner: LearnerConfig) -> int:
    """First positions of each window that are not scored; a company's have no targets there."""
    return learner.skip if batch.company is None else 0


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """Batch k is a pure function of (seed, k): a resumed run draws what the first would."""

    members: Sequence[Member]
    context: int
    batch: int
    seed: int
    shuffle: bool = False

    def __post_init__(self) -> None:
        """Refuse a history in which no symbol fills a window."""
        require_a_window(self.members, self.context)

    def draw(self, k: int) -> Batch:
        """Windows of symbols in proportion to their length, starts uniform after the warm-up."""
        rng = np.random.default_rng((self.seed, k))
        spans = np.array([max(len(m.scales) - WARM_UP - self.context + 1, 0) for m in self.members])
        count = self.batch * (LAST_ONLY if self.shuffle else 1)
        flat = rng.integers(spans.sum(), size=count)
        ends = spans.cumsum()
        which = np.searchsorted(ends, flat, side="right")
        starts = flat - (ends - spans)[which] + WARM_UP
        windows = [
            self.members[i].window(s, s + self.context) for i, s in zip(which, starts, strict=True)
        ]
        if self.shuffle:
            windows = [shuffled(window, rng) for window in windows]
        return _batch(windows)


def require_a_window(members: Sequence[Member], context: int) -> None:
    """Raises DataError for a history in which no symbol fills a window."""
    longest = max(len(m.scales) for m in members)
    if longest < WARM_UP + context:
        raise DataError(
            f"the longest history has {longest} bars, a window needs {WARM_UP + context}"
            f" ({WARM_UP} of warm-up and a context of {context}); fetch more history"
        )


def shuffled(window: Window, rng: np.random.Generator) -> Window:
    """The bars before the last in a random order; only the last one's targets are left.

    A bar that moved forward would see its own future in what stands before it.
    """
    count = len(window.tokens)
    order = np.append(rng.permutation(count - 1), count - 1)
    targets, returns = np.full_like(window.targets, -1), np.full_like(window.returns, np.nan)
    targets[-1], returns[-1] = window.targets[-1], window.returns[-1]
    return Window(window.tokens[order], window.inputs[order], targets, returns)


def origin_windows(
    members: Sequence[Member], origins: Origins, context: int, batch: int, *, shuffle: bool = False
) -> Iterator[tuple[slice, Batch]]:
    """(rows, windows ending at those origins), every batch of one shape: bits depend on shapes.

    Without targets. Raises DataError for an origin with less than a context of bars behind it.
    """
    require_past(origins, context - 1, f"the context is {context}")
    for first in range(0, len(origins), batch):
        rows = slice(first, min(first + batch, len(origins)))
        windows = []
        for i in np.resize(np.arange(rows.start, rows.stop), batch):  # a short last one is refilled
            bar = origins.bar[i]
            window = members[origins.member[i]].window(bar + 1 - context, bar + 1)
            windows.append(shuffled(window, np.random.default_rng(bar)) if shuffle else window)
        stacked = _batch(windows)
        yield rows, replace(stacked, targets=NOTHING, returns=NOTHING)


def require_past(origins: Origins, fewest: int, why: str) -> None:
    """Raises DataError for an origin with fewer bars before it."""
    short = origins.bar < fewest
    if short.any():
        i = int(np.flatnonzero(short)[0])
        raise DataError(
            f"origin at bar {origins.bar[i]} of member {origins.member[i]}: {origins.bar[i] + 1}"
            f" bars, {why}; shorten the context or ask later"
        )


def _batch(windows: Sequence[Window]) -> Batch:
    tokens, inputs, targets, returns = (
        torch.from_numpy(np.stack([getattr(w, f.name) for w in windows])) for f in fields(Window)
    )
    return Batch(tokens, inputs, targets, returns)
