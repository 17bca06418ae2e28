"""`backbones compare`: run what was asked, tell on stderr how it goes, show what was found."""

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..compare import (
    Arm,
    ReadyStudy,
    StudyRequest,
    arms_of,
    prepare_study,
    run_study,
    summarise,
)
from ..compare.arms import trial_plan
from ..compare.page import write_page
from ..compare.parquet import write_parquet
from ..compare.summary import to_plain
from ..compare.table import WIDTH, cost_table, score_table
from ..compare.tasks import Done
from .shared import tell


def planned(request: StudyRequest) -> dict[str, Any]:
    """What would be done, and nothing of it: folder, runs, steps, and each arm's size."""
    ready = prepare_study(request)
    arms = arms_of(ready.study, ready.corpus)
    reference = arms[0].parameters
    return {
        "folder": str(ready.folder),
        "trials": len(arms) * len(ready.study.rates) if ready.study.is_tuned else 0,
        "finals": len(arms) * ready.study.finals_an_arm,
        "runs": len(arms) * ready.study.seeds,
        "steps": sum(steps_of(ready, arms)),
    } | {
        arm.name: f"{arm.parameters:,} parameters ({100 * (arm.parameters / reference - 1):+.2f} "
        f"%), d_ffn {arm.plan.backbone.d_ffn}"
        for arm in arms
    }


def compare(request: StudyRequest, *, jobs: int, quiet: bool, tables: bool) -> dict[str, Any]:
    """Run, or go on with, the study; writes its files, and returns what `--json` shows."""
    ready = prepare_study(request)
    total = sum(steps_of(ready, arms_of(ready.study, ready.corpus)))
    with metered(total, ready.folder, quiet=quiet) as meter:
        results = run_study(
            ready.study, ready.corpus, ready.folder, jobs=jobs, on_run=meter.advance
        )
    files = [*write_parquet(results, ready.folder), write_page(results, ready.folder)]
    arms = summarise(results)
    if tables:
        console = Console(
            highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH
        )
        console.print(score_table(results.study, arms), cost_table(results.study, arms))
        for file in files:
            console.print(str(file), soft_wrap=True)
    return {
        "study": results.study.model_dump(mode="json"),
        "arms": [to_plain(arm) for arm in arms],
        "files": [str(file) for file in files],
    }


def steps_of(ready: ReadyStudy, arms: Sequence[Arm]) -> tuple[int, int]:
    """Training steps of all trials, short ones, and of all that have every step."""
    study = ready.study
    trials = 0
    if study.is_tuned:
        short = (trial_plan(arm, study.rates[0], study).train.steps for arm in arms)
        trials = len(study.rates) * sum(short)
    whole = study.finals_an_arm + study.seeds
    return trials, whole * sum(arm.plan.train.steps for arm in arms)


@contextmanager
def metered(total: int, folder: Path, *, quiet: bool) -> Generator["Meter"]:
    """How far a study is, on stderr; when it is stopped, how to go on with it."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn()
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        try:
            yield Meter(bar, total)
        except KeyboardInterrupt:
            bar.stop()
            tell(f"to go on: backbones compare --resume {folder}")
            raise


class Meter:
    """A bar in a terminal, a line a run elsewhere."""

    def __init__(self, bar: Progress, total: int) -> None:
        self.bar, self.total = bar, total  # in training steps of all runs
        self.task = bar.add_task("starting", total=total)
        self.done, self.new, self.began = 0, 0, time.monotonic()

    def advance(self, run: Done, kept: bool) -> None:
        """One more run is there; `kept`: from before, so that it says nothing of the pace."""
        steps = run.task.plan.train.steps
        self.done += steps
        self.new += 0 if kept else steps
        score = "diverged" if run.nats is None else f"{run.nats:.4f} nats"
        line = f"{run.task.folder.name}: {score}{', from before' if kept else ''}{self.pace()}"
        self.bar.update(self.task, completed=self.done, description=line)
        if self.bar.disable:
            tell(f"{min(100, 100 * self.done / self.total):3.0f} %  {line}")

    def pace(self) -> str:
        """Steps a second and the time left, once there is one."""
        spent = time.monotonic() - self.began
        if not self.new or not spent:
            return ""
        rate = self.new / spent
        left = max(0, self.total - self.done) / rate
        return f"; {rate:.1f} steps/s, about {left:.0f} s left"
