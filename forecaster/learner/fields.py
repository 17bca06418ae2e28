"""Heads for the rest of the next bar: gap, wicks, activity, each given the fields before it.

    P(field i = k | h, fields < i) = softmax(ln P0(k | return) + out_i(silu(h_i + sum_j e_ij)))

P0 are frequencies of the training part and out_i starts at zero, so an untaught head says them.
Heads are taught after the network, on what it makes of the bars, and change nothing of it: scored
forecasts are the same bytes with and without them. They are needed to draw bars, for nothing else.
B windows, T bars, F fields, C width of the network, M width of a head, K bins of a field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from backbones.checkpoint import latest, load_weights
from backbones.train import RunFolder, TrainRecipe, fit, started
from forecaster.bars import Panel
from forecaster.features import GEOMETRY, WARM_UP
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.forecaster import Keep
from forecaster.learner.network import BarNetwork
from forecaster.learner.translation import translated
from forecaster.learner.windows import Batch, TrainingWindows, tokenise
from forecaster.tokens import BarTokenizer

DRAWN = len(GEOMETRY) - 1  # fields that are drawn: all but the return
WIDTH = 32  # M
FIELDS = "fields"  # subfolder of a seed's training
STEPS, LR = 100, 3e-3
PSEUDO = 16.0  # counts of a field's overall frequencies beside those of each return


class FieldHeads(nn.Module):
    """One small network a field; ids below `bins` are said, MISSING never is."""

    log_base: Tensor  # [F-1, rows, K] given the token of the return
    offset: Tensor  # [F-1] first row of each field's embeddings

    def __init__(self, width: int, tokenizer: BarTokenizer, log_base: Tensor | None = None) -> None:
        super().__init__()
        rows, bins = tokenizer.field_bins + 1, tokenizer.field_bins
        self.hidden = nn.Linear(width, DRAWN * WIDTH)
        self.before = nn.ModuleList(nn.Embedding((i + 1) * rows, WIDTH) for i in range(DRAWN))
        self.out = nn.ModuleList(_still(bins) for _ in range(DRAWN))
        base = torch.zeros(DRAWN, rows, bins) if log_base is None else log_base
        self.register_buffer("log_base", base)
        self.register_buffer("offset", rows * torch.arange(DRAWN), persistent=False)

    def prepared(self, hidden: Tensor) -> Tensor:
        """Hidden [..., C] -> what all fields read of it [..., (F-1) M]."""
        return self.hidden(hidden)

    def logits(self, field: int, prepared: Tensor, tokens: Tensor) -> Tensor:
        """Of field 1 + `field`: tokens before it [..., field + 1] -> [..., K]."""
        x = prepared[..., field * WIDTH : (field + 1) * WIDTH]
        x = x + self.before[field](tokens + self.offset[: field + 1]).sum(dim=-2)
        return self.log_base[field][tokens[..., 0]] + self.out[field](functional.silu(x))

    def loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Nats a bar: hidden [B, T, C] and the tokens [B, T, F] of the bar after each position."""
        bins, total = self.log_base.shape[-1], hidden.new_zeros(())
        prepared = self.prepared(hidden)
        for i in range(DRAWN):
            target = tokens[..., i + 1]
            known = target < bins
            if known.any():
                logits = self.logits(i, prepared[known], tokens[known][:, : i + 1])
                total = total + functional.cross_entropy(logits, target[known])
        return total


def _still(bins: int) -> nn.Linear:
    layer = nn.Linear(WIDTH, bins)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True, eq=False)
class TaughtFields:
    """Heads, and their nats a bar on one later draw of training windows before and after."""

    heads: FieldHeads
    untaught: float
    taught: float


def fit_fields(
    fitted: FittedLearner, history: Panel, seed: int, keep: Keep
) -> tuple[TaughtFields, ...]:
    """One a network of the learner. Raises DivergedError for NaN."""
    c, tokenizer = fitted.config, fitted.tokenizer
    members = tokenise(history, tokenizer)
    tokens = [m.window(WARM_UP, len(m.scales)).tokens for m in members]
    base = frequencies([each for each in tokens if len(each)], tokenizer)
    out = []
    for number, network in enumerate(fitted.networks):
        own = 1000 * seed + number
        windows = TrainingWindows(members, c.context, c.batch, own)
        torch.manual_seed(own)
        heads = FieldHeads(c.d_model, tokenizer, base)
        loss = partial(_loss, heads, network, windows)
        untaught = loss(STEPS).item()
        recipe = TrainRecipe(steps=STEPS, lr=LR, min_lr=LR, warmup=10, seed=own, ema=0.98)
        with translated():
            fit(
                heads,
                loss,
                recipe,
                run=_folder(keep, number, tokenizer),
                on_step=partial(keep.on_field, number) if keep.on_field else None,
            )
        out.append(TaughtFields(heads.eval(), untaught, loss(STEPS).item()))
    return tuple(out)


def _folder(keep: Keep, number: int, tokenizer: BarTokenizer) -> RunFolder | None:
    if keep.path is None:
        return None
    path = keep.path / f"seed-{number}" / FIELDS
    resume = keep.resume and started(path)
    return RunFolder(path=path, config={"tokenizer": tokenizer.digest}, resume=resume)


def _loss(heads: FieldHeads, network: BarNetwork, windows: TrainingWindows, k: int) -> Tensor:
    return heads.loss(*lessons(network, windows.draw(k)))


@torch.no_grad()
def lessons(network: BarNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the network makes of the later half of each window, and the bars that came next."""
    hidden = network.hidden(batch.tokens, batch.inputs)
    half = batch.tokens.shape[1] // 2
    return hidden[:, half:-1], batch.tokens[:, half + 1 :]


def frequencies(tokens: Sequence[NDArray[np.int64]], tokenizer: BarTokenizer) -> Tensor:
    """Log frequencies [F-1, rows, K] of each field given the return's token, from tokens [T, F]."""
    bins, all_tokens = tokenizer.field_bins, np.concatenate(tokens)
    out = np.zeros((DRAWN, bins + 1, bins))
    for i in range(DRAWN):
        known = all_tokens[:, i + 1] < bins
        np.add.at(out[i], (all_tokens[known, 0], all_tokens[known, i + 1]), 1.0)
        overall = out[i].sum(axis=0) + 1e-3
        out[i] += PSEUDO * overall / overall.sum()
    return torch.from_numpy(np.log(out / out.sum(axis=-1, keepdims=True))).float()


def load_fields(fitted: FittedLearner, path: Path) -> tuple[FieldHeads, ...]:
    """What `fit_fields` kept below `path`. Raises CheckpointError for missing or damaged ones."""
    out = []
    for number in range(len(fitted.networks)):
        heads = FieldHeads(fitted.config.d_model, fitted.tokenizer)
        with translated():
            load_weights(latest(path / f"seed-{number}" / FIELDS / "checkpoints"), heads)
        out.append(heads.eval())
    return tuple(out)
