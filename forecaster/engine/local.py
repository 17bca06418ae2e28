"""Processes of this machine. One that dies costs what it was at, nothing else."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from forecaster.engine.lines import Lines
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
        self,
        tasks: Sequence[Task],
        work: Callable[[Task], Result],
        alike: Callable[[Task], Hashable] | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """As `Engine.run`. Raises ForecasterError where processes die again and again."""
        one_thread()
        if self.jobs == 1 or len(tasks) < 2:
            for task in tasks:
                # Libraries were loaded before: the environment comes too late for their threads,
                # which cost more than they do in searches over a few numbers.
                with threadpool_limits(1, user_api="blas"):
                    result = work(task)
                yield task, result
            return
        for number, result in _pooled(tasks, Lines(tasks, alike), work, self.jobs):
            yield tasks[number], result


def _pooled(
    tasks: Sequence[Task], lines: Lines, work: Callable[[Task], Result], jobs: int
) -> Iterator[tuple[int, Result]]:
    """(number, result) of tasks, from processes that live as long as all of them do."""
    processes = {i: _process(work) for i in range(min(jobs, len(tasks)))}
    at: dict[Future[Result], tuple[int, int]] = {}  # (process, number) of what is being done
    deaths, left = 0, len(tasks)
    try:
        while left:
            free = processes.keys() - {i for i, _ in at.values()}
            given = [(i, lines.next(i)) for i in sorted(free)]
            at |= {processes[i].submit(_do, tasks[n]): (i, n) for i, n in given if n is not None}
            for future in wait(at, return_when=FIRST_COMPLETED).done:
                # Taken out: a future that is kept keeps its result, a table or two.
                process, number = at.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    deaths += 1
                    if deaths == MOST_DEATHS:
                        raise ForecasterError(
                            f"a process was killed {deaths} times in a row, out of memory perhaps:"
                            f" {left} of {len(tasks)} cells are left; resume with fewer --jobs"
                        ) from None
                    processes[process].shutdown(wait=False)
                    processes[process] = _process(work)
                    lines.back(number)
                    continue
                deaths, left = 0, left - 1
                del future
                yield number, result
    finally:
        for each in processes.values():
            each.shutdown(wait=False, cancel_futures=True)


def _process(work: Callable[[Any], Any]) -> ProcessPoolExecutor:
    """One process that begins with the work."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=_begin, initargs=(work,))


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
