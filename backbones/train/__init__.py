"""The training loop, of any model and any loss: steps, scores, metrics, checkpoints, exact resume.

A run folder gets `metrics.jsonl` (one object an event) and `checkpoints/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypedDict, Unpack

import torch
from torch import nn

from ..checkpoint import TrainingState
from ..distributed import ALONE, Ranks
from ..optim import build_optimizer
from ..recipe import TrainRecipe
from .average import average_of, averaged, use_average
from .keeper import Keeper, RunFolder, started, step_losses
from .precision import (
    as_trained,
    computing,
    device_of,
    first_scale,
    refuse_unsupported,
)
from .step import LossOf, PartOf, StepReport, take_step

__all__ = [
    "RunFolder",
    "StepReport",
    "TrainRecipe",
    "TrainResult",
    "as_trained",
    "computing",
    "device_of",
    "fit",
    "started",
    "step_losses",
]

Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """How a run ended.

    The model holds the final weights, averaged ones where the recipe has an ema.
    """

    step: int
    loss: float | None  # of the last step taken here; None where none was left
    scores: Scores  # what `evaluate` said of the final weights
    seconds: float  # in steps: without evaluations and checkpoints


class Around(TypedDict, total=False):
    """What may happen around the steps; each may be left out, or None."""

    evaluate: Callable[[], Scores] | None  # scores of the weights to use
    run: RunFolder | None  # where the run is kept
    on_step: Callable[[StepReport], None] | None  # last in a step, its checkpoint being written
    after_step: Callable[[], None] | None  # changes the weights after each step, without gradients
    part_of: PartOf | None  # loss of part i of n equal ones of a batch: (step, i, n)
    ranks: Ranks  # the processes that train together; `model` has been wrapped by them


def fit(
    model: nn.Module,
    loss_of: LossOf,
    recipe: TrainRecipe,
    **around: Unpack[Around],
) -> TrainResult:
    """Train `model` in place for `recipe.steps` steps, as the recipe says.

    `loss_of(step)` is the loss of batch `step`, a pure function of the step, the weights and
    torch's global generator, which is seeded here and kept in checkpoints (the CPU's). Where a
    batch is computed in parts, by this process or by several, `part_of` is called instead.
    `evaluate()` is called in eval mode, without gradients, and cannot move that generator.
    `after_step()` may change the weights in place (nGPT's are brought back to length one); the
    running average is treated by it too, so that what is saved and scored always is. The same
    seed gives the same bytes, resumed or not, at the same count of threads and processes. Of
    several processes the first one logs, and each calls `evaluate` and gets its own answer.

    Raises DivergedError before a step of a loss or gradient that is not finite, StorageError where
    the folder holds a run already, CheckpointError where a resumed run is another one or is
    damaged, UsageError for a precision that the device does not have.
    """
    evaluate, run = around.get("evaluate"), around.get("run")
    on_step, after_step = around.get("on_step"), around.get("after_step")
    part_of = around.get("part_of")
    state = start(model, recipe, around.get("ranks", ALONE))
    keeper = None if run is None else Keeper(run, recipe, state)
    report, seconds = None, 0.0
    model.train()
    while state.step < recipe.steps:
        report = take_step(state, loss_of, recipe, after_step, part_of)
        seconds += report.seconds
        if keeper is not None:
            keeper.log("step", report.step, asdict(report))
        if due(state.step, recipe.evaluate_every) and state.step < recipe.steps:
            evaluation(state, evaluate, keeper, recipe)
        if keeper is not None and (
            due(state.step, recipe.checkpoint_every) or state.step == recipe.steps
        ):
            keeper.save(state)
        if on_step is not None:
            on_step(report)
    scores = evaluation(state, evaluate, keeper, recipe)
    use_average(state)
    loss = None if report is None else report.loss
    return TrainResult(step=state.step, loss=loss, scores=scores, seconds=seconds)


def start(model: nn.Module, recipe: TrainRecipe, ranks: Ranks = ALONE) -> TrainingState:
    """The state before the first step, torch's generator seeded."""
    refuse_unsupported(recipe.precision, device_of(model))
    torch.manual_seed(ranks.seed(recipe.seed))
    as_trained(model, recipe.precision)
    return TrainingState(
        model,
        build_optimizer(model, recipe),
        average_of(model, recipe),
        scale=first_scale(recipe),
        ranks=ranks,
    )


def due(step: int, every: int | None) -> bool:
    """Whether something that happens every `every` steps happens after this one."""
    return every is not None and step % every == 0


def evaluation(
    state: TrainingState,
    evaluate: Callable[[], Scores] | None,
    keeper: Keeper | None,
    recipe: TrainRecipe,
) -> Scores:
    """The scores of the weights to use, logged; the training that it interrupts does not notice."""
    if evaluate is None:
        return {}
    generator = torch.get_rng_state()
    state.model.eval()
    precision = computing(recipe.precision, device_of(state.model))
    with torch.no_grad(), averaged(state), precision:
        scores = dict(evaluate())
    state.model.train()
    torch.set_rng_state(generator)
    if keeper is not None:
        keeper.log("evaluation", state.step, scores)
    return scores
