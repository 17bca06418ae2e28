"""What a report is made of: the files of a finished backtest, and its bars where they still are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from forecaster import network_scores
from forecaster.atomic import reason
from forecaster.bars import Panel
from forecaster.config import RunConfig
from forecaster.encoding import DAMAGED
from forecaster.errors import CheckpointError, DataError, StorageError
from forecaster.paths.table import SAMPLES
from forecaster.report.stored import FORECASTS, sha256_of, table_of
from forecaster.runs import RunFolder
from forecaster.store import Store

WANTED = {
    *("rows", "comparisons", "sets", "calibration", "verdicts", "notes", "seconds", "best_naive"),
    *("horizons", "symbols", "interval", "folds", "test_from", "test_until", "vault", "run_id"),
}
TABLES = ("predictions.parquet", "scores.parquet")


@dataclass(frozen=True, eq=False)
class Material:
    """One run, read once. Tables hold the rows of the models that charts show."""

    path: Path
    summary: dict[str, Any]
    config: RunConfig
    environment: dict[str, Any]
    data: dict[str, Any]
    cells: tuple[dict[str, Any], ...]  # one a fold and model
    scores: pd.DataFrame  # SCORES
    predictions: pd.DataFrame  # FORECASTS of PREDICTIONS
    paths: pd.DataFrame  # SAMPLES of all cells that drew some
    networks: pd.DataFrame  # NETWORKS of all cells that kept them, with their model and fold
    hashes: Mapping[str, str]  # file -> sha256
    panel: Panel | None  # the bars that the run saw, adjusted
    without_bars: str = ""  # why there is no panel

    @property
    def horizons(self) -> tuple[int, ...]:
        """Bars ahead, the shortest first."""
        return tuple(self.summary["horizons"])

    @property
    def models(self) -> tuple[str, ...]:
        """Every model, in the order of the tables: the naive ones first."""
        return tuple(dict.fromkeys(row["model"] for row in self.summary["rows"]))

    def comparisons(self, h: int) -> list[dict[str, Any]]:
        """The learners' comparisons at a horizon."""
        return [each for each in self.summary["comparisons"] if each["h"] == h]

    def shown(self, h: int) -> tuple[str, ...]:
        """The models of the charts at a horizon, learners last."""
        return shown_at(self.summary, h)

    def place(self, model: str, h: int) -> int:
        """Which colour a model has: learners the first ones, whatever stands beside them."""
        return list(reversed(self.shown(h))).index(model)

    @property
    def learners(self) -> tuple[str, ...]:
        """Models that are no baselines."""
        return tuple(dict.fromkeys(pair["model"] for pair in self.summary["comparisons"]))

    def rows(self, h: int) -> list[dict[str, Any]]:
        """The rows of the summary's table at a horizon."""
        return [row for row in self.summary["rows"] if row["h"] == h]

    def scored(self, model: str, h: int) -> pd.DataFrame:
        """A model's scores at a horizon, one row a symbol and cutoff."""
        return self.scores.iloc[self._places.get((model, h), [])]

    @cached_property
    def _places(self) -> dict[Any, Any]:
        """Where the rows of each model and horizon are, found once for all charts."""
        return self.scores.groupby(["model", "h"], observed=True).indices


def shown_at(summary: Mapping[str, Any], h: int) -> tuple[str, ...]:
    """Learners and whom they are compared with; without a learner the best naive and the best."""
    names = [row["model"] for row in summary["rows"] if row["h"] == h]
    pairs = [each for each in summary["comparisons"] if each["h"] == h]
    if not pairs:
        rows = [row for row in summary["rows"] if row["h"] == h]
        wanted = {summary["best_naive"][str(h)], min(rows, key=lambda row: row["crps"])["model"]}
    else:
        wanted = {each[side] for each in pairs for side in ("model", "reference")}
    return tuple(name for name in names if name in wanted)


def read_material(run: RunFolder, bars: Panel | Path) -> Material:
    """The run's files; `bars` are those that it saw, or the store that may still have them.

    Raises CheckpointError for a run of another version, StorageError for a damaged table.
    """
    summary, data = run.read_json("summary.json"), run.read_json("data.json")
    missing = sorted(WANTED - set(summary))
    if missing or any("pit_band" not in each for each in summary["calibration"]):
        raise CheckpointError(f"{run.path}/summary.json is of another version; start a new run")
    shown = sorted({name for h in summary["horizons"] for name in shown_at(summary, h)})
    panel, why = (bars, "") if isinstance(bars, Panel) else bars_of(data, bars)
    return Material(
        path=run.path,
        summary=summary,
        config=run.config(),
        environment=run.read_json("environment.json"),
        data=data,
        cells=tuple(cells_of(run)),
        scores=table_of(run.path / "scores.parquet", shown),
        predictions=table_of(run.path / "predictions.parquet", shown, FORECASTS),
        networks=networks_of(run),
        paths=paths_of(run),
        hashes={name: sha256_of(run.path / name) for name in TABLES},
        panel=panel,
        without_bars=why,
    )


def cells_of(run: RunFolder) -> list[dict[str, Any]]:
    """The accounts of every fold and model, by name of their files; none where they are gone."""
    return [run.read_json(f"folds/{path.name}") for path in kept(run, ".json")]


def kept(run: RunFolder, end: str) -> list[Path]:
    """Files of cells whose names end so, in order; none where the folder is gone.

    Raises StorageError for one that cannot be read: a glob would find nothing in it.
    """
    folder = run.path / "folds"
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {reason(error)}") from error
    return [path for path in paths if path.name.endswith(end) and not path.name.startswith(".")]


def networks_of(run: RunFolder) -> pd.DataFrame:
    """What each network of each learner scored, a mean a date. StorageError for a damaged file."""
    end = f".{network_scores.NAME}.parquet"
    none = network_scores.NETWORKS.empty_table().to_pandas().assign(model="", fold=0)
    parts = [none]
    for path in kept(run, end):
        cell = run.read_json(f"folds/{path.name.removesuffix(end)}.json")
        table = network_scores.read(path).to_pandas()
        parts.append(table.assign(model=cell["model"], fold=cell["fold"]))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def paths_of(run: RunFolder) -> pd.DataFrame:
    """Candle paths of all learners that drew some. StorageError for a damaged file."""
    parts = [SAMPLES.empty_table()]
    for path in kept(run, ".paths.parquet"):
        try:
            parts.append(pq.read_table(pa.BufferReader(path.read_bytes())))
        except DAMAGED as error:
            raise StorageError(f"{path}: not a parquet file that can be read: {error}") from error
        if not parts[-1].schema.equals(SAMPLES):
            raise StorageError(f"{path}: not candle paths")
    return pa.concat_tables([each.replace_schema_metadata(None) for each in parts]).to_pandas()


def bars_of(data: Mapping[str, Any], root: Path) -> tuple[Panel | None, str]:
    """The adjusted bars that a run saw, or none and why: a store goes on, a run does not."""
    store, symbols = Store(root), data["symbols"]
    try:
        if store.digest(symbols, data["interval"]) != data["digest"]:
            return None, f"the store {root} holds other bars by now"
        members = [
            store.load(name, data["interval"]).adjusted().head(known["bars"])
            for name, known in symbols.items()
        ]
    except (DataError, StorageError) as error:
        return None, str(error)
    return Panel(tuple(members)), ""
