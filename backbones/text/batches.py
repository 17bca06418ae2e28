"""Windows of a text: which of them make batch k, and which are scored.

B batch   T context
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import CorpusError


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """Batch k is a pure function of (seed, k): an epoch deals each window once, from an offset."""

    ids: Tensor  # [N]
    context: int
    batch: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch; CorpusError where the text does not fill one."""
        windows = (len(self.ids) - self.context) // self.context
        if windows < self.batch:
            raise CorpusError(
                f"the text has {len(self.ids)} tokens, {max(windows, 0)} windows of "
                f"{self.context}: a batch of {self.batch} is wanted"
            )
        return windows // self.batch

    def __call__(self, k: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of batch k, each [B, T]."""
        epoch, place = divmod(k, self.per_epoch)
        random = np.random.default_rng([self.seed, epoch])
        offset = random.integers(self.context)
        order = random.permutation((len(self.ids) - self.context) // self.context)
        mine = order[place * self.batch : (place + 1) * self.batch]
        return cut(self.ids, (offset + mine * self.context).tolist(), self.context)


def every_window(ids: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """All windows that do not overlap, from the start: inputs and targets, each [windows, T].

    CorpusError where there is none.
    """
    count = (len(ids) - 1) // context
    if count < 1:
        raise CorpusError(f"the text has {len(ids)} tokens: {context + 1} are wanted for a window")
    return cut(ids, [i * context for i in range(count)], context)


def cut(ids: Tensor, starts: list[int], context: int) -> tuple[Tensor, Tensor]:
    """Inputs and, one place later, targets of the windows that start there."""
    windows = torch.stack([ids[start : start + context + 1] for start in starts])
    return windows[:, :-1], windows[:, 1:]
