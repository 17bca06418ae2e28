"""What a learner is after its fit: a frozen tokeniser and networks that answer.

N origins, H horizons, K return bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forecaster.bars import Floats, Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import Binned
from forecaster.errors import UsageError
from forecaster.learner.network import BarNetwork
from forecaster.learner.windows import origin_windows, tokenise
from forecaster.protocol import Origins
from forecaster.tokens import BarTokenizer

QUESTIONS = 128  # origins a forward pass; one shape always, for bits depend on shapes


@dataclass(frozen=True, eq=False)
class FittedLearner:
    """A frozen tokeniser and the networks of several seeds, whose probabilities are averaged."""

    config: LearnerConfig
    tokenizer: BarTokenizer
    networks: tuple[BarNetwork, ...]
    notes: tuple[str, ...] = ()

    @torch.no_grad()
    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Binned:
        """Binned [N, H]. Raises UsageError for horizons other than those learnt."""
        if tuple(horizons) != self.tokenizer.horizons:
            raise UsageError(
                f"horizons {tuple(horizons)} asked, {self.tokenizer.horizons} learnt: ask for those"
            )
        members = tokenise(past, self.tokenizer)
        shape = (len(origins), len(horizons), self.tokenizer.return_bins)
        p = np.zeros(shape)
        for rows, batch in origin_windows(members, origins, self.config.context, QUESTIONS):
            tilts = [f(batch.tokens, batch.inputs)[:, -1] for f in self.networks]
            p[rows] = self.probabilities(tilts)[: rows.stop - rows.start]
        scales = np.array(
            [members[i].scales[t] for i, t in zip(origins.member, origins.bar, strict=True)]
        )
        return self.tokenizer.density(scales, p)

    def probabilities(self, tilts: Sequence[Tensor]) -> Floats:
        """[B, H, K] of the return bins, from the tilts [B, H, K] of one network or several."""
        root = torch.tensor(self.tokenizer.horizons, dtype=torch.float64).sqrt()
        shrink = (self.config.shrink / root)[:, None]
        mass = self.networks[0].log_mass
        p = sum((shrink * each.double() + mass).softmax(dim=-1).numpy() for each in tilts)
        p = p * (self.tokenizer.bin_masses() > 0)  # what the prior gives nothing keeps nothing
        return p / p.sum(axis=-1, keepdims=True)

    @property
    def parameters(self) -> int:
        """Trainable numbers of one network."""
        return sum(p.numel() for p in self.networks[0].parameters())

    def untaught_loss(self, history: Panel) -> float:
        """Mean cross-entropy [nats] of the history's return tokens under the bin masses alone.

        The reference line of a training: a loss above it has learnt nothing.
        """
        log_mass = np.log(np.maximum(self.tokenizer.bin_masses(), 1e-12))
        targets = np.concatenate([m.targets for m in tokenise(history, self.tokenizer)])
        known = targets >= 0
        return -float(np.take_along_axis(log_mass.T, np.maximum(targets, 0), axis=0)[known].mean())
