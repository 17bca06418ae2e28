"""Members of whom only some are asked: a portion of the origins is of a few symbols."""

from collections.abc import Sequence
from typing import overload

from forecaster.bars import Panel
from forecaster.learner.windows import Member, tokenised
from forecaster.tokens import BarTokenizer


class Asked(Sequence[Member]):
    """Members whose bars are tokenised when they are asked for first, without targets."""

    def __init__(self, panel: Panel, tokenizer: BarTokenizer) -> None:
        self._panel, self._tokenizer = panel, tokenizer
        self._known: dict[int, Member] = {}

    def __len__(self) -> int:
        return len(self._panel)

    @overload
    def __getitem__(self, at: int) -> Member: ...
    @overload
    def __getitem__(self, at: slice) -> list[Member]: ...
    def __getitem__(self, at: int | slice) -> Member | list[Member]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if at not in self._known:
            bars = self._panel.members[at]
            self._known[at] = tokenised(bars, self._tokenizer, taught=False)
        return self._known[at]
