"""Whole language models, ready to run: a pass forward and back, or a whole step of training.

B batch   T positions   V vocabulary
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..config import BackboneConfig
from ..losses import cross_entropy
from ..model import LanguageModel
from ..presets import Sizes, preset, sized
from ..recipe import Constant, TrainRecipe
from ..sphere import normalize_weights_
from ..text.recipes import text_recipe
from ..train import start
from ..train.step import take_step
from .cases import Scale, Way

RECIPE = text_recipe("cpu").train.replace(schedule=Constant(), warmup=0, steps=10**9, lr=1e-4)
"""Steps of recipe cpu, all alike: at one low rate, as many as are timed."""


def model_config(name: str, scale: Scale) -> BackboneConfig:
    """A preset at the sizes of whole models."""
    sizes = Sizes(
        vocab_size=scale.vocab_size,
        context=scale.context,
        d_model=scale.d_model,
        n_layers=scale.n_layers,
        n_heads=scale.n_heads,
    )
    return sized(preset(name), sizes)


def random_batch(vocab_size: int, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Ids and the ids one place later, each [B, T]."""
    ids = torch.randint(vocab_size, (batch, length + 1))
    return ids[:, :-1], ids[:, 1:]


def count(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_and_backward(
    config: BackboneConfig, batch: int, length: int
) -> Callable[[], list[Tensor]]:
    """A run of a new model: the loss, and the gradient of every parameter."""
    model = LanguageModel(config)
    inputs, targets = random_batch(config.vocab_size or 1, batch, length)

    def run() -> list[Tensor]:
        loss = cross_entropy(model(inputs), targets)
        return [loss, *torch.autograd.grad(loss, list(model.parameters()))]

    return run


def training_way(
    name: str,
    config: BackboneConfig,
    scale: Scale,
    recipe: TrainRecipe = RECIPE,
    *,
    renormalized: bool = True,
) -> Way:
    """Steps of training on one batch, weights and batch the same for all: [loss, gradient norm]."""
    torch.manual_seed(0)
    model = LanguageModel(config)
    return training_way_of(name, model, model, scale, recipe, renormalized=renormalized)


def training_way_of(
    name: str,
    model: nn.Module,
    logits: Callable[[Tensor], Tensor],
    scale: Scale,
    recipe: TrainRecipe = RECIPE,
    *,
    renormalized: bool = True,
) -> Way:
    """The same of any model: `logits` makes them of ids."""
    torch.manual_seed(1)
    inputs, targets = random_batch(scale.vocab_size, scale.batch, scale.context)
    state = start(model, recipe)

    def run() -> list[Tensor]:
        report = take_step(
            state,
            lambda _: cross_entropy(logits(inputs), targets),
            recipe,
            (lambda: normalize_weights_(model)) if renormalized else None,
        )
        return [torch.tensor([report.loss]), torch.tensor([report.grad_norm])]

    return Way(name=name, run=run, parameters=count(model))
