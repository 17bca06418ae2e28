"""What a learner is after its fit: a frozen tokeniser and networks that answer.

N origins, H horizons, K return bins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecaster.bars import Floats, Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import Binned, Distribution, OwnSkewT, SkewT, moved
from forecaster.errors import UsageError
from forecaster.learner.asked import Asked
from forecaster.learner.company import questions, sequences_a_pass, training_windows
from forecaster.learner.heads import build_head
from forecaster.learner.market import Indices, Market
from forecaster.learner.network import BarNetwork
from forecaster.learner.windows import Batch, Member, origin_windows, skipped, tokenise
from forecaster.protocol import PRIOR, TOGETHER, Apart, Origins, TrainingCurves
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
    curves: TrainingCurves | None = None

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Binned | SkewT:
        """Distributions [N, H]. Raises UsageError for horizons other than those learnt."""
        return self._densities(past, origins, horizons, alone=False).of(0)

    def apart(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Apart:
        """`forecast`, and what it is made of. Its networks are asked once."""
        found = self._densities(past, origins, horizons, alone=True)
        return Apart(found.of(0), found)

    def _densities(
        self, past: Panel, origins: Origins, horizons: Sequence[int], *, alone: bool
    ) -> "Densities":
        if tuple(horizons) != self.tokenizer.horizons:
            raise UsageError(
                f"horizons {tuple(horizons)} asked, {self.tokenizer.horizons} learnt: ask for those"
            )
        # Who is not asked is not tokenised, unless all symbols are read together.
        together = self.config.panel is not None
        members = (tokenise if together else Asked)(past, self.tokenizer)
        said = self._answers(past, members, origins, alone=alone)
        where = list(zip(origins.member.tolist(), origins.bar.tolist(), strict=True))
        locs = np.array([members[i].locs[t] for i, t in where])
        scales = np.array([members[i].scales[t] for i, t in where])
        return Densities(self, locs, scales, said)

    def normalised(self, weights: Floats) -> Floats:
        """[B, H, K] of the return bins -> probabilities."""
        # A bin that the prior gives nothing keeps nothing.
        weights = weights * (self.tokenizer.bin_masses() > 0)
        return weights / weights.sum(axis=-1, keepdims=True)

    def _answers(
        self, past: Panel, members: Sequence[Member], origins: Origins, *, alone: bool
    ) -> list[NDArray[np.floating]]:
        """[N, H, ...] what all networks together say at each origin, then, `alone`, each of them.

        The latter in single precision: there are many, and no forecast is made of them.
        """
        out: list[NDArray[np.floating]] = []
        head, c = self.networks[0].head, self.config
        for rows, where, said in self._heard(past, members, origins):
            parts = [said, *(one.unsqueeze(0) for one in said)] if alone else [said]
            found = [head.pooled(part, c)[where] for part in parts]
            out = out or [
                np.empty((len(origins), *each.shape[1:]), dtype=np.float32 if i else np.float64)
                for i, each in enumerate(found)
            ]
            for whole, each in zip(out, found, strict=True):
                whole[rows] = each
        return out

    def _heard(
        self, past: Panel, members: Sequence[Member], origins: Origins
    ) -> Iterator[tuple[slice | Indices, slice | Indices, Tensor]]:
        """(rows of origins, where a batch has each, what each network says of it [S, B, ...])."""
        c = self.config
        if c.panel is None:
            asked = origin_windows(members, origins, c.context, QUESTIONS, shuffle=self.shuffle)
            for rows, batch in asked:
                yield rows, slice(rows.stop - rows.start), self._said(batch)
            return
        market = Market(past, members, c, self.symbols)
        for rows, where, batch in questions(market, origins, sequences_a_pass(market, QUESTIONS)):
            yield rows, where, self._said(batch)

    @torch.no_grad()
    def _said(self, batch: Batch) -> Tensor:
        """What each network says after each window, [S, B, J, ...].

        Of companies, after the last bar of each of K symbols, [S, B * K, J, ...].
        """
        said = []
        for network in self.networks:
            each = network(batch.tokens, batch.inputs, batch.company)
            if batch.company is None:
                said.append(each[:, -1])
            else:
                rows = torch.arange(len(each)).unsqueeze(-1)
                said.append(each[rows, batch.company.last].flatten(0, 1))
        return torch.stack(said)

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


@dataclass(frozen=True, eq=False)
class Densities:
    """What a learner says at N origins as densities: all of it, and part by part as it is asked."""

    learner: FittedLearner
    locs: Floats  # [N, H] of the prior
    scales: Floats  # [N, H]
    said: Sequence[NDArray[np.floating]]  # as `_answers` gives it

    def of(self, i: int) -> Binned | SkewT:
        """Of all networks together, 0, or of the one before i."""
        said = self.said[i].astype(np.float64, copy=False)
        if self.learner.config.head == "student_t":
            loc, scale, skew, df = np.moveaxis(said, -1, 0)
            return OwnSkewT(self.locs + self.scales * loc, self.scales * scale, skew, df)
        p = self.learner.normalised(said)
        return self.learner.tokenizer.density(self.scales, p, self.locs)

    def __iter__(self) -> Iterator[tuple[str, Distribution]]:
        """PRIOR, TOGETHER, then each network by its number."""
        yield PRIOR, moved(self.learner.tokenizer.prior.base(), self.locs, self.scales)
        yield TOGETHER, self.of(0)
        for i in range(1, len(self.said)):
            yield str(i - 1), self.of(i)
