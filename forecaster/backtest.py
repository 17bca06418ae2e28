"""Fold by fold, model by model: fit, forecast, then score. Resumable at every (fold, model) cell.

The order is the point: the forecast table is finished before the truth is looked up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from forecaster import frames
from forecaster.atomic import commit_chunks
from forecaster.bars import Panel
from forecaster.cells import Cell, keep, kept, packed, run_cell
from forecaster.config import RunConfig
from forecaster.engine import Engine
from forecaster.errors import DataError
from forecaster.folds import FEWEST_PAST, Fold, Schedule, walk_forward
from forecaster.parquet_chunks import parquet_chunks
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder
from forecaster.stages import stage
from forecaster.vault import guarded

SCHEMAS = {"predictions": frames.PREDICTIONS, "scores": frames.SCORES}
FEWEST_ENDED = 20  # returns of the longest horizon that must have ended by then


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
        """Fold by fold, for its models ask for the same fits; in a fold later models first.

        Learners take longest, and a long last cell leaves cores idle. Candle paths are of the last
        fold alone, for heads that draw whole bars cost a training.
        """
        seeds = [None] * (len(self.folds) - 1) + [self.config.seed]
        folds = zip(self.folds, seeds, strict=True)
        return [Cell(fold, each, s) for fold, s in folds for each in reversed(self.forecasters)]


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


def execute(
    plan: Plan, run: RunFolder, engine: Engine, on_cell: Callable[[Cell], None] | None = None
) -> None:
    """Every missing cell, kept as it is finished; then one deterministic merge."""
    cells = plan.cells
    done = {cell.name for cell in cells if kept(run, cell, plan.run_id)}
    missing = [cell for cell in cells if cell.name not in done]
    for cell in cells:
        if on_cell and cell.name in done:
            on_cell(cell)
    cell_of = partial(run_cell, plan.panel, plan.config.horizons, plan.run_id)
    for cell, result in engine.run(
        missing, partial(packed, cell_of), alike=lambda cell: cell.fold.index
    ):
        with stage("writing"):
            keep(run, result)
        if on_cell:
            on_cell(cell)
    with stage("writing"):
        merge(plan, run)


def merge(plan: Plan, run: RunFolder) -> None:
    """predictions.parquet and scores.parquet from the cells, whatever finished first.

    Model by model, in order of names as in the tables: no more than one is held at a time.
    """
    about = {"run_id": plan.run_id, "horizons": list(plan.config.horizons), "unit": "log return"}
    models = sorted(each.name for each in plan.forecasters)
    for name, schema in SCHEMAS.items():
        tables = (cell_table(plan, run, model, name) for model in models)
        commit_chunks(run.path / f"{name}.parquet", parquet_chunks(tables, schema, about))


def cell_table(plan: Plan, run: RunFolder, model: str, name: str) -> pa.Table:
    """`predictions` or `scores` of all folds of one model, in order."""
    parts = [
        frames.decoded(run.path / "folds" / f"{cell.name}.{name}.parquet", SCHEMAS[name])
        for cell in plan.cells
        if cell.forecaster.name == model
    ]
    return frames.merge(parts)


def records(plan: Plan, run: RunFolder) -> list[dict[str, Any]]:
    """The cells' own accounts."""
    return [run.read_json(f"folds/{cell.name}.json") for cell in plan.cells]
