"""Independent tasks, here or on other machines. Results do not depend on where they are made."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Protocol, TypeVar

from forecaster.engine.cluster import Cluster
from forecaster.engine.local import Local, one_thread

Task = TypeVar("Task")
Result = TypeVar("Result")

__all__ = ["Cluster", "Engine", "Local", "one_thread"]


class Engine(Protocol):
    """What works through tasks; `str` of it says where, in words."""

    def run(
        self,
        tasks: Sequence[Task],
        work: Callable[[Task], Result],
        alike: Callable[[Task], Hashable] | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """(task, result) as they finish. The first failure stops the rest and is raised.

        `work` and tasks must be picklable; `work` is sent once to a process, not once a task.
        Tasks of one key of `alike` share work: they are done by one process where that can be.
        """
        ...
