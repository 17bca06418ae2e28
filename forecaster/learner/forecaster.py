"""Fit any preset of backbones to tokenised bars, keep it, and load it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from backbones.checkpoint import latest, load_weights
from backbones.config import BackboneConfig
from backbones.presets import Sizes, preset, sized
from backbones.recipe import GroupRule
from backbones.sphere import normalize_weights_
from backbones.train import RunFolder, StepReport, TrainRecipe, fit
from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.network import BarNetwork
from forecaster.learner.translation import translated
from forecaster.learner.windows import TokenisedBars, TrainingWindows, tokenise
from forecaster.tokens import BarTokenizer, fit_tokenizer


@dataclass(frozen=True)
class Keep:
    """Where a training is kept while it runs, and who is told of each step of each seed."""

    path: Path | None = None  # one folder a seed below it
    resume: bool = False
    on_step: Callable[[int, StepReport], None] | None = None  # (seed's number, the step)


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
        tokenizer, members = self._prepared(history, horizons)
        networks = []
        for number in range(c.seeds):
            seed = 1000 * self.seed + number
            network = self.network(tokenizer, seed)
            windows = TrainingWindows(members, c.context, c.batch, seed)
            with translated():
                fit(
                    network,
                    partial(self._loss, network, windows),
                    self._recipe(seed),
                    run=self._run(keep, number, tokenizer),
                    on_step=partial(keep.on_step, number) if keep.on_step else None,
                    after_step=partial(normalize_weights_, network),
                )
            networks.append(network.eval())
        return FittedLearner(c, tokenizer, tuple(networks))

    def check(self, history: Panel, horizons: Sequence[int]) -> None:
        """Raises what `fit` would raise of a history that is too short."""
        _, members = self._prepared(history, horizons)
        TrainingWindows(members, self.config.context, self.config.batch, self.seed)

    def _prepared(
        self, history: Panel, horizons: Sequence[int]
    ) -> tuple[BarTokenizer, list[TokenisedBars]]:
        c = self.config
        tokenizer = fit_tokenizer(
            history, horizons, c.tokens, field_bins=c.field_bins, return_bins=c.return_bins
        )
        return tokenizer, tokenise(history, tokenizer)

    def network(self, tokenizer: BarTokenizer, seed: int) -> BarNetwork:
        """An untaught network: forecasts the tokeniser's own shape."""
        torch.manual_seed(seed)
        return BarNetwork(self.backbone(), tokenizer, self.config)

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
        tilt = network(batch.tokens, batch.inputs)[:, self.config.skip :]
        log_p = network.log_probability(tilt).flatten(0, -2)
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
