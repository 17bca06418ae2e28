"""`backbones bench`: run what was named, show each table as it is done, and keep the rows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..bench import BENCHES, Row, Settings, bench_table, chosen, write_rows
from ..bench.results import notes, plain, refuse_existing

WIDTH = 100  # columns where the output is no terminal


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRequest:
    """The options of `bench`."""

    names: tuple[str, ...]
    rounds: int
    threads: int
    out: Path | None
    data: Path
    tables: bool  # to show them, each as its bench is done


def listed() -> dict[str, str]:
    """Every bench, and what it compares; those that run when none is named have a star."""
    return {name + " *" * bench.quick: bench.about for name, bench in BENCHES.items()}


Meter = AbstractContextManager[Callable[[int, int], None]]  # told of rounds done, of all


def bench(
    request: BenchRequest, tell: Callable[[str], None], meter: Callable[[], Meter]
) -> dict[str, Any]:
    """All rows, as one object; `tell` hears what is being done, a `meter` how far a bench is.

    Raises UsageError for an unknown name or an --out that exists, UnequalError where two ways that
    should be equal are not.
    """
    names = chosen(request.names)
    if request.out is not None:
        refuse_existing(request.out)
    torch.set_num_threads(request.threads)
    rows: list[Row] = []
    for name in names:
        with meter() as on_round:  # gone before a table is shown
            how = Settings(rounds=request.rounds, data=request.data, tell=tell, on_round=on_round)
            found = BENCHES[name].rows(name, how)
        rows += found
        if request.tables:
            show(name, found)
    if request.out is not None:
        write_rows(request.out, rows)
    about = {"torch": torch.__version__, "threads": request.threads, "rounds": request.rounds}
    return about | {"rows": [plain(row) for row in rows]}


def show(name: str, rows: Sequence[Row]) -> None:
    """A table on stdout."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=WIDTH)
    console.print(bench_table(BENCHES[name].about, rows))
    for line in notes(rows):
        console.print(line, soft_wrap=True)
