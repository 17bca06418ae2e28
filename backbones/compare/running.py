"""Run a study in a folder: tune, train, score; what is done there already is not run again."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint import differences
from ..errors import BackbonesError, CorpusError, UsageError
from ..freed import keep_freed_memory
from ..language.folder import sigterm_raised
from ..storage import replace_file
from ..text.corpora import Corpus
from .arms import Arm, arms_of
from .study import STUDY_FILE, Study, read_study
from .tasks import Done, Task, carry_out, finished, run_task
from .tuning import best_factors, final_tasks, trial_tasks

OnRun = Callable[[Done, bool], None]  # the bool: whether it was done already


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """A study that is done; the first arm is the reference."""

    study: Study
    arms: tuple[Arm, ...]
    trials: tuple[Done, ...]  # short ones; none where nothing was tuned
    finals: tuple[Done, ...]  # of the best rates of the trials, with all the steps
    runs: tuple[Done, ...]  # seed by seed


def run_study(
    study: Study, corpus: Corpus, out: Path, *, jobs: int = 1, on_run: OnRun | None = None
) -> Results:
    """All runs of a study; begun in a new folder, or gone on with where `out` holds its beginning.

    `jobs` processes of one thread each; one is this process, as its threads are set. The results
    are the same. Raises UsageError where `out` holds another study, CorpusError where the corpus
    is not the study's, DivergedError for an arm that cannot be trained. KeyboardInterrupt, by
    Ctrl-C or SIGTERM, leaves what is done.
    """
    if corpus.sha256 != study.corpus_sha256:
        raise CorpusError(
            f"corpus {corpus.name!r} has sha256 {corpus.sha256[:12]}..., the study was planned on "
            f"{study.corpus!r} with {study.corpus_sha256[:12]}..."
        )
    arms = arms_of(study, corpus)
    refuse_other_study(out, study)
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / STUDY_FILE, study.to_json().encode())
    with sigterm_raised():
        trials = execute(trial_tasks(study, arms, out), corpus, jobs, on_run)
        finals: list[Done] = []
        while tasks := final_tasks(study, arms, trials, finals, out):
            finals += execute(tasks, corpus, jobs, on_run)
        factors = {arm.name: study.rates[0] for arm in arms}
        factors |= best_factors(finals or trials)
        runs = execute(run_tasks(study, arms, factors, out), corpus, jobs, on_run)
    return Results(
        study=study,
        arms=tuple(arms),
        trials=tuple(trials),
        finals=tuple(finals),
        runs=tuple(runs),
    )


def refuse_other_study(out: Path, study: Study) -> None:
    """UsageError that names every field in which `out` holds another study."""
    if not (out / STUDY_FILE).exists():
        return
    there, here = (each.model_dump(mode="json") for each in (read_study(out), study))
    odd = differences(there, here)
    if odd:
        raise UsageError(f"{out} holds another study: {odd}; name another --out")


def run_tasks(
    study: Study, arms: Sequence[Arm], factors: dict[str, float], out: Path
) -> list[Task]:
    """Every arm at every seed, seed by seed: what slows the machine slows all arms."""
    seeds = range(1, study.seeds + 1)
    return [run_task(arm, seed, factors[arm.name], out) for seed in seeds for arm in arms]


def execute(tasks: Sequence[Task], corpus: Corpus, jobs: int, on_run: OnRun | None) -> list[Done]:
    """All tasks done, in their order."""
    done: dict[Path, Done] = {}
    missing: list[Task] = []
    for task in tasks:
        before = finished(task)
        if before is None:
            missing.append(task)
            continue
        done[task.folder] = before
        if on_run:
            on_run(before, True)
    for each in as_they_end(missing, corpus, jobs):
        done[each.task.folder] = each
        if on_run:
            on_run(each, False)
    return [done[task.folder] for task in tasks]


def as_they_end(tasks: Sequence[Task], corpus: Corpus, jobs: int) -> Iterator[Done]:
    """Tasks done here one after another, or by processes, which end with this one."""
    if jobs == 1 or len(tasks) < 2:
        yield from (carry_out(task, corpus) for task in tasks)
        return
    # Spawned, never forked: a fork after torch used threads can hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, initializer=prepare_worker)
    try:
        futures = [pool.submit(in_worker, task, corpus) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            told = "a process was killed, perhaps for memory: go on with fewer --jobs"
            raise BackbonesError(told) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def prepare_worker() -> None:
    """Leave Ctrl-C to the parent; compute as the command line does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def in_worker(task: Task, corpus: Corpus) -> Done:
    """`carry_out`, by a process that is gone as soon as it is told to."""
    try:
        return carry_out(task, corpus)
    except KeyboardInterrupt:  # SIGTERM, once the run's status says so
        os._exit(128 + signal.SIGTERM)
