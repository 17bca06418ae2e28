"""Whole backtests of made-up bars, each in a temporary folder: how they grow, and with how many
processes.
"""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from forecaster import backtest, stages, workflows
from forecaster.bench.clock import Case, Way, peak_mb
from forecaster.bench.markets import Size, market
from forecaster.config import RunConfig
from forecaster.engine import Local, one_thread
from forecaster.runs import RunFolder

REFIT_EVERY = 250  # bars: a fold
QUIET = workflows.Watch(lambda _: None, lambda *_: None)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a backtest is of."""

    symbols: int
    bars: int
    folds: int = 1
    context: int = 64
    baselines: tuple[str, ...] = ("all",)
    steps: int = 100  # of the one network


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One backtest, alone in a process: what it took. 2^20 bytes a MiB."""

    axis: str
    symbols: int
    folds: int
    context: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float  # of the whole process, interpreter and packages included
    largest_stage: str


def backtest_cases(size: Size) -> list[Case]:
    """N symbols and twice as many in one process; then one process and two."""
    few = Extent(symbols=size.symbols, bars=size.bars, steps=size.learner.steps or 100)
    many = replace(few, symbols=2 * size.symbols)

    def way(extent: Extent, jobs: int) -> Way:
        name = f"{extent.symbols} symbols, {jobs} process{'es' * (jobs > 1)}"
        return Way(name=name, run=lambda: run_backtest(extent, jobs), work=extent.symbols)

    return [
        Case(label="symbols", unit="symbols", ways=(way(few, 1), way(many, 1))),
        Case(label="processes", unit="symbols", ways=(way(few, 1), way(few, 2)), clock="wall"),
    ]


def run_backtest(extent: Extent, jobs: int) -> stages.Account:
    """Plan, compute, merge, summarise; CPU-seconds by stage."""
    panel = market(extent.symbols, extent.bars)
    first = panel.clock[-1 - extent.folds * REFIT_EVERY]
    config = RunConfig.model_validate(
        {
            "symbols": panel.symbols,
            "test_from": str(first.astype("datetime64[D]")),
            "refit_every": REFIT_EVERY,
            "baselines": extent.baselines,
            "learner": {"seeds": 1, "steps": extent.steps, "context": extent.context},
        }
    )
    plan = backtest.plan(config, panel, workflows.forecasters(config), "bench")
    with TemporaryDirectory() as folder, stages.account() as here:
        run = RunFolder.create(Path(folder) / "run", "backtest", config)
        workflows.run_backtest(plan, run, Local(jobs), QUIET)
        cells = [each["stages"] for each in backtest.records(plan, run)]
    return stages.added([here, *cells])


def extents(size: Size) -> Iterator[tuple[str, Extent]]:
    """Symbols, folds and context, each doubled twice, the others as they are."""
    base = Extent(symbols=size.symbols, bars=size.bars, steps=size.learner.steps or 100)
    for axis, first in (("symbols", size.symbols), ("folds", 1), ("context", base.context // 2)):
        for times in (1, 2, 4):
            yield axis, replace(base, **{axis: times * first})


def measured_alone(axis: str, extent: Extent) -> Point:
    """A backtest in a process of its own, so that its peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    one_thread()
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_measured, axis, extent).result()


def _measured(axis: str, extent: Extent) -> Point:
    run_backtest(replace(extent, symbols=1, folds=1), 1)  # imports, first calls
    cpu, wall = time.process_time(), time.perf_counter()
    spent = run_backtest(extent, 1)
    return Point(
        axis=axis,
        symbols=extent.symbols,
        folds=extent.folds,
        context=extent.context,
        cpu_seconds=time.process_time() - cpu,
        wall_seconds=time.perf_counter() - wall,
        peak_mb=peak_mb(),
        largest_stage=max(spent, key=lambda name: spent[name]),
    )
