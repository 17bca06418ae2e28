"""The training loop, of any model and any loss: steps, scores, metrics, checkpoints, exact resume.

A run folder gets `metrics.jsonl` (one object an event) and `checkpoints/`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ..checkpoint import TrainingState
from ..errors import DivergedError
from ..optim import build_adamw, learning_rate, set_learning_rate
from ..recipe import TrainRecipe
from .average import average_of, averaged, move_average, use_average
from .keeper import Keeper, RunFolder

__all__ = ["RunFolder", "StepReport", "TrainRecipe", "TrainResult", "fit"]

Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step as it happened; `step` counts the steps done, this one included."""

    step: int
    loss: float
    lr: float
    grad_norm: float  # before clipping
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """How a run ended.

    The model holds the final weights, averaged ones where the recipe has an ema.
    """

    step: int
    loss: float | None  # of the last step taken here; None where none was left
    scores: Scores  # what `evaluate` said of the final weights
    seconds: float  # in steps: without evaluations and checkpoints


def fit(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    recipe: TrainRecipe,
    *,
    evaluate: Callable[[], Scores] | None = None,
    run: RunFolder | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainResult:
    """Train `model` in place by AdamW for `recipe.steps` steps.

    `loss_of(step)` is the loss of batch `step`, a pure function of the step, the weights and
    torch's global generator, which is seeded here and kept in checkpoints (the CPU's).
    `evaluate()` is called in eval mode, without gradients, and cannot move that generator. The
    same seed gives the same bytes, resumed or not, at the same count of threads.

    Raises DivergedError before a step of a loss or gradient that is not finite, StorageError where
    the folder holds a run already, CheckpointError where a resumed run is another one or is
    damaged.
    """
    torch.manual_seed(recipe.seed)
    state = TrainingState(model, build_adamw(model, recipe), average_of(model, recipe))
    keeper = None if run is None else Keeper(run, recipe, state)
    report, seconds = None, 0.0
    model.train()
    while state.step < recipe.steps:
        report = take_step(state, loss_of, recipe)
        seconds += report.seconds
        if keeper is not None:
            keeper.log("step", report.step, asdict(report))
        if due(state.step, recipe.evaluate_every) and state.step < recipe.steps:
            evaluation(state, evaluate, keeper)
        if keeper is not None and (
            due(state.step, recipe.checkpoint_every) or state.step == recipe.steps
        ):
            keeper.save(state)
        if on_step is not None:
            on_step(report)
    scores = evaluation(state, evaluate, keeper)
    use_average(state)
    loss = None if report is None else report.loss
    return TrainResult(step=state.step, loss=loss, scores=scores, seconds=seconds)


def take_step(
    state: TrainingState, loss_of: Callable[[int], Tensor], recipe: TrainRecipe
) -> StepReport:
    """One step of the optimiser.

    DivergedError, with the weights untouched, if it would be by NaN.
    """
    began, step = time.perf_counter(), state.step
    lr = learning_rate(step, recipe)
    set_learning_rate(state.optimizer, lr)
    state.optimizer.zero_grad()
    loss = loss_of(step)
    value = loss.item()
    refuse_non_finite("loss", value, step, lr)
    loss.backward()
    limit = math.inf if recipe.clip is None else recipe.clip
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), limit).item()
    refuse_non_finite("gradient norm", norm, step, lr)
    state.optimizer.step()
    state.step = step + 1
    move_average(state, recipe)
    took = time.perf_counter() - began
    return StepReport(step=state.step, loss=value, lr=lr, grad_norm=norm, seconds=took)


def refuse_non_finite(what: str, value: float, step: int, lr: float) -> None:
    """DivergedError that names the quantity, its value, the step and the learning rate."""
    if not math.isfinite(value):
        raise DivergedError(
            f"{what}={value} in step {step + 1} at lr={lr:.3g}: that step was not taken, "
            "a lower lr or a longer warmup is worth trying"
        )


def due(step: int, every: int | None) -> bool:
    """Whether something that happens every `every` steps happens after this one."""
    return every is not None and step % every == 0


def evaluation(
    state: TrainingState, evaluate: Callable[[], Scores] | None, keeper: Keeper | None
) -> Scores:
    """The scores of the weights to use, logged; the training that it interrupts does not notice."""
    if evaluate is None:
        return {}
    generator = torch.get_rng_state()
    state.model.eval()
    with torch.no_grad(), averaged(state):
        scores = dict(evaluate())
    state.model.train()
    torch.set_rng_state(generator)
    if keeper is not None:
        keeper.log("evaluation", state.step, scores)
    return scores
