"""One step of training: the loss, its gradients at the recipe's precision, the optimisers."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..checkpoint import TrainingState
from ..distributed.shards import whole
from ..errors import DivergedError
from ..optim import learning_rate, set_learning_rate
from ..recipe import TrainRecipe
from .average import move_average
from .precision import computing, device_of

LossOf = Callable[[int], Tensor]
PartOf = Callable[[int, int, int], Tensor]
STEADY = 2000  # steps without an overflow after which the loss scale doubles (GradScaler's)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step as it happened; `step` counts the steps done, this one included."""

    step: int
    loss: float
    lr: float
    grad_norm: float  # before clipping
    seconds: float


def take_step(
    state: TrainingState,
    loss_of: LossOf,
    recipe: TrainRecipe,
    after_step: Callable[[], None] | None,
    part_of: PartOf | None = None,
) -> StepReport:
    """One step of the optimiser, then `after_step`, then the running average.

    `loss_of` and `part_of` are those of `fit`. DivergedError, with the weights untouched, if it
    would be by NaN.
    """
    began, step = time.perf_counter(), state.step
    lr = learning_rate(step, recipe)
    set_learning_rate(state.optimizer, lr)
    loss, norm = gradients(state, own_parts(state, loss_of, part_of, recipe), recipe)
    state.optimizer.step()
    state.step = step + 1
    if after_step is not None:
        with torch.no_grad():
            after_step()
    move_average(state, recipe, after_step)
    took = time.perf_counter() - began
    return StepReport(step=state.step, loss=loss, lr=lr, grad_norm=norm, seconds=took)


def own_parts(
    state: TrainingState, loss_of: LossOf, part_of: PartOf | None, recipe: TrainRecipe
) -> list[Callable[[], Tensor]]:
    """This process' losses of the step: their mean, over all processes, is that of the batch."""
    own, step = recipe.accumulate, state.step
    count = own * state.ranks.count
    if count == 1:
        return [lambda: loss_of(step)]
    if part_of is None:
        raise ValueError(
            f"a batch is computed in {count} parts: part_of says what their losses are"
        )
    before = own * state.ranks.rank
    return [partial(part_of, step, i, count) for i in range(before, before + own)]


def gradients(
    state: TrainingState, parts: Sequence[Callable[[], Tensor]], recipe: TrainRecipe
) -> tuple[float, float]:
    """Leave clipped gradients in the model; returns the loss and the norm before clipping.

    Both are of the whole batch, in every process that shares it. A loss scale that made float16
    overflow is halved, and the same batch computed again: no step is skipped.
    """
    lr, limit = learning_rate(state.step, recipe), math.inf if recipe.clip is None else recipe.clip
    while True:
        state.optimizer.zero_grad()
        value = state.ranks.mean(sum(backward(state, parts, recipe)) / len(parts))
        refuse_non_finite("loss", value, state.step, lr)
        unscale(state.model, state.scale)
        norm = whole(nn.utils.clip_grad_norm_(state.model.parameters(), limit)).item()
        if math.isfinite(norm) or state.scale <= 1:
            refuse_non_finite("gradient norm", norm, state.step, lr)
            steady(state, recipe)
            return value, norm
        state.scale, state.steady = max(1.0, state.scale / 2), 0


def backward(
    state: TrainingState, parts: Sequence[Callable[[], Tensor]], recipe: TrainRecipe
) -> Generator[float]:
    """Add up the gradients of the mean of the parts, one part in memory at a time; their losses."""
    factor = state.scale / len(parts)
    for i, part in enumerate(parts, start=1):
        with state.ranks.quiet(i < len(parts)):
            with computing(recipe.precision, device_of(state.model)):
                loss = part()
            (loss * factor).backward()
        yield loss.item()


@torch.no_grad()
def unscale(model: nn.Module, scale: float) -> None:
    """Divide every gradient by the loss scale."""
    if scale == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.div_(scale)


def steady(state: TrainingState, recipe: TrainRecipe) -> None:
    """Count a step without overflow; after enough of them the loss scale doubles."""
    if not recipe.precision.startswith("fp16"):
        return
    state.steady += 1
    if state.steady == STEADY:
        state.scale, state.steady = 2 * state.scale, 0


def refuse_non_finite(what: str, value: float, step: int, lr: float) -> None:
    """DivergedError that names the quantity, its value, the step and the learning rate."""
    if not math.isfinite(value):
        raise DivergedError(
            f"{what}={value} in step {step + 1} at lr={lr:.3g}: that step was not taken, "
            "a lower lr or a longer warmup is worth trying"
        )
