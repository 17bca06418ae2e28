"""Fit any preset of backbones, or a control, to tokenised bars, keep it, and load it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from backbones.checkpoint import latest, load_weights
from backbones.config import BackboneConfig
from backbones.recipe import GroupRule
from backbones.sphere import normalize_weights_
from backbones.train import RunFolder, StepReport, TrainRecipe, fit, started, step_losses
from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.learner.bodies import (
    PerBarConfig,
    body_config,
    is_shuffled,
    require_attention,
)
from forecaster.learner.company import PanelWindows, taught, training_windows, windows_a_step
from forecaster.learner.curves import Course, curves_of
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.network import BarNetwork
from forecaster.learner.steps import steps_for
from forecaster.learner.translation import translated
from forecaster.learner.windows import Member, TrainingWindows, skipped, tokenise
from forecaster.stages import stage
from forecaster.tokens import BarTokenizer, fit_tokenizer


@dataclass(frozen=True)
class Keep:
    """Where a training is kept while it runs, and who is told of each step of each seed."""

    path: Path | None = None  # one folder a seed below it
    resume: bool = False
    on_step: Callable[[int, StepReport], None] | None = None  # (seed's number, the step)
    on_field: Callable[[int, StepReport], None] | None = None  # the same of heads for bars' fields


@dataclass(frozen=True)
class BackboneForecaster:
    """A preset of backbones, or a control of `bodies`, as a Forecaster of the same name."""

    name: str
    config: LearnerConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown name before anything is fitted."""
        body = self.body()
        if self.config.panel is not None:
            require_attention(self.name, body)

    def fit(
        self, history: Panel, horizons: Sequence[int], keep: Keep | None = None
    ) -> FittedLearner:
        """Tokeniser, then `seeds` networks.

        Raises DataError for too little, DivergedError for NaN.
        """
        torch.set_num_threads(1)  # more are slower on networks of this size, and change bits
        c, keep = self.config, keep or Keep()
        tokenizer, members = self._prepared(history, horizons)
        steps, symbols = self.steps(history), taught(history, c)
        networks, courses = [], []
        for number in range(c.seeds):
            seed = 1000 * self.seed + number
            network = self.network(tokenizer, seed, symbols)
            windows = self._windows(history, members, seed)
            course = Course(partial(keep.on_step, number) if keep.on_step else None)
            with translated(), stage("training"):
                fit(
                    network,
                    partial(self._loss, network, windows, course.prior),
                    self._recipe(seed, steps),
                    run=self._run(keep, number, tokenizer),
                    on_step=course.step,
                    after_step=partial(normalize_weights_, network),
                )
            networks.append(network.eval())
            courses.append(course)
        shuffle, curves = is_shuffled(self.name), curves_of(courses, steps)
        return FittedLearner(c, tokenizer, tuple(networks), shuffle, symbols=symbols, curves=curves)

    def steps(self, history: Panel) -> int:
        """Of a network's training on this history."""
        return steps_for(history, self.config)

    @property
    def windows(self) -> int:
        """Of a training step."""
        return windows_a_step(self.config)

    def check(self, history: Panel, horizons: Sequence[int]) -> None:
        """Raises what `fit` would raise of a history that is too short."""
        self._windows(history, self._prepared(history, horizons)[1], self.seed)

    def _prepared(
        self, history: Panel, horizons: Sequence[int]
    ) -> tuple[BarTokenizer, list[Member]]:
        with stage("features and tokens"):
            tokenizer = fit_tokenizer(history, horizons, self.config)
        return tokenizer, tokenise(history, tokenizer)

    def _windows(
        self, history: Panel, members: list[Member], seed: int
    ) -> TrainingWindows | PanelWindows:
        shuffle = is_shuffled(self.name)
        return training_windows(history, members, self.config, seed, shuffle=shuffle)

    def network(
        self, tokenizer: BarTokenizer, seed: int, symbols: Sequence[str] = ()
    ) -> BarNetwork:
        """An untaught network: forecasts the tokeniser's own shape."""
        torch.manual_seed(seed)
        return BarNetwork(self.body(), tokenizer, self.config, len(symbols))

    def body(self) -> BackboneConfig | PerBarConfig:
        """The named axes at this config's sizes."""
        with translated():
            return body_config(self.name, self.config)

    def _loss(
        self,
        network: BarNetwork,
        windows: TrainingWindows | PanelWindows,
        prior: list[float],
        k: int,
    ) -> Tensor:
        """Of the head, in nats, after the first `skip` bars of each window; notes the prior's."""
        batch = windows.draw(k)
        prior.append(network.head.untaught_loss(batch, skipped(batch, self.config)))
        said = network(batch.tokens, batch.inputs, batch.company)
        return network.head.loss(said, batch, skipped(batch, self.config))

    def _recipe(self, seed: int, steps: int) -> TrainRecipe:
        c = self.config
        head = GroupRule(
            prefix="head.returns.", lr_factor=c.head_lr, weight_decay=c.head_weight_decay
        )
        return TrainRecipe(
            steps=steps,
            lr=c.lr,
            min_lr=c.lr,  # constant after the warm-up; the average of weights does the annealing
            warmup=min(c.warmup, steps - 1),
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
        return RunFolder(path=path, config=config, resume=keep.resume and started(path))


def kept_losses(path: Path, seeds: int) -> list[list[float]]:
    """Of every step [nats] of each seed that `fit` kept at `path`, however often it was resumed."""
    return [step_losses(path / f"seed-{number}") for number in range(seeds)]


def load_learner(
    forecaster: BackboneForecaster, path: Path, tokenizer: BarTokenizer, symbols: Sequence[str] = ()
) -> FittedLearner:
    """What `fit` kept at `path`; `symbols` are those of the learner that it returned.

    Raises CheckpointError for one that is missing or damaged.
    """
    torch.set_num_threads(1)
    networks = []
    for number in range(forecaster.config.seeds):
        network = forecaster.network(tokenizer, 0, symbols)
        with translated():
            load_weights(latest(path / f"seed-{number}" / "checkpoints"), network)
        networks.append(network.eval())
    shuffle = is_shuffled(forecaster.name)
    return FittedLearner(
        forecaster.config, tokenizer, tuple(networks), shuffle, symbols=tuple(symbols)
    )
