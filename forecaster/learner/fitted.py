"""What a learner is after its fit: a frozen tokeniser and networks that answer.

N origins, H horizons, K return bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from forecaster.bars import Floats, Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import Binned, SkewT
from forecaster.errors import UsageError
from forecaster.learner.heads import build_head
from forecaster.learner.network import BarNetwork
from forecaster.learner.windows import Batch, TrainingWindows, origin_windows, tokenise
from forecaster.protocol import Origins
from forecaster.tokens import BarTokenizer

REFERENCE = 50  # batches whose loss without a network is averaged
QUESTIONS = 128  # origins a forward pass; one shape always, for bits depend on shapes


@dataclass(frozen=True, eq=False)
class FittedLearner:
    """A frozen tokeniser and the networks of several seeds, whose probabilities are averaged."""

    config: LearnerConfig
    tokenizer: BarTokenizer
    networks: tuple[BarNetwork, ...]
    shuffle: bool = False  # the order of a window's past is hidden
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Binned | SkewT:
        """Distributions [N, H]. Raises UsageError for horizons other than those learnt."""
        if tuple(horizons) != self.tokenizer.horizons:
            raise UsageError(
                f"horizons {tuple(horizons)} asked, {self.tokenizer.horizons} learnt: ask for those"
            )
        members = tokenise(past, self.tokenizer)
        said = np.concatenate(
            [
                self._said(batch)[: rows.stop - rows.start]
                for rows, batch in origin_windows(
                    members, origins, self.config.context, QUESTIONS, shuffle=self.shuffle
                )
            ]
        )
        where = list(zip(origins.member, origins.bar, strict=True))
        locs = np.array([members[i].locs[t] for i, t in where])
        scales = np.array([members[i].scales[t] for i, t in where])
        if self.config.head == "student_t":
            loc, scale, skew, df = np.moveaxis(said, -1, 0)
            return SkewT(locs + scales * loc, scales * scale, skew, df)
        said *= self.tokenizer.bin_masses() > 0  # a bin that the prior gives nothing keeps nothing
        return self.tokenizer.density(scales, said / said.sum(axis=-1, keepdims=True), locs)

    @torch.no_grad()
    def _said(self, batch: Batch) -> Floats:
        """[B, H, ...] what all networks together say after each window."""
        said = [network(batch.tokens, batch.inputs)[:, -1] for network in self.networks]
        return self.networks[0].head.pooled(torch.stack(said), self.config)

    @property
    def parameters(self) -> int:
        """Trainable numbers of one network."""
        return sum(p.numel() for p in self.networks[0].parameters())

    @torch.no_grad()
    def untaught_loss(self, history: Panel) -> float:
        """Mean loss [nats] of an untaught network on some training windows of the history.

        The reference line of a training: a loss above it has learnt nothing.
        """
        c, members = self.config, tokenise(history, self.tokenizer)
        windows = TrainingWindows(members, c.context, c.batch, seed=0, shuffle=self.shuffle)
        head = build_head(1, self.tokenizer, c)
        hidden = torch.zeros(1, c.context, 1)
        losses = []
        for k in range(REFERENCE):
            batch = windows.draw(k)
            said = head(hidden.expand(len(batch.tokens), -1, -1))
            losses.append(float(head.loss(said, batch, c.skip)))
        return float(np.mean(losses))
