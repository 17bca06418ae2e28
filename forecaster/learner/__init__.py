"""BackboneForecaster: any preset of backbones on tokenised bars.

The only package here that imports torch and backbones.

N origins, H horizons, K return bins.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbones.checkpoint import latest, load_weights
from backbones.config import BackboneConfig
from backbones.errors import BackbonesError
from backbones.presets import Sizes, preset, sized
from backbones.recipe import GroupRule
from backbones.train import RunFolder, StepReport, TrainRecipe, fit
from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import Binned
from forecaster.errors import (
    CheckpointError,
    DivergedError,
    ForecasterError,
    StorageError,
    UsageError,
)
from forecaster.learner.network import BarNetwork
from forecaster.learner.windows import TrainingWindows, origin_windows, tokenise
from forecaster.protocol import Origins
from forecaster.tokens import BarTokenizer, fit_tokenizer

QUESTIONS = 128  # origins a forward pass; one shape always, for bits depend on shapes
ERRORS: dict[int, type[ForecasterError]] = {
    2: UsageError,
    5: StorageError,
    6: CheckpointError,
    7: DivergedError,
}


@dataclass(frozen=True)
class Keep:
    """Where a training is kept while it runs, and who is told of each step of each seed."""

    path: Path | None = None  # one folder a seed below it
    resume: bool = False
    on_step: Callable[[int, StepReport], None] | None = None  # (seed's number, the step)


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
            for network in self.networks:
                last = network(batch.tokens, batch.inputs)[:, -1].double().exp()
                p[rows] += last.numpy()[: rows.stop - rows.start]
        scale = np.array(
            [members[i].scale[t] for i, t in zip(origins.member, origins.bar, strict=True)]
        )
        return self.tokenizer.density(scale, p / p.sum(axis=-1, keepdims=True))

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


@dataclass(frozen=True)
class BackboneForecaster:
    """A preset of backbones as a Forecaster; its name is the preset's."""

    name: str
    config: LearnerConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown preset before anything is fitted."""
        with translated():
            preset(self.name)

    def fit(
        self, history: Panel, horizons: Sequence[int], keep: Keep | None = None
    ) -> FittedLearner:
        """Tokeniser, then `seeds` networks.

        Raises DataError for too little, DivergedError for NaN.
        """
        torch.set_num_threads(1)  # more are slower on networks of this size, and change bits
        c, keep = self.config, keep or Keep()
        tokenizer = fit_tokenizer(
            history, horizons, c.tokens, field_bins=c.field_bins, return_bins=c.return_bins
        )
        members = tokenise(history, tokenizer)
        networks = []
        for number in range(c.seeds):
            seed = 1000 * self.seed + number
            network = self.network(tokenizer, seed)
            windows = TrainingWindows(members, c.context, c.batch, seed)
            with translated():
                fit(
                    network,
                    lambda k, net=network, w=windows: self._loss(net, w, k),
                    self._recipe(seed),
                    run=self._run(keep, number, tokenizer),
                    on_step=keep.on_step and (lambda r, n=number: keep.on_step(n, r)),
                )
            networks.append(network.eval())
        return FittedLearner(c, tokenizer, tuple(networks))

    def network(self, tokenizer: BarTokenizer, seed: int) -> BarNetwork:
        """An untaught network: forecasts the tokeniser's own shape."""
        torch.manual_seed(seed)
        return BarNetwork(self.backbone(), tokenizer)

    def backbone(self) -> BackboneConfig:
        """The preset's axes at this config's sizes."""
        c = self.config
        sizes = Sizes(
            vocab_size=None,
            context=c.context,
            d_model=c.d_model,
            n_layers=c.n_layers,
            n_heads=c.n_heads,
        )
        with translated():
            return sized(preset(self.name), sizes).replace(dropout=c.dropout)

    def _loss(self, network: BarNetwork, windows: TrainingWindows, k: int) -> Tensor:
        """Mean cross-entropy in nats of the known return tokens after the first `skip` bars."""
        batch = windows.draw(k)
        log_p = network(batch.tokens, batch.inputs)[:, self.config.skip :].flatten(0, -2)
        return torch.nn.functional.nll_loss(
            log_p, batch.targets[:, self.config.skip :].flatten(), ignore_index=-1
        )

    def _recipe(self, seed: int) -> TrainRecipe:
        c = self.config
        head = GroupRule(prefix="head.", lr_factor=c.head_lr, weight_decay=c.head_weight_decay)
        return TrainRecipe(
            steps=c.steps,
            lr=c.lr,
            min_lr=c.lr,  # constant after the warm-up; the average of weights does the annealing
            warmup=min(c.warmup, c.steps - 1),
            betas=(0.9, 0.98),
            weight_decay=c.weight_decay,
            clip=c.clip,
            seed=seed,
            ema=c.ema or None,
            groups=(head,),
            checkpoint_every=100,
        )

    def _run(self, keep: Keep, number: int, tokenizer: BarTokenizer) -> RunFolder | None:
        if keep.path is None:
            return None
        path = keep.path / f"seed-{number}"
        config = {
            "preset": self.name,
            "learner": self.config.model_dump(mode="json"),
            "tokenizer": tokenizer.digest,
        }
        started = (path / "checkpoints" / "LATEST").exists()
        return RunFolder(path=path, config=config, resume=keep.resume and started)


def load_learner(
    forecaster: BackboneForecaster, path: Path, tokenizer: BarTokenizer
) -> FittedLearner:
    """What `fit` kept at `path`. Raises CheckpointError for one that is missing or damaged."""
    torch.set_num_threads(1)
    networks = []
    for number in range(forecaster.config.seeds):
        network = forecaster.network(tokenizer, 0)
        with translated():
            load_weights(latest(path / f"seed-{number}" / "checkpoints"), network)
        networks.append(network.eval())
    return FittedLearner(forecaster.config, tokenizer, tuple(networks))


@contextmanager
def translated() -> Iterator[None]:
    """Errors of backbones as ours, with the same exit code and words."""
    try:
        yield
    except BackbonesError as error:
        raise ERRORS.get(error.exit_code, ForecasterError)(str(error)) from error
