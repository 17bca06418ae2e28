"""The learning rate of each step: a warm-up, then the shape that the recipe names."""

import math
from collections.abc import Iterator

from ..recipe import Restarts, TrainRecipe, Wsd


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """Linear warm-up to lr, then the recipe's schedule; steps count from 0."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done, total = step - recipe.warmup, recipe.steps - recipe.warmup
    match recipe.schedule:
        case Restarts() as restarts:
            return restarting(done, restarts, recipe)
        case Wsd() as wsd:
            left = fall(wsd.shape, after_stable(done, total, wsd.decay * recipe.steps))
        case schedule:
            left = fall(schedule.kind, done / total)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * left


def fall(shape: str, progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1, except that "constant" stays."""
    match shape:
        case "constant":
            return 1.0
        case "linear":
            return 1 - progress
        case "sqrt":
            return 1 - math.sqrt(progress)
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        case _:
            raise AssertionError(shape)


def after_stable(done: int, total: int, decaying: float) -> float:
    """Progress through the last `decaying` of `total` steps: 0 before them."""
    return max(0.0, (done - (total - min(decaying, total))) / min(decaying, total))


def restarting(done: int, restarts: Restarts, recipe: TrainRecipe) -> float:
    """Within cycle i: min_lr + (P_i - min_lr)(1 + cos(pi t / T_i)) / 2, P_i >= min_lr.

    Source: Loshchilov and Hutter 2017, eq. 5; departure: peaks may shrink, by lr_mult a cycle.
    """
    peak, began = recipe.lr, 0
    for end in cycles(restarts):
        if done < end:
            height = max(recipe.min_lr, peak) - recipe.min_lr
            return recipe.min_lr + height * fall("cosine", (done - began) / (end - began))
        peak, began = peak * restarts.lr_mult, end
    raise AssertionError(done)


def cycles(restarts: Restarts) -> Iterator[int]:
    """Where each cycle ends, in steps after the warm-up, without end."""
    end, length = 0, float(restarts.t_0)
    while True:
        end += round(length)
        yield end
        length *= restarts.t_mult


def cycle_ends(recipe: TrainRecipe) -> list[int]:
    """Counts of steps at which a cycle of schedule restarts is complete, up to the recipe's."""
    ends: list[int] = []
    if isinstance(recipe.schedule, Restarts):
        for end in cycles(recipe.schedule):
            if recipe.warmup + end > recipe.steps:
                break
            ends.append(recipe.warmup + end)
    return ends
