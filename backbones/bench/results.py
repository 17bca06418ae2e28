"""Rows of a bench as a table in a terminal, and as a parquet file."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import torch
from rich.table import Table
from rich.text import Text

from ..errors import UsageError
from ..storage import replace_file
from .cases import Row
from .race import BAR

Column = Callable[[Row], str]


def bench_table(about: str, rows: Sequence[Row]) -> Table:
    """One bench's rows, with the columns that it measures."""
    table = Table(title=f"{rows[0].bench}: {about}", title_justify="left")
    shown = {name: column for name, column in COLUMNS.items() if any(map(column, rows))}
    for name in shown:
        table.add_column(name, justify="left" if name in {"case", "way"} else "right")
    for before, row in zip((None, *rows), rows, strict=False):
        if before is not None and before.case != row.case:
            table.add_section()
        table.add_row(*(Text(column(row)) for column in shown.values()))
    return table


def notes(rows: Sequence[Row]) -> list[str]:
    """What the numbers of a table are, a line a kind."""
    first = rows[0]
    lines = []
    if first.ms is not None:
        lines.append(
            f"ms ({first.clock} time), ratio: medians of {first.rounds} shuffled rounds on "
            f"{first.threads} thread(s); a ratio"
        )
        lines.append(
            "is taken within a round, to the first way of the case; brackets: 95 % by bootstrap"
        )
    if first.seconds is not None:
        lines.append(f"seconds: in steps, on {first.threads} thread(s), evaluations not counted")
        lines.append(f"ratio: of seconds, to {first.against}; brackets: the range over seeds")
        lines.append(f"reached: {BAR} nats a character or less, over the whole validation part")
    if any(row.warm_up is not None for row in rows):
        lines.append("warm-up: seconds of compiling, on the wall; break-even: the steps that win")
        lines.append("them back, nothing where a step is no faster")
    if first.peak_mb is not None:
        lines.append("MB: most held at once by a run, beyond inputs and weights (2^20 bytes)")
    if first.check == "outputs":
        worst = max(row.difference or 0.0 for row in rows)
        limit = max(row.limit or 0.0 for row in rows)
        lines.append(
            f"equal first: at most {worst:.0e} of the largest value apart, {limit:.0e} is allowed"
        )
    return lines


def ratio(row: Row) -> str:
    """With its interval, but for the way that it is taken to."""
    if row.ratio is None or row.way == row.against:
        return "" if row.ratio is None else "1"
    spread = row.ratio_low is not None and row.ratio_high is not None
    return f"{row.ratio:.3f}" + (f" [{row.ratio_low:.3f}, {row.ratio_high:.3f}]" if spread else "")


def shown(value: float | None, form: str) -> str:
    """The number in that form, or nothing."""
    return "" if value is None else format(value, form)


COLUMNS: dict[str, Column] = {
    "case": lambda row: row.case,
    "way": lambda row: row.way,
    "ms": lambda row: shown(row.ms, ".3g" if (row.ms or 0) < 100 else ".0f"),
    "steps": lambda row: shown(row.steps, ",d"),
    "seconds": lambda row: shown(row.seconds, ".1f"),
    "CPU s": lambda row: shown(row.cpu_seconds, ".1f"),
    "nats": lambda row: shown(row.nats, ".4f"),
    "reached": lambda row: "" if row.reached is None else ("yes" if row.reached else "no"),
    "ratio": ratio,
    "CPU ratio": lambda row: shown(row.cpu_ratio, ".3f"),
    "warm-up s": lambda row: shown(row.warm_up, ".1f"),
    "break-even steps": lambda row: shown(row.break_even, ",d"),
    "MB": lambda row: shown(row.peak_mb, ".1f"),
    "parameters": lambda row: shown(row.parameters, ",d"),
    "cached bytes": lambda row: shown(row.cached_bytes, ",d"),
}


def refuse_existing(path: Path) -> None:
    """UsageError where something stands at `path`."""
    if path.exists():
        raise UsageError(f"--out {path} exists: name another file")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A parquet file, a row a row; UsageError where there is one, StorageError from the disk."""
    import pyarrow as pa
    from pyarrow import parquet

    refuse_existing(path)
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(Row)}
    about = {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
    table = pa.table(columns, schema=pa.schema(arrow_fields(), metadata=about))
    buffer = BytesIO()
    parquet.write_table(table, buffer)
    replace_file(path, buffer.getvalue())


def arrow_fields() -> list[tuple[str, Any]]:
    """Name and arrow type of each field of a row."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    hints = get_type_hints(Row)
    return [(f.name, types[inner(hints[f.name])]) for f in fields(Row)]


def inner(hint: Any) -> type:
    """X of `X | None`, or the type itself."""
    return next((kind for kind in get_args(hint) if kind is not NoneType), hint)


def plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it, without what was not measured."""
    return {name: value for name, value in asdict(row).items() if value is not None}
