"""What people see in a terminal: tables on stdout, progress on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from forecaster.errors import printable

MOST_NAMES = 12  # in a line


def print_predictions(rows: Sequence[dict[str, Any]]) -> None:
    """Quantiles of the log return in per cent, a line a symbol and horizon."""
    levels = ("0.05", "0.2", "0.5", "0.8", "0.95")
    table = Table(title="log return from the cutoff's close [%]", title_justify="left")
    for name in ("symbol", "cutoff", "h", "ds", *levels):
        table.add_column(name, justify="right")
    for row in rows:
        days = [f"{row[name]:%Y-%m-%d}" for name in ("cutoff", "ds")]
        values = [f"{100 * row[level]:+.2f}" for level in levels]
        table.add_row(Text(row["unique_id"]), days[0], str(row["h"]), days[1], *values)
    stdout().print(table)


def print_record(record: dict[str, Any], indent: str = "") -> None:
    """A record as `key: value` lines."""
    for key, value in record.items():
        if isinstance(value, dict):
            print_line(f"{indent}{key}:")
            print_record(value, indent + "  ")
        else:
            print_line(f"{indent}{key}: {value}")


def print_line(line: str) -> None:
    """One line on stdout."""
    stdout().print(printable(line), soft_wrap=True)


def print_table(table: Table) -> None:
    """A table of another module's, on stdout."""
    stdout().print(table)


def listed(names: Sequence[str]) -> str:
    """Names with commas; of very many the first, and how many more."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"


def p_value(p: float | None) -> str:
    """A p-value for people; None is a test that too few dates allowed."""
    if p is None:
        return "too few"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as JSON can say it."""
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


class PlainConsole(Console):
    """Lets a closed pipe be what it is: rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich while the BrokenPipeError is handled."""
        raise BrokenPipeError


def stdout() -> Console:
    """Plain text, no markup: names come from files. A hundred columns where it is no terminal."""
    width = None if sys.stdout.isatty() else 100
    return PlainConsole(highlight=False, markup=False, width=width)


class Meter:
    """How far a run is, on stderr: a moving bar in a terminal, a line every tenth elsewhere."""

    def __init__(self, bar: Progress, total: float, unit: str, told: tuple[bool, bool]) -> None:
        self.bar, self.unit, (self.quiet, self.lines) = bar, unit, told
        self.task = bar.add_task("starting", total=total, pace="")
        self.begin(total)

    def begin(self, total: float) -> None:
        """Another stage, from nothing on: its pace is its own."""
        self.total, self.done, self.count, self.tenths = total, 0.0, 0, 0
        self.began = time.monotonic()
        self.bar.reset(self.task, total=total)

    def advance(self, by: float, text: str, count: int = 1) -> None:
        """`by` of the total is done, which was `count` units; `text` says what they were."""
        self.done, self.count = self.done + by, self.count + count
        spent = time.monotonic() - self.began
        pace = rate(self.count, spent, self.unit)
        done = {"completed": self.done, "description": text, "pace": pace}
        self.bar.update(self.task, **done, refresh=not self.bar.live.auto_refresh)
        tenths = int(10 * self.done / self.total + 1e-9)
        if self.bar.disable and self.lines and not self.quiet and tenths > self.tenths:
            left = max(spent * (self.total / self.done - 1), 0.0)  # no -0
            say([f"{10 * tenths:3d} %  {text}  {spent:.0f} s, {pace}, about {left:.0f} s left"])
            self.tenths = tenths

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if not self.quiet:
            self.bar.console.print(printable(line), soft_wrap=True)


def rate(count: int, seconds: float, unit: str) -> str:
    """So many units a second, or a minute where they are fewer."""
    pace = count / max(seconds, 1e-3)
    return f"{pace:.1f} {unit}/s" if pace >= 1 else f"{60 * pace:.1f} {unit}/min"


@contextmanager
def progress(
    total: float, unit: str, *, quiet: bool, lines: bool = True, alone: bool = True
) -> Iterator[Meter]:
    """A meter of `total`, of any measure, in which `unit` counts what is done one by one.

    `lines`: whether tenths are told where it is no terminal. Not `alone`: beside work that is
    timed, so that nothing is drawn but when something is done, and no tenths are told.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[pace]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    hidden = quiet or not console.is_terminal
    with Progress(
        *columns, console=console, disable=hidden, transient=True, auto_refresh=alone
    ) as bar:
        yield Meter(bar, total, unit, (quiet, lines and alone))


def say(lines: Sequence[str]) -> None:
    """Lines for people, on stderr."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(printable(line))
