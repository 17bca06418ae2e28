"""The running average of the weights, which a recipe with an `ema` keeps and hands over."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..checkpoint import TrainingState, trainable
from ..recipe import TrainRecipe


def average_of(model: nn.Module, recipe: TrainRecipe) -> dict[str, Tensor] | None:
    """The running average before the first step: a copy of the weights."""
    if recipe.ema is None:
        return None
    return {name: p.detach().clone() for name, p in trainable(model).items()}


@torch.no_grad()
def move_average(
    state: TrainingState, recipe: TrainRecipe, after_step: Callable[[], None] | None
) -> None:
    """average += (1 - d) (weights - average), d = min(ema, (1 + n) / (10 + n)) after n steps.

    The bound on d lets early averages forget the initial weights; it is TensorFlow's num_updates
    rule. `after_step` then does to the average what it does to the weights: an average of
    directions is not one until it is brought back to length one.
    """
    if state.average is None or recipe.ema is None:
        return
    decay = min(recipe.ema, (1 + state.step) / (10 + state.step))
    for name, parameter in trainable(state.model).items():
        state.average[name].lerp_(parameter, 1 - decay)
    if after_step is not None:
        with averaged(state):
            after_step()
            for name, parameter in trainable(state.model).items():
                state.average[name].copy_(parameter)


@contextmanager
def averaged(state: TrainingState) -> Generator[None]:
    """The model with its averaged weights, where it has them; its own come back at the end."""
    if state.average is None:
        yield
        return
    own = {name: p.detach().clone() for name, p in trainable(state.model).items()}
    use_average(state)
    try:
        yield
    finally:
        put(state.model, own)


def use_average(state: TrainingState) -> None:
    """Give the model its averaged weights, where it has them."""
    if state.average is not None:
        put(state.model, state.average)


@torch.no_grad()
def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into the model's parameters of the same names."""
    for name, parameter in trainable(model).items():
        parameter.copy_(weights[name])
