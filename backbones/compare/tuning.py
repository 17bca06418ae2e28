"""The learning rate of each arm: which ones are tried, for how long, and which is chosen.

Short trials of all rates; the best of them again with all the steps, and on while the best is the
last tried on its side. All are scored on the end of the training part.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import DivergedError
from .arms import Arm
from .study import Study
from .tasks import Done, Task, final_task, trial_task


def trial_tasks(study: Study, arms: Sequence[Arm], out: Path) -> list[Task]:
    """Every arm at every rate; none where there is one rate."""
    if not study.is_tuned:
        return []
    return [trial_task(arm, factor, study, out) for arm in arms for factor in study.rates]


def final_tasks(
    study: Study, arms: Sequence[Arm], trials: Sequence[Done], finals: Sequence[Done], out: Path
) -> list[Task]:
    """Rates to try with all the steps, beside those in `finals`; none when there is no more to try.

    First each arm's best of the trials; then, where the best of an arm's finals is the lowest or
    the highest that it has tried, the next one beyond: longer runs like lower rates. DivergedError
    for an arm that diverged at every rate.
    """
    if not study.finals_an_arm:
        return []
    best_factors(trials)
    tasks: list[Task] = []
    for arm in arms:
        tried = ranked(finals, arm)
        wanted = beyond(tried, study) if tried else ranked(trials, arm)[: study.finalists]
        tasks += [final_task(arm, factor, study, out) for factor in sorted(wanted)]
    return tasks


def ranked(done: Sequence[Done], arm: Arm) -> list[float]:
    """The factors that an arm has tried, best first; those that diverged last."""
    mine = [each for each in done if each.task.arm == arm.name]
    scored = [(each.nats is None, each.nats or 0.0, each.task.factor) for each in mine]
    return [factor for _, _, factor in sorted(scored)]


def beyond(tried: Sequence[float], study: Study) -> list[float]:
    """The factor next to the best where that is at an end of those tried; none at the grid's end.

    `tried` has the best first.
    """
    grid, best = sorted(study.rates), tried[0]
    at = grid.index(best)
    beside = [*grid[max(at - 1, 0) : at], *grid[at + 1 : at + 2]]
    lowest, highest = best == min(tried), best == max(tried)
    return [x for x in beside if x not in tried and (x < best if lowest else highest)]


def best_factors(trials: Sequence[Done]) -> dict[str, float]:
    """The factor at which each arm scored best; of equals the smallest.

    DivergedError for an arm that diverged at every one.
    """
    best: dict[str, tuple[float, float]] = {}
    for trial in trials:
        if trial.nats is not None:
            found = (trial.nats, trial.task.factor)
            best[trial.task.arm] = min(best.get(trial.task.arm, found), found)
    for trial in trials:
        if trial.task.arm not in best:
            raise DivergedError(f"{trial.task.arm} diverges at every rate: name lower --rates")
    return {arm: factor for arm, (_, factor) in best.items()}
