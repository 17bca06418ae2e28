"""Fold by fold, model by model: fit, forecast, then score. Resumable at every (fold, model) cell.

The order is the point: the forecast table is finished before the truth is looked up.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from forecaster import frames, scores
from forecaster.atomic import commit_bytes
from forecaster.bars import Panel
from forecaster.config import RunConfig
from forecaster.engine import Engine
from forecaster.errors import CheckpointError, DataError, StorageError
from forecaster.folds import FEWEST_PAST, Fold, Schedule, walk_forward
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder
from forecaster.vault import guarded

FEWEST_ENDED = 20  # returns of the longest horizon that must have ended by then


@dataclass(frozen=True, eq=False)
class Cell:
    """One fold of one model: the unit that is computed, kept, and skipped when it is there."""

    fold: Fold
    forecaster: Forecaster

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"fold-{self.fold.index:03d}.{self.forecaster.name}"


@dataclass(frozen=True, eq=False)
class CellResult:
    """What one cell gave."""

    name: str
    predictions: pa.Table
    scores: pa.Table
    record: dict[str, Any]  # model, fold, seconds of fit and forecast, notes


@dataclass(frozen=True, eq=False)
class Plan:
    """What a backtest will do: everything known before the first fit."""

    config: RunConfig
    panel: Panel
    run_id: str
    folds: tuple[Fold, ...]
    forecasters: tuple[Forecaster, ...]

    @property
    def cells(self) -> list[Cell]:
        """Later models first: learners take longest, and a long last cell leaves cores idle."""
        return [Cell(fold, each) for each in reversed(self.forecasters) for fold in self.folds]


def plan(
    config: RunConfig, panel: Panel, forecasters: Sequence[Forecaster], data_digest: str
) -> Plan:
    """Folds and cells. Raises DataError where the bars do not suffice, UsageError for a vault."""
    panel, test_from = guarded(
        panel, config.vault, np.datetime64(config.test_from, "us"), config.test_until
    )
    if config.test_until is not None:
        panel = panel.until(np.datetime64(config.test_until) + np.timedelta64(1, "D"))
    # A fitted shape needs some returns of the longest horizon, a network a whole context.
    wanted = max(FEWEST_PAST, max(config.horizons) + FEWEST_ENDED, config.learner.context)
    schedule = Schedule(
        test_from=test_from,
        refit_every=config.refit_every,
        fewest_past=wanted,
    )
    folds = walk_forward(panel, schedule)
    _refuse_without_truth(panel, folds, max(config.horizons))
    return Plan(
        config, panel, f"{config.digest[:12]}-{data_digest[:12]}", tuple(folds), tuple(forecasters)
    )


def _refuse_without_truth(panel: Panel, folds: Sequence[Fold], horizon: int) -> None:
    """DataError where no forecast of the longest horizon can be scored; its horizon and numbers."""
    lengths, ahead = np.array([len(bars) for bars in panel]), 0
    for fold in folds:
        origins = fold.origins(panel)
        ahead = max(ahead, int((lengths[origins.member] - 1 - origins.bar).max()))
    if ahead < horizon:
        raise DataError(
            f"horizon {horizon}: at most {ahead} bars follow the first origin, so"
            " none can be scored; test from an earlier day or ask for a shorter horizon"
        )


def run_cell(panel: Panel, horizons: tuple[int, ...], run_id: str, cell: Cell) -> CellResult:
    """Fit on the fold's history, forecast from what was known, and only then score."""
    began = time.perf_counter()
    fitted = cell.forecaster.fit(cell.fold.history(panel), horizons)
    fit_seconds = time.perf_counter() - began
    origins, past = cell.fold.origins(panel), cell.fold.past(panel)
    began = time.perf_counter()
    distribution = fitted.forecast(past, origins, horizons)
    forecast_seconds = time.perf_counter() - began
    # The labels of later sessions come from the calendar: they tell nothing of prices.
    keys = scores.question(panel, origins, horizons)
    provenance = frames.Provenance(run_id, cell.fold.index, panel.interval)
    table = frames.forecast_table(keys, distribution, cell.forecaster.name, provenance)
    y, _ = scores.truth(panel, origins, horizons)
    return CellResult(
        name=cell.name,
        predictions=scores.with_truth(table, panel),
        scores=scores.score(keys, distribution, y, cell.forecaster.name, cell.fold.index),
        record={
            "model": cell.forecaster.name,
            "fold": cell.fold.index,
            "run_id": run_id,
            "fit_seconds": round(fit_seconds, 3),
            "forecast_seconds": round(forecast_seconds, 3),
            "notes": list(fitted.notes),
        },
    )


def execute(
    plan: Plan, run: RunFolder, engine: Engine, on_cell: Callable[[Cell], None] | None = None
) -> None:
    """Every missing cell, kept as it is finished; then one deterministic merge."""
    cells = plan.cells
    kept = {cell.name for cell in cells if _kept(run, cell, plan.run_id)}
    missing = [cell for cell in cells if cell.name not in kept]
    for cell in cells:
        if on_cell and cell.name in kept:
            on_cell(cell)
    work = partial(run_cell, plan.panel, plan.config.horizons, plan.run_id)
    for cell, result in engine.run(missing, work):
        _keep(run, result)
        if on_cell:
            on_cell(cell)
    merge(plan, run)


def merge(plan: Plan, run: RunFolder) -> None:
    """predictions.parquet and scores.parquet from the cells, whatever finished first."""
    about = {"run_id": plan.run_id, "horizons": list(plan.config.horizons), "unit": "log return"}
    for name, schema in (("predictions", frames.PREDICTIONS), ("scores", frames.SCORES)):
        paths = [run.path / "folds" / f"{cell.name}.{name}.parquet" for cell in plan.cells]
        table = frames.merge([frames.read(path, schema) for path in paths])
        commit_bytes(run.path / f"{name}.parquet", frames.to_parquet_bytes(table, about))


def records(plan: Plan, run: RunFolder) -> list[dict[str, Any]]:
    """The cells' own accounts."""
    return [run.read_json(f"folds/{cell.name}.json") for cell in plan.cells]


def _keep(run: RunFolder, result: CellResult) -> None:
    """Tables first, the record last: a cell is there when its record is."""
    folder = run.path / "folds"
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, table in (("predictions", result.predictions), ("scores", result.scores)):
        data = frames.to_parquet_bytes(table, {})
        digests[name] = commit_bytes(folder / f"{result.name}.{name}.parquet", data)
    run.write_json(f"folds/{result.name}.json", result.record | {"sha256": digests})


def _kept(run: RunFolder, cell: Cell, run_id: str) -> bool:
    """Whether the cell is complete; StorageError where its files are not what was written.

    Raises CheckpointError for a cell of another config or of other bars.
    """
    if not (run.path / "folds" / f"{cell.name}.json").exists():
        return False
    record = run.read_json(f"folds/{cell.name}.json")
    if record["run_id"] != run_id:
        raise CheckpointError(
            f"{run.path}/folds/{cell.name} is of run {record['run_id']}, not of {run_id}:"
            " start a new run"
        )
    digests = record["sha256"]
    for name, digest in digests.items():
        path = run.path / "folds" / f"{cell.name}.{name}.parquet"
        if not path.exists() or sha256(path.read_bytes()).hexdigest() != digest:
            raise StorageError(f"{path} is not what was written; delete it and its .json, resume")
    return True
