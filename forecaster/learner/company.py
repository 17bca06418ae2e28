"""Which symbols are read together: in training any K of those there, asked K in order of names.

B sequences, L positions, K symbols a sequence, N origins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.errors import DataError
from forecaster.features import WARM_UP
from forecaster.learner.market import UNKNOWN, Indices, Market
from forecaster.learner.windows import (
    NOTHING,
    UNSCORED,
    Batch,
    Company,
    Member,
    TrainingWindows,
    require_a_window,
    require_past,
)
from forecaster.protocol import Origins

MOST_MASKED = 2**22  # pairs of positions, in the masks of one forward pass
HIDDEN = 0.2  # share of symbols whose name is hidden in training: what teaches the unknown one


def taught(history: Panel, learner: LearnerConfig) -> tuple[str, ...]:
    """Symbols with enough bars to have an embedding of their own; none without `panel`."""
    if learner.panel is None:
        return ()
    enough = WARM_UP + learner.context
    return tuple(str(bars.symbol) for bars in history if len(bars) >= enough)


def windows_a_step(learner: LearnerConfig) -> int:
    """With `panel`, as many sequences as hold the bars of `batch` windows of one symbol."""
    return -(-learner.batch // (learner.panel or 1))


def sequences_a_pass(market: Market, origins: int) -> int:
    """As many as hold that many origins, if their masks are not too large together."""
    positions = market.context * market.slots
    return max(min(origins // market.slots, MOST_MASKED // positions**2), 1)


@dataclass(frozen=True, eq=False)
class PanelWindows:
    """Batch k is a pure function of (seed, k): sequences that end anywhere, of any K members.

    Moments with more than K members are drawn in proportion to them, so that no bar is rarer than
    another.
    """

    market: Market
    learner: LearnerConfig
    seed: int

    def draw(self, k: int) -> Batch:
        """Targets of the first `skip` moments are left out, some symbols' names hidden."""
        rng, slots = np.random.default_rng((self.seed, k)), self.market.slots
        weight = np.maximum(self._scored.sum(axis=0) / slots, self._scored.any(axis=0))
        count = windows_a_step(self.learner)
        cuts = []
        for end in rng.choice(len(weight), count, p=weight / weight.sum()).tolist():
            there = np.flatnonzero(self._scored[:, end])
            chosen = rng.choice(there, min(slots, len(there)), replace=False)
            cuts.append((end, np.sort(chosen).tolist()))
        batch, names = self.market.batch(cuts), 1 + int(self.market.names.max())
        return self._lessons(batch, torch.from_numpy(rng.random((count, names)) < HIDDEN))

    def _lessons(self, batch: Batch, hidden: Tensor) -> Batch:
        """`hidden` [B, names]."""
        company = batch.company
        if company is None:
            raise TypeError("a batch of no company")
        symbols = company.symbols.masked_fill(hidden.gather(1, company.symbols), UNKNOWN)
        early = (company.moments < self.learner.skip).unsqueeze(-1)
        return replace(
            batch,
            targets=batch.targets.masked_fill(early, UNSCORED),
            returns=batch.returns.masked_fill(early, torch.nan),
            company=Company(company.moments, symbols, company.last),
        )

    @property
    def has_lessons(self) -> bool:
        """Whether any target can be taught."""
        return bool(self._scored.any())

    @cached_property
    def _scored(self) -> NDArray[np.bool_]:
        """[members, moments] who has a target to be scored in the context that ends there."""
        market, c = self.market, self.learner
        known = (market.rows.targets != UNSCORED).any(axis=1)
        at = np.zeros((len(market.ticks), int(market.tick.max()) + 1), dtype=np.int64)
        for m, ticks in enumerate(market.ticks):
            first, stop = market.first_row[m : m + 2]
            at[m, ticks[WARM_UP:]] = known[first:stop][WARM_UP:]
        total = np.pad(at.cumsum(axis=1), ((0, 0), (1, 0)))
        before = np.maximum(np.arange(1, total.shape[1]) - (c.context - c.skip), 0)
        scored = total[:, 1:] > total[:, before]
        scored[:, : int(np.argmax(at.any(axis=0))) + c.context - 1] = False
        return scored


def training_windows(
    history: Panel, members: Sequence[Member], learner: LearnerConfig, seed: int, *, shuffle: bool
) -> TrainingWindows | PanelWindows:
    """What networks are taught. Raises DataError for a history that fills no window."""
    if learner.panel is None:
        return TrainingWindows(members, learner.context, learner.batch, seed, shuffle=shuffle)
    require_a_window(members, learner.context)
    market = Market(history, members, learner, taught(history, learner))
    windows = PanelWindows(market, learner, seed)
    if not windows.has_lessons:
        raise DataError(
            f"no context of {learner.context} moments has a target after its first {learner.skip}:"
            " fetch more bars, or ask for shorter horizons or a smaller learner.context"
        )
    return windows


def questions(
    market: Market, origins: Origins, windows: int
) -> Iterator[tuple[Indices, Indices, Batch]]:
    """(rows of origins, where each is answered, sequences); every batch of one shape.

    Without targets. Answers are counted over the K `last` bars of each sequence. Where more than K
    symbols have bars they are read in companies of K, in order of names, whoever is asked. Raises
    DataError for an origin with less than a context of bars behind it.
    """
    fewest = max(market.context, WARM_UP + 1)
    require_past(origins, fewest - 1, f"{fewest} are needed to read a symbol among others")
    where, cuts = _companies(market, origins)
    order = np.argsort(where)
    starts = np.arange(0, len(cuts), windows)
    borders = np.searchsorted(where[order], starts[1:] * market.slots)
    for start, rows in zip(starts.tolist(), np.split(order, borders), strict=True):
        some = np.resize(np.arange(start, min(start + windows, len(cuts))), windows)
        batch = replace(market.batch([cuts[i] for i in some]), targets=NOTHING, returns=NOTHING)
        yield rows, where[rows] - start * market.slots, batch


def _companies(market: Market, origins: Origins) -> tuple[Indices, list[tuple[int, list[int]]]]:
    """Where each origin is answered, [N], and the sequences that it takes."""
    ends = np.array([market.ticks[m][t] for m, t in zip(origins.member, origins.bar, strict=True)])
    where, cuts, slots = np.empty(len(origins), dtype=np.int64), [], market.slots
    order = np.argsort(ends, kind="stable")
    moments, first = np.unique(ends[order], return_index=True)
    for end, rows in zip(moments.tolist(), np.split(order, first[1:]), strict=True):
        there = market.present(end)
        company, place = np.divmod(np.searchsorted(there, origins.member[rows]), slots)
        asked, which = np.unique(company, return_inverse=True)
        where[rows] = (len(cuts) + which) * slots + place
        cuts += [(end, there[c * slots : (c + 1) * slots]) for c in asked.tolist()]
    return where, cuts
