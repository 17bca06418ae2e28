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
from forecaster.learner.asked import Asked
from forecaster.learner.company import questions, sequences_a_pass, training_windows
from forecaster.learner.heads import build_head
from forecaster.learner.market import Market
from forecaster.learner.network import BarNetwork
from forecaster.learner.windows import Batch, Member, origin_windows, skipped, tokenise
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
    symbols: tuple[str, ...] = ()  # of embeddings 1, 2, ... where several are read together

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Binned | SkewT:
        """Distributions [N, H]. Raises UsageError for horizons other than those learnt."""
        if tuple(horizons) != self.tokenizer.horizons:
            raise UsageError(
                f"horizons {tuple(horizons)} asked, {self.tokenizer.horizons} learnt: ask for those"
            )
        # Who is not asked is not tokenised, unless all symbols are read together.
        together = self.config.panel is not None
        members = (tokenise if together else Asked)(past, self.tokenizer)
        said = self._answers(past, members, origins)
        where = list(zip(origins.member.tolist(), origins.bar.tolist(), strict=True))
        locs = np.array([members[i].locs[t] for i, t in where])
        scales = np.array([members[i].scales[t] for i, t in where])
        if self.config.head == "student_t":
            loc, scale, skew, df = np.moveaxis(said, -1, 0)
            return SkewT(locs + scales * loc, scales * scale, skew, df)
        return self.tokenizer.density(scales, self.normalised(said), locs)

    def normalised(self, weights: Floats) -> Floats:
        """[B, H, K] of the return bins -> probabilities."""
        # A bin that the prior gives nothing keeps nothing.
        weights = weights * (self.tokenizer.bin_masses() > 0)
        return weights / weights.sum(axis=-1, keepdims=True)

    def _answers(self, past: Panel, members: Sequence[Member], origins: Origins) -> Floats:
        """[N, H, ...] what all networks together say at each origin."""
        c = self.config
        if c.panel is None:
            asked = origin_windows(members, origins, c.context, QUESTIONS, shuffle=self.shuffle)
            said = [self._said(batch)[: rows.stop - rows.start] for rows, batch in asked]
            return np.concatenate(said)
        market, out = Market(past, members, c, self.symbols), np.empty(0)
        for rows, where, batch in questions(market, origins, sequences_a_pass(market, QUESTIONS)):
            said = self._said(batch)[where]
            out = out if len(out) else np.empty((len(origins), *said.shape[1:]))
            out[rows] = said
        return out

    @torch.no_grad()
    def _said(self, batch: Batch) -> Floats:
        """What all networks together say after each window, [B, H, ...].

        Of companies, after the last bar of each of K symbols, [B * K, H, ...].
        """
        said = []
        for network in self.networks:
            each = network(batch.tokens, batch.inputs, batch.company)
            if batch.company is None:
                said.append(each[:, -1])
            else:
                rows = torch.arange(len(each)).unsqueeze(-1)
                said.append(each[rows, batch.company.last].flatten(0, 1))
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
        windows = training_windows(history, members, c, seed=0, shuffle=self.shuffle)
        head = build_head(1, self.tokenizer, c)
        losses = []
        for k in range(REFERENCE):
            batch = windows.draw(k)
            said = head(torch.zeros(*batch.tokens.shape[:2], 1))
            losses.append(float(head.loss(said, batch, skipped(batch, c))))
        return float(np.mean(losses))
