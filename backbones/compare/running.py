"""Run a study in a folder: tune, train, score; what is there already is not run again.

OUT/study.json, OUT/trials/ARM-xFACTOR/, OUT/runs/ARM-seedN/: each folder below is a run like any
other, done where its summary says so.
"""

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from ..language.folder import read_plan
from ..language.plan import TextPlan, changed
from ..language.run import open_run, train_run
from ..language.score import held_out, mean_nats, softmax_nats
from ..storage import replace_file, to_json
from ..text.corpora import Corpus
from .arms import Arm, arms_of, at_rate, trial
from .study import Study, read_study

Report = Callable[["Task"], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run: of a trial, whose checkpoints are not kept, or of an arm and a seed."""

    arm: str
    plan: TextPlan
    folder: Path
    factor: float
    is_trial: bool


def run_study(
    study: Study, corpus: Corpus, out: Path, *, jobs: int = 1, on_task: Report | None = None
) -> list[dict[str, Any]]:
    """All runs of a study, as one record a run; what is done already is read.

    Raises UsageError where `out` holds another study.
    """
    arms = arms_of(study, corpus)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "study.json").exists() and read_study(out) != study:
        raise UsageError(f"{out} holds another study: name another --out")
    replace_file(out / "study.json", study.to_json().encode())
    factors = {arm.name: study.rates[0] for arm in arms}
    if len(study.rates) > 1:
        trials = [trial_task(arm, factor, study, out) for arm in arms for factor in study.rates]
        factors = best_factors(execute(trials, corpus, jobs, on_task))
    runs = [
        run_task(arm, seed, factors[arm.name], out)
        for seed in range(1, study.seeds + 1)
        for arm in arms
    ]
    return execute(runs, corpus, jobs, on_task)


def trial_task(arm: Arm, factor: float, study: Study, out: Path) -> Task:
    """One try at a rate."""
    folder = out / "trials" / f"{arm.slug}-x{factor:g}"
    plan = trial(arm, factor, study)
    return Task(arm=arm.name, plan=plan, folder=folder, factor=factor, is_trial=True)


def run_task(arm: Arm, seed: int, factor: float, out: Path) -> Task:
    """One seed of an arm at the rate that it was found to like."""
    plan = changed(at_rate(arm.plan, factor), {"train.seed": seed})
    folder = out / "runs" / f"{arm.slug}-seed{seed}"
    return Task(arm=arm.name, plan=plan, folder=folder, factor=factor, is_trial=False)


def best_factors(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The factor at which each arm scored best; of equals the smallest."""
    best: dict[str, tuple[float, float]] = {}
    for record in records:
        found = (record["selection_nats"], record["factor"])
        best[record["arm"]] = min(best.get(record["arm"], found), found)
    return {arm: factor for arm, (_, factor) in best.items()}


def execute(
    tasks: Sequence[Task], corpus: Corpus, jobs: int, on_task: Report | None
) -> list[dict[str, Any]]:
    """The records of all tasks, in their order, over `jobs` processes."""
    records: dict[Path, dict[str, Any]] = {}
    missing: list[Task] = []
    for task in tasks:
        kept = kept_record(task)
        if kept is None:
            missing.append(task)
        else:
            records[task.folder] = kept
            if on_task:
                on_task(task)
    for task, record in finished(missing, corpus, jobs):
        records[task.folder] = record
        if on_task:
            on_task(task)
    return [records[task.folder] for task in tasks]


def finished(
    tasks: Sequence[Task], corpus: Corpus, jobs: int
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Tasks with their records as they end; processes are spawned and have one thread each."""
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, run_one(task, corpus)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, initializer=quiet_worker)
    try:
        futures = {pool.submit(run_one, task, corpus): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def quiet_worker() -> None:
    """Leave Ctrl-C to the parent; compute as the command line does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def kept_record(task: Task) -> dict[str, Any] | None:
    """The record of a run that is done; UsageError where the folder has another plan's."""
    place = task.folder / "record.json"
    if not place.exists():
        return None
    if read_plan(task.folder) != task.plan:
        raise UsageError(f"{task.folder} is a run of another plan: name another --out")
    return json.loads(place.read_text(encoding="utf-8"))


def run_one(task: Task, corpus: Corpus) -> dict[str, Any]:
    """Train and score one run; a folder that was left unfinished is begun anew."""
    shutil.rmtree(task.folder, ignore_errors=True)
    summary = train_run(corpus, task.plan, task.folder)
    record = {"arm": task.arm, "factor": task.factor} | summary | times(task.folder)
    if task.is_trial:
        shutil.rmtree(task.folder / "checkpoints")
    else:
        record |= afterwards(task, corpus)
    replace_file(task.folder / "record.json", to_json(record))
    return record


def afterwards(task: Task, corpus: Corpus) -> dict[str, float]:
    """Scores of the final weights that training does not take: on what was trained on, by softmax.

    Training text: its last stretch, as long as the part that is scored.
    """
    run = open_run(task.folder)
    training, scored = task.plan.parts(corpus)
    seen = held_out(training[-len(scored) :], run.tokenizer, task.plan.context)
    found = {"training_nats": mean_nats(run.model, seen, task.plan.loss)}
    if task.plan.loss != "softmax":
        text = held_out(scored, run.tokenizer, task.plan.context)
        found["softmax_nats"], _ = softmax_nats(run.model, text, seen)
    return found


def times(folder: Path) -> dict[str, float]:
    """The median step, which a busy machine moves less than the mean."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [e["seconds"] for e in map(json.loads, lines) if e["event"] == "step"]
    return {"ms_per_step_median": round(1000 * float(torch.tensor(steps).median()), 3)}
