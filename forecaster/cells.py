"""One fold of one model: the unit that is computed, kept, and skipped when it is there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import pyarrow as pa

from forecaster import frames, network_scores, scores
from forecaster.atomic import commit_bytes
from forecaster.bars import Panel
from forecaster.errors import CheckpointError, ForecasterError, StorageError
from forecaster.folds import Fold
from forecaster.network_scores import NetworkScores
from forecaster.protocol import Apart, Fitted, Forecaster, Networked, Origins
from forecaster.runs import RunFolder
from forecaster.stages import account, stage

PATHS = "paths"  # folds/CELL.paths.parquet
PORTION = 4096  # origins, of whole symbols, that are forecast and scored at a time


@dataclass(frozen=True, eq=False)
class Cell:
    """One fold of one model: the unit that is computed, kept, and skipped when it is there."""

    fold: Fold
    forecaster: Forecaster
    seed: int | None = None  # of the candle paths that a learner draws beside its forecasts

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
    more: Mapping[str, bytes] = field(default_factory=dict)  # other parquet files, by their name


def run_cell(panel: Panel, horizons: tuple[int, ...], run_id: str, cell: Cell) -> CellResult:
    """Fit on the fold's history, forecast from what was known, and only then score.

    Forecasts are made and scored a portion of the origins at a time: memory is that of a portion.
    """
    with account() as spent:
        began = time.perf_counter()
        with stage("econometric fits"):
            fitted = cell.forecaster.fit(cell.fold.history(panel), horizons)
        fit_seconds, forecast_seconds = time.perf_counter() - began, 0.0
        origins, past = cell.fold.origins(panel), cell.fold.past(panel)
        asked = _Asked(panel, horizons, run_id, cell)
        apart = NetworkScores(origins.labels(panel), horizons)
        predictions, scored = [], []
        for some in origins.portions(PORTION):
            began = time.perf_counter()
            with stage("forecasting"):
                forecast = _forecast(fitted, past, some, horizons)
            forecast_seconds += time.perf_counter() - began
            with stage("scoring"):
                table, marks = _scored(asked, some, forecast, apart)
            predictions.append(table)
            scored.append(marks)
            del forecast  # before the next portion's is made
        with stage("scoring"):
            tables = frames.merge(predictions), frames.merge(scored)
        with stage("forecasting"):
            paths, undrawn = _paths(asked, fitted)
    record = {
        "model": cell.forecaster.name,
        "fold": cell.fold.index,
        "run_id": run_id,
        "fit_seconds": round(fit_seconds, 3),
        "forecast_seconds": round(forecast_seconds, 3),
        "stages": spent,
        "notes": list(fitted.notes),
    }
    if not isinstance(fitted, Networked):
        return CellResult(cell.name, *tables, record)
    record["training"] = fitted.curves and asdict(fitted.curves)
    if cell.seed is not None:
        record["without_paths"] = undrawn
    more = {network_scores.NAME: network_scores.to_bytes(apart.table(), run_id), **paths}
    return CellResult(cell.name, *tables, record, more)


def _paths(asked: "_Asked", fitted: Fitted) -> tuple[dict[str, bytes], str | None]:
    """A file of a learner's candle paths where the cell wants one, or why there is none."""
    cell = asked.cell
    if cell.seed is None or not isinstance(fitted, Networked):
        return {}, None
    from forecaster.sketches import Scene, sketch  # torch: a baseline does not wait for it

    about = cell.forecaster.name, asked.run_id, cell.seed
    try:
        return {PATHS: sketch(fitted, Scene(asked.panel, cell.fold, asked.horizons, *about))}, None
    except MemoryError:
        raise
    except ForecasterError as error:
        return {}, str(error)
    except Exception as error:  # whatever it is: forecasts and scores are whole without paths
        return {}, f"{type(error).__name__}: {error}"


def _forecast(fitted: Fitted, past: Panel, origins: Origins, horizons: Sequence[int]) -> Apart:
    """Of a model that can, with its parts."""
    if isinstance(fitted, Networked):
        return fitted.apart(past, origins, horizons)
    return Apart(fitted.forecast(past, origins, horizons))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the portions of a cell share."""

    panel: Panel
    horizons: tuple[int, ...]
    run_id: str
    cell: Cell


def _scored(
    asked: _Asked, origins: Origins, forecast: Apart, apart: NetworkScores
) -> tuple[pa.Table, pa.Table]:
    """Predictions, finished before the truth is looked up, and scores; of its parts, too."""
    panel, model, fold = asked.panel, asked.cell.forecaster.name, asked.cell.fold.index
    # The labels of later sessions come from the calendar: they tell nothing of prices.
    keys = scores.question(panel, origins, asked.horizons)
    provenance = frames.Provenance(asked.run_id, fold, panel.interval)
    quantiles = forecast.whole.quantile(scores.ASKED)  # once for both tables
    told = quantiles[..., : len(frames.QUANTILES)]
    table = frames.forecast_table(keys, forecast.whole, model, provenance, told)
    y, _ = scores.truth(panel, origins, asked.horizons)
    for name, part in forecast.parts:
        apart.add(name, keys.cutoff, part.logpdf(y))
    marks = scores.score(keys, forecast.whole, y, model, fold, quantiles)
    return scores.with_truth(table, panel), marks


@dataclass(frozen=True, eq=False)
class Packed:
    """A result as it is kept."""

    name: str
    files: Mapping[str, bytes]  # parquet, by their name
    record: dict[str, Any]


def packed(cell_of: Callable[[Cell], CellResult], cell: Cell) -> Packed:
    """What `keep` writes, by who computed it: a file is smaller than its table."""
    result = cell_of(cell)
    with account() as spent, stage("writing"):
        tables = {"predictions": result.predictions, "scores": result.scores}
        files = {name: frames.to_parquet_bytes(table, {}) for name, table in tables.items()}
    own = result.record.get("stages", {})
    return Packed(result.name, {**files, **result.more}, result.record | {"stages": own | spent})


def keep(run: RunFolder, result: Packed) -> None:
    """Tables first, the record last: a cell is there when its record is."""
    folder = run.path / "folds"
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    for name, data in result.files.items():
        digests[name] = commit_bytes(folder / f"{result.name}.{name}.parquet", data)
    run.write_json(f"folds/{result.name}.json", result.record | {"sha256": digests})


def kept(run: RunFolder, cell: Cell, run_id: str) -> bool:
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
