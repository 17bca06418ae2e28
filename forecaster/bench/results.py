"""Rows of a bench as a table in a terminal, and as a parquet file."""

import io
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from forecaster.bench.clock import Row
from forecaster.bench.whole import Point


def bench_table(about: str, rows: Sequence[Row]) -> Table:
    """Every way beside the first of its case."""
    table = Table(title=f"{rows[0].bench}: {about}", title_justify="left")
    table.caption_justify = "left"
    table.caption = (
        f"ms: CPU's, or the wall's where said; medians of {rows[0].rounds} shuffled rounds, one"
        " more to warm up. Ratio: within a round, to the first way; brackets: 95 % by bootstrap"
    )
    table.add_column("case")
    table.add_column("way")
    for name in ("ms", "ratio", "work", "a second", "MiB"):
        table.add_column(name, justify="right")
    for before, row in zip((None, *rows), rows, strict=False):
        if before is not None and before.case != row.case:
            table.add_section()
        table.add_row(*map(Text, cells(row)))
    return table


def cells(row: Row) -> tuple[str, ...]:
    """One row in words."""
    first = row.way == row.against
    ratio = "1" if first else f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
    return (
        row.case,
        row.way,
        f"{row.ms:,.0f}" + " wall" * (row.clock == "wall"),
        ratio,
        f"{row.work:,.0f} {row.unit}",
        f"{row.per_second:,.0f}" if row.per_second >= 100 else f"{row.per_second:.2f}",
        "" if row.peak_mb is None else f"{row.peak_mb:,.0f}",
    )


def scaling_table(points: Sequence[Point]) -> Table:
    """A line a backtest."""
    table = Table(title="scaling: whole backtests, one process each", title_justify="left")
    for name in ("axis", "symbols", "folds", "context", "CPU s", "wall s", "MiB", "largest stage"):
        table.add_column(name, justify="left" if name in {"axis", "largest stage"} else "right")
    for before, point in zip((None, *points), points, strict=False):
        if before is not None and before.axis != point.axis:
            table.add_section()
        table.add_row(*point_cells(point))
    return table


def point_cells(point: Point) -> tuple[str, ...]:
    """One point in words."""
    return (
        point.axis,
        f"{point.symbols:,}",
        f"{point.folds:,}",
        f"{point.context:,}",
        f"{point.cpu_seconds:,.1f}",
        f"{point.wall_seconds:,.1f}",
        f"{point.peak_mb:,.0f}",
        point.largest_stage,
    )


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    return {"python": platform.python_version(), "platform": platform.platform()}


def to_parquet(rows: Sequence[Row] | Sequence[Point]) -> bytes:
    """A row a row; the machine is in the file's metadata."""
    records: list[dict[str, Any]] = [asdict(row) for row in rows]
    table = pa.Table.from_pylist(records).replace_schema_metadata(machine())
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
