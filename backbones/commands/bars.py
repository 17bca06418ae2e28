"""Progress on stderr: a bar with its pace and the time left, at a terminal and not under -q."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..train import StepReport


@contextmanager
def progress(steps: int) -> "Generator[Callable[[StepReport], None]]":
    """What to call after each step: a line under -v, else a bar on a terminal, else nothing."""
    asked = click.get_current_context().obj
    if asked["verbose"]:
        yield lambda r: click.echo(
            f"step {r.step}/{steps} loss {r.loss:.4f} lr {r.lr:.2e} norm {r.grad_norm:.2f} "
            f"{1000 * r.seconds:.0f} ms",
            err=True,
        )
        return
    with bar("training", "steps") as update:
        yield lambda r: update(r.step, steps, f"loss {r.loss:.3f}")


@contextmanager
def bar(
    text: str, unit: str, *, still: bool = False
) -> "Generator[Callable[[int, int, str], None]]":
    """A bar with pace and time left on a terminal, else nothing. What to call: done, of, text.

    Fewer done than before is the beginning of the next thing. `still`: drawn when it is told
    something, and at no other time.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    console = Console(stderr=True)
    hidden = click.get_current_context().obj["quiet"] or not console.is_terminal
    shown = TextColumn("{task.description}", markup=False), BarColumn()
    pace = TextColumn("{task.percentage:>3.0f} %  {task.fields[pace]}", markup=False)
    columns = *shown, pace, TimeElapsedColumn(), TextColumn("left"), Left()
    with Progress(
        *columns, console=console, disable=hidden, transient=True, auto_refresh=not still
    ) as progress:
        task = progress.add_task(text, total=None, pace="")
        began = told_at = time.monotonic()
        first = last = -1

        def update(done: int, of: int, text: str) -> None:
            nonlocal began, told_at, first, last
            if first < 0 or done < last:
                first = done - 1  # what was there before says nothing of the pace
                began = told_at
                progress.reset(task)
            last, told_at = done, time.monotonic()
            rate = (done - first) / max(told_at - began, 1e-3)
            told = f"{rate:.1f} {unit}/s"
            progress.update(
                task, completed=done, total=of, description=text, pace=told, refresh=still
            )

        yield update


@contextmanager
def still(text: str, unit: str) -> "Generator[Callable[[int, int], None]]":
    """A bar as above beside something that is timed: no thread of its own moves it."""
    with bar(text, unit, still=True) as update:
        yield lambda done, of: update(done, of, text)


@contextmanager
def counting(text: str, unit: str) -> "Generator[Callable[[int, int], None]]":
    """A bar as above, told of how many there are, and how many more are done."""
    with bar(text, unit) as update:
        done = 0

        def count(of: int, more: int) -> None:
            nonlocal done
            done += more
            update(done, of, text)

        yield count
