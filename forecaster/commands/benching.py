"""`forecaster bench`: run what was named, show each table as it is done, keep the rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from forecaster import bench as benches
from forecaster import display
from forecaster.atomic import commit_bytes
from forecaster.bench.clock import WARM_UP, time_case
from forecaster.bench.markets import Size
from forecaster.bench.page import page_of
from forecaster.bench.registry import SCALING
from forecaster.bench.results import machine, scaling_table
from forecaster.bench.whole import Point, extents, measured_alone
from forecaster.commands.arguments import Output
from forecaster.config import resolve
from forecaster.engine import one_thread
from forecaster.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Bench(Output):
    """Arguments of `forecaster bench`."""

    names: tuple[str, ...] = ()
    rounds: int = 5
    symbols: int = Size.symbols
    bars: int = Size.bars
    starts: int = Size.starts
    paths: int = Size.paths
    settings: tuple[str, ...] = ()
    out: Path | None = None
    page: Path | None = None


def bench(given: Bench) -> None:
    """Ratios of every bench named; UsageError for what is unknown or would be overwritten."""
    names = benches.chosen(given.names)
    for option, path in (("--out", given.out), ("--page", given.page)):
        if path is not None and path.exists():
            raise UsageError(f"{option} {path} exists; choose another")
    if given.page is not None and names != (SCALING,):
        raise UsageError("--page is drawn by the bench `scaling` alone: name that")
    if given.out is not None and SCALING in names and len(names) > 1:
        raise UsageError("--out holds rows of one kind: run `scaling` by itself")
    one_thread()
    size = Size(
        symbols=given.symbols,
        bars=given.bars,
        origins=min(Size.origins, given.bars // 4),
        paths=given.paths,
        starts=given.starts,
        learner=resolve(None, given.settings, {}).learner,
    )
    rows: list[benches.Row] = []
    points: list[Point] = []
    for name in names:
        if name == SCALING:
            points = scaling(given, size)
        else:
            rows += timed(given, name, size)
    keep(given, points or rows)
    given.result(machine() | {"rows": [asdict(row) for row in (*rows, *points)]})


def timed(given: Bench, name: str, size: Size) -> list[benches.Row]:
    """One bench, case by case."""
    rows = []
    for case in benches.BENCHES[name].cases(size):
        text = f"{name}: {case.label}"
        given.say(f"{text}, {given.rounds} rounds of {len(case.ways)} ways")
        every = WARM_UP + given.rounds
        with display.progress(every, "rounds", quiet=given.quiet, alone=False) as meter:
            rows += time_case(name, case, given.rounds, partial(meter.advance, 1, text))
    if not given.as_json:
        display.print_table(benches.bench_table(benches.BENCHES[name].about, rows))
    return rows


def scaling(given: Bench, size: Size) -> list[Point]:
    """Backtests that grow, one after another."""
    points, every = [], list(extents(size))
    with display.progress(len(every), "backtests", quiet=given.quiet, alone=False) as meter:
        for axis, extent in every:
            text = f"{extent.symbols} symbols, {extent.folds} folds, context {extent.context}"
            given.say(f"{axis}: {text}")
            points.append(measured_alone(axis, extent))
            meter.advance(1, text)
    if not given.as_json:
        display.print_table(scaling_table(points))
    return points


def keep(given: Bench, rows: Sequence[Any]) -> None:
    """The files that were asked for."""
    if given.out is not None:
        commit_bytes(given.out, benches.parquet_of(rows))
    if given.page is not None:
        commit_bytes(given.page, page_of(rows).encode())
