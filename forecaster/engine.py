"""Independent tasks, one after the other or over processes. Results do not depend on which."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_all(
    tasks: Sequence[Task], work: Callable[[Task], Result], jobs: int
) -> Iterator[tuple[Task, Result]]:
    """(task, result) as they finish. The first failure stops the rest and is raised.

    Processes are spawned, never forked (a fork after torch used threads can hang), and use one
    thread each: on small models two threads on a busy machine are many times slower than one.
    """
    one_thread()
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, work(task)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, initializer=_quiet_worker)
    try:
        futures = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def one_thread() -> None:
    """One thread a process for this one, and by inheritance for those that it starts."""
    for name in THREADS:
        os.environ.setdefault(name, "1")


def _quiet_worker() -> None:
    """Leave Ctrl-C to the parent, which keeps what is finished and says how to go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
