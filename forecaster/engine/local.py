"""Processes of this machine. One that dies costs what it was at, nothing else."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from forecaster.errors import ForecasterError

Task = TypeVar("Task")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST_DEATHS = 3  # of processes in a row, no task finished between them
_WORK: list[Callable[[Any], Any]] = []  # of a worker: what it was started for


@dataclass(frozen=True)
class Local:
    """At most `jobs` processes; with one, or one task, the work is done in this one.

    Processes are spawned, never forked (a fork after torch used threads can hang), and use one
    thread each: on small models two threads on a busy machine are many times slower than one.
    """

    jobs: int

    def __str__(self) -> str:
        return f"{self.jobs} process{'es' * (self.jobs > 1)}"

    def run(
        self, tasks: Sequence[Task], work: Callable[[Task], Result]
    ) -> Iterator[tuple[Task, Result]]:
        """As `Engine.run`. Raises ForecasterError where processes die again and again."""
        one_thread()
        if self.jobs == 1 or len(tasks) < 2:
            for task in tasks:
                yield task, work(task)
            return
        left, deaths = dict(enumerate(tasks)), 0
        while left:
            try:
                for number, result in self._pooled(left, work):
                    deaths = 0
                    yield left.pop(number), result
            except BrokenProcessPool:
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise ForecasterError(
                        f"a process was killed {deaths} times in a row, out of memory perhaps:"
                        f" {len(left)} of {len(tasks)} cells are left; resume with fewer --jobs"
                    ) from None

    def _pooled(
        self, left: dict[int, Task], work: Callable[[Task], Result]
    ) -> Iterator[tuple[int, Result]]:
        """(number, result) of tasks, from processes that live as long as all of them do."""
        context = multiprocessing.get_context("spawn")
        count = min(self.jobs, len(left))
        pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(work,))
        try:
            futures = {pool.submit(_do, task): number for number, task in left.items()}
            for future in as_completed(futures):
                # Its number is taken out: a future that is kept keeps its result, a table or two.
                yield futures.pop(future), future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def one_thread() -> None:
    """One thread a process for this one, and by inheritance for those that it starts."""
    for name in THREADS:
        os.environ.setdefault(name, "1")


def _begin(work: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the parent, which keeps what is finished and says how to go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _WORK[:] = [work]


def _do(task: Any) -> Any:
    return _WORK[0](task)
