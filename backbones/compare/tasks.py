"""The single runs of a study: which they are, how one is carried out, and the record it leaves.

OUT/trials/ARM-xFACTOR/, OUT/finals/ARM-xFACTOR/ and OUT/runs/ARM-seedN/ are runs like any other;
record.json, written last, says that one is done.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..errors import DivergedError, UsageError
from ..language import open_run, train_run
from ..language.folder import read_plan, read_text
from ..language.plan import TextPlan, changed
from ..language.score import held_out, mean_nats, softmax_nats
from ..storage import replace_file, to_json
from ..text.corpora import Corpus
from ..train import computing, device_of
from .arms import Arm, at_rate, final_plan, trial_plan
from .study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run: a trial of a rate, whose weights are not kept, or an arm's run at a seed."""

    arm: str
    plan: TextPlan
    folder: Path
    factor: float  # of the recipe's rates
    is_trial: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A run, and the record that it left."""

    task: Task
    record: dict[str, Any]

    @property
    def nats(self) -> float | None:
        """The final score, nats a character; None for a trial that diverged."""
        return self.record[f"{self.task.plan.split}_nats"]


def trial_task(arm: Arm, factor: float, study: Study, out: Path) -> Task:
    """One try at a rate."""
    folder = out / "trials" / f"{arm.slug}-x{factor:g}"
    plan = trial_plan(arm, factor, study)
    return Task(arm=arm.name, plan=plan, folder=folder, factor=factor, is_trial=True)


def final_task(arm: Arm, factor: float, study: Study, out: Path) -> Task:
    """A try at a rate that did well in a short one."""
    folder = out / "finals" / f"{arm.slug}-x{factor:g}"
    plan = final_plan(arm, factor, study)
    return Task(arm=arm.name, plan=plan, folder=folder, factor=factor, is_trial=True)


def run_task(arm: Arm, seed: int, factor: float, out: Path) -> Task:
    """One seed of an arm at the rate that was chosen for it."""
    plan = changed(at_rate(arm.plan, factor), {"train.seed": seed})
    folder = out / "runs" / f"{arm.slug}-seed{seed}"
    return Task(arm=arm.name, plan=plan, folder=folder, factor=factor, is_trial=False)


def finished(task: Task) -> Done | None:
    """The run as it was done before, or None; UsageError where the folder has another plan's."""
    place = task.folder / "record.json"
    if not place.exists():
        return None
    if read_plan(task.folder) != task.plan:
        raise UsageError(f"{task.folder} is a run of another plan: name another --out")
    return Done(task=task, record=json.loads(place.read_text(encoding="utf-8")))


def carry_out(task: Task, corpus: Corpus) -> Done:
    """Train and score one run, anew where it was left unfinished.

    A trial that diverges has done its work: the rate is too high. DivergedError for a run.
    """
    shutil.rmtree(task.folder, ignore_errors=True)
    record: dict[str, Any] = {"arm": task.arm, "factor": task.factor}
    try:
        record |= train_run(corpus, task.plan, task.folder) | median_step(task.folder)
    except DivergedError as error:
        if not task.is_trial:
            raise DivergedError(f"{task.folder.name}: {error}") from error
        record |= {"selection_nats": None, "diverged": str(error)}
    if not task.is_trial:
        record |= scores_afterwards(task, corpus)
    else:
        shutil.rmtree(task.folder / "checkpoints", ignore_errors=True)
    replace_file(task.folder / "record.json", to_json(record))
    return Done(task=task, record=record)


def scores_afterwards(task: Task, corpus: Corpus) -> dict[str, float]:
    """What training does not score, of the final weights, nats a character.

    training_nats: on the last stretch of what was trained on, as long as the part that is scored.
    softmax_nats: on that part under a softmax at the temperature that suits the stretch, by which
    models of different losses compare.
    """
    run, plan = open_run(task.folder), task.plan
    training, scored = plan.parts(corpus)
    seen = held_out(training[-len(scored) :], run.tokenizer, plan.context)
    text = held_out(scored, run.tokenizer, plan.context)
    with computing(plan.train.precision, device_of(run.model)):
        softmax, _ = softmax_nats(run.model, text, seen)
        return {
            "training_nats": mean_nats(run.model, seen, plan.loss),
            "softmax_nats": softmax,
        }


def median_step(folder: Path) -> dict[str, float]:
    """The median step, which a busy machine moves less than the mean."""
    steps = [event["seconds"] for event in events(folder) if event["event"] == "step"]
    return {"ms_per_step_median": round(1000 * median(steps), 3)}


def events(folder: Path) -> list[dict[str, Any]]:
    """What training logged in a run's folder, in order."""
    return [json.loads(line) for line in read_text(folder / "metrics.jsonl").splitlines()]
