"""Who does which task next, so that tasks which share work meet in one process.

Tasks that are alike stand in one line (the models of a fold: several ask for the same fits, which a
process keeps). A process stays with its line, then takes one that nobody is at, then helps from the
far end of the longest.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Task = TypeVar("Task")


class Lines:
    """Numbers of tasks that wait; processes are numbered, too."""

    def __init__(
        self, tasks: Sequence[Task], alike: Callable[[Task], Hashable] | None = None
    ) -> None:
        """Without `alike` no task is like another, and they are done in order."""
        self._key = {
            number: number if alike is None else alike(task) for number, task in enumerate(tasks)
        }
        self._waiting: dict[Hashable, deque[int]] = {}
        for number, key in self._key.items():
            self._waiting.setdefault(key, deque()).append(number)
        self._at: dict[int, Hashable] = {}  # the line of each process

    def next(self, process: int) -> int | None:
        """The number of the task that a process does now; None where none waits."""
        waiting = {key: line for key, line in self._waiting.items() if line}
        if not waiting:
            return None
        key = self._at.get(process)
        if key in waiting:
            return waiting[key].popleft()
        taken = {at for other, at in self._at.items() if other != process}
        free = [each for each in waiting if each not in taken]
        if free:
            self._at[process] = free[0]
            return waiting[free[0]].popleft()
        return max(waiting.values(), key=len).pop()

    def back(self, number: int) -> None:
        """A task was not finished: it is first in its line again."""
        self._waiting[self._key[number]].appendleft(number)
