"""Forecasts from the last bars, by a training that is done."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from forecaster import frames, scores
from forecaster.atomic import commit_bytes
from forecaster.bars import Panel
from forecaster.errors import CheckpointError, UsageError
from forecaster.learner import FittedLearner
from forecaster.pooled import accompanied
from forecaster.protocol import Origins
from forecaster.runs import RunFolder
from forecaster.training import load


def predict(
    run: RunFolder, panel: Panel, wanted: tuple[int, ...] | None
) -> tuple[pa.Table, tuple[str, ...]]:
    """Forecasts from every symbol's last bar: a predictions table of the wanted horizons, notes.

    Raises UsageError for a horizon that the run did not learn, CheckpointError where a pool cannot
    be fitted again for want of the training's bars.
    """
    fitted = load(run)
    unknown = set(wanted or ()) - set(fitted.tokenizer.horizons)
    if unknown:
        raise UsageError(
            f"horizon {min(unknown)}: the run learnt {fitted.tokenizer.horizons}; ask for those"
        )
    last = np.array([len(bars) - 1 for bars in panel], dtype=np.int64)
    origins = Origins(np.arange(len(panel), dtype=np.int64), last)
    horizons = fitted.tokenizer.horizons
    keys = scores.question(panel, origins, horizons)
    model = fitted
    if run.config().learner.pool and max(wanted or horizons) > 1:
        model = accompanied(fitted, _taught_on(run, fitted, panel), horizons)
    distribution = model.forecast(panel, origins, horizons)
    provenance = frames.Provenance(run.path.name, 0, panel.interval)
    name = run.config().presets[0]
    table = frames.forecast_table(keys, distribution, name, provenance)
    return table.filter(pa.array(np.isin(table["h"].to_numpy(), wanted or horizons))), model.notes


def _taught_on(run: RunFolder, fitted: FittedLearner, panel: Panel) -> Panel:
    """The training's bars, and a stranger's of that time; CheckpointError where they are others."""
    history = panel.until(np.datetime64(fitted.tokenizer.fitted_until))
    for symbol, before in run.read_json("summary.json")["bars"].items():
        now = {str(bars.symbol): len(bars) for bars in history}.get(symbol, before)
        if now != before:
            raise CheckpointError(
                f"{symbol}: {run.path} was trained on {before} bars, the store has {now} of that"
                " time, and forecasts beyond one bar are pooled with models of them: fetch them"
                " again, or ask for --horizons 1"
            )
    return history


def keep_predictions(table: pa.Table, path: Path) -> None:
    """Write a predictions file. Raises UsageError where one is there."""
    if path.exists():
        raise UsageError(f"{path} exists; choose another --out")
    commit_bytes(path, frames.to_parquet_bytes(table, {"unit": "log return"}))
