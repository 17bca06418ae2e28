"""Several symbols' bars as one sequence, for networks that read them together.

A bar stands at the moment of its close: the rank of that time among all closes of the panel. So a
network sees of every symbol what has closed by then, and symbols may start, end and miss days.
Where a sequence is not full it is padded on the left.
B sequences, L positions, K symbols a sequence.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.features import WARM_UP
from forecaster.learner.window import Window
from forecaster.learner.windows import UNSCORED, Batch, Company, Member

Indices = NDArray[np.int64]

UNKNOWN = 0  # embedding of a symbol that was not taught


class Market:
    """All members of a panel on one clock, ready to be cut into sequences."""

    def __init__(
        self,
        panel: Panel,
        members: Sequence[Member],
        learner: LearnerConfig,
        symbols: Sequence[str],
    ) -> None:
        self.context, self.slots = learner.context, cast(int, learner.panel)
        clock, sizes = panel.clock, [len(bars) for bars in panel]
        self.ticks = [np.searchsorted(clock, bars.closed_at) for bars in panel]
        self.first_row = np.concatenate(([0], np.cumsum(sizes)))
        self.padding = int(self.first_row[-1])  # the row of no bar, the last one
        windows = [each.window(0, n) for each, n in zip(members, sizes, strict=True)]
        self.rows = Window(*(_stacked(windows, f.name) for f in fields(Window)))
        self.tick = np.append(np.concatenate(self.ticks), -1)
        known = {name: 1 + i for i, name in enumerate(symbols)}
        names = [known.get(str(symbol), UNKNOWN) for symbol in panel.symbols]
        self.names = np.append(np.repeat(names, sizes), UNKNOWN)

    def span(self, member: int, end: int) -> tuple[int, int]:
        """Bars start .. stop-1 of a member in the context that ends with a moment."""
        ticks = self.ticks[member]
        start, stop = np.searchsorted(ticks, (end - self.context, end), side="right").tolist()
        return max(start, WARM_UP), stop

    def present(self, end: int) -> list[int]:
        """Members with bars in the context that ends with a moment."""
        spans = ((m, self.span(m, end)) for m in range(len(self.ticks)))
        return [m for m, (start, stop) in spans if start < stop]

    def sequence(self, end: int, members: Sequence[int]) -> tuple[Indices, Indices]:
        """Rows [L] of these members' bars by moment, and where the last of each stands [K]."""
        runs = [self.first_row[m] + np.arange(*self.span(m, end)) for m in members]
        joined = np.concatenate(runs)
        index = np.full(self.context * self.slots, self.padding)
        index[-len(joined) :] = joined[np.argsort(self.tick[joined], kind="stable")]
        last = np.full(self.slots, len(index) - 1)
        last[: len(runs)] = [np.flatnonzero(index == run[-1])[0] for run in runs]
        return index, last

    def batch(self, cuts: Sequence[tuple[int, Sequence[int]]]) -> Batch:
        """A sequence for each (last moment, members with bars in the context before it)."""
        cut = [self.sequence(*each) for each in cuts]
        index, last = (np.stack(each) for each in zip(*cut, strict=True))
        begin = np.array([end for end, _ in cuts])[:, None] - self.context + 1
        moments = np.where(index == self.padding, -1, self.tick[index] - begin)
        company = Company(*(torch.from_numpy(x) for x in (moments, self.names[index], last)))
        taken = {f.name: getattr(self.rows, f.name)[index] for f in fields(Window)}
        tensors = {name: torch.from_numpy(values) for name, values in taken.items()}
        return Batch(**tensors, company=company)


def _stacked(windows: Sequence[Window], name: str) -> NDArray[Any]:
    """Rows of all members, then one of no bar."""
    rows = np.concatenate([getattr(each, name) for each in windows])
    nothing = {"targets": UNSCORED, "returns": np.nan}.get(name, 0)
    return np.concatenate((rows, np.full_like(rows, nothing, shape=(1, *rows.shape[1:]))))
