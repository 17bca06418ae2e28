"""A predictions file of anyone's, as one long table: ours, Nixtla's wide one, fev's and Chronos's.

Long: unique_id, ds, cutoff, y and `predictions` (or `mean`, or "0.5"), "0.1" ... for quantiles, a
`model` and an `h` where there are some. Wide: a column a model, MODEL-lo-90, MODEL-hi-90, MODEL-q-5
and MODEL-median beside it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from forecaster.atomic import read_regular
from forecaster.bars import Floats
from forecaster.encoding import DAMAGED
from forecaster.errors import DataError, StorageError, printable

NAMES = {  # ours: what others call it
    "unique_id": ("unique_id", "item_id", "id", "symbol", "ticker"),
    "ds": ("ds", "timestamp", "date", "datetime"),
    "cutoff": ("cutoff", "cutoff_date", "origin"),
    "y": ("y", "actual", "target", "truth"),
    "h": ("h", "horizon", "step"),
    "model": ("model", "model_name"),
    "predictions": ("predictions", "prediction", "mean", "yhat", "forecast"),
}
KEY = ["model", "unique_id", "cutoff", "h"]
ASIDE = {"target_name", "run_id", "fold", "interval", "index"}
UNNAMED = "__index_level_"  # pandas keeps an index without a name so
LIMIT_BYTES, MOST_BYTES = 4 << 30, 8 << 30  # of the file, of its columns once they are read
INTERVAL = re.compile(r"(.+)-(lo|hi|q)-(\d+(?:\.\d+)?)$")


@dataclass(frozen=True, eq=False)
class Foreign:
    """Rows of model, unique_id, cutoff, h: forecasts of `y`, quantiles under their levels."""

    frame: pd.DataFrame  # KEY, ds, y, point, and a float column a level
    levels: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def h(self) -> int:
        """The shortest horizon: what smells of the future smells there most."""
        return int(self.frame["h"].min())

    def shortest(self) -> pd.DataFrame:
        """Its rows, where the truth is known, in order of time."""
        rows = self.frame[(self.frame["h"] == self.h) & self.frame["y"].notna()]
        return rows.sort_values(["model", "unique_id", "cutoff"])

    def quantiles(self, rows: pd.DataFrame) -> Floats:
        """[n, Q]."""
        return rows[list(self.levels)].to_numpy(dtype=np.float64)


def read_foreign(path: Path) -> Foreign:
    """The file as one long table. Raises StorageError or DataError naming what is missing."""
    frame = _flat_table(path).to_pandas()
    frame = frame.rename(columns=_renamed(frame))
    lacking = [name for name in ("unique_id", "ds", "cutoff", "y") if name not in frame]
    if lacking:
        shown = ", ".join(map(str, list(frame)[:12]))
        raise DataError(f"{path}: no column {lacking[0]}; it has {shown}")
    if frame.empty:
        raise DataError(f"{path}: no rows")
    for name in ("ds", "cutoff"):
        frame[name] = _moments(path, frame[name])
    frame["unique_id"] = frame["unique_id"].astype(str)
    long, levels = _long(frame) if _is_long(frame) else _melted(path, frame)
    if "h" not in long:
        order = long.groupby(["model", "unique_id", "cutoff"])["ds"]
        long["h"] = order.rank(method="dense").astype(int)
    return Foreign(long[[*KEY, "ds", "y", "point", *levels]], levels)


def _flat_table(path: Path) -> pa.Table:
    """The file's columns, its own metadata not believed. Raises StorageError or DataError.

    Bounded by what the footer says; text may be longer than that, numbers and times may not.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(read_regular(path, LIMIT_BYTES)))
        schema, rows = file.schema_arrow, file.metadata.num_rows
        odd = [field for field in schema if not _is_flat(field.type)]
        if odd:
            shown = printable(str(odd[0].type))[:60]
            raise DataError(
                f"{path}: column {odd[0].name} has type {shown}; wanted numbers, times or text"
            )
        if rows * len(schema) * 8 > MOST_BYTES:
            raise DataError(f"{path}: {rows} rows of {len(schema)} columns are too many; cut it")
        table = file.read().replace_schema_metadata(None)
    except DAMAGED as error:
        raise StorageError(f"{path}: not a parquet file that can be read: {error}") from error
    return table.select([name for name in table.column_names if not name.startswith(UNNAMED)])


def _is_flat(kind: pa.DataType) -> bool:
    """Whether a column is numbers, times or text, perhaps by a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(each(kind) for each in text) or (
        pa.types.is_primitive(kind) and not isinstance(kind, pa.BaseExtensionType)
    )


def _renamed(frame: pd.DataFrame) -> dict[str, str]:
    """The first alias of each name that is there."""
    found = {}
    for ours, theirs in NAMES.items():
        there = next((name for name in theirs if name in frame), None)
        if there is not None:
            found[there] = ours
    return found


def _moments(path: Path, column: pd.Series) -> pd.Series:
    """Naive UTC to the microsecond."""
    try:
        return pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: column {column.name} holds no times: {error}") from None


def _levels(frame: pd.DataFrame) -> dict[str, float]:
    """Columns whose names are levels."""
    out = {}
    for name in map(str, frame.columns):
        match = re.fullmatch(r"[pq]?_?(0?\.\d+)", name)
        if match and 0 < float(match[1]) < 1:
            out[name] = float(match[1])
    return out


def _is_long(frame: pd.DataFrame) -> bool:
    return "predictions" in frame or bool(_levels(frame))


def _long(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[float, ...]]:
    named = _levels(frame)
    levels = tuple(sorted(named.values()))
    frame = frame.rename(columns=named)
    if "model" not in frame:
        frame["model"] = "model"
    middle = min(levels, key=lambda level: abs(level - 0.5)) if levels else None
    frame["point"] = frame["predictions"] if "predictions" in frame else frame[middle]
    return frame, levels


def _melted(path: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[float, ...]]:
    """One block of rows a model column."""
    keys = [name for name in ("unique_id", "ds", "cutoff", "y", "h") if name in frame]
    names = [str(c) for c in frame if c not in keys]
    numbers = [c for c in names if pd.api.types.is_numeric_dtype(frame[c])]
    models = [c for c in numbers if not INTERVAL.match(c) and not c.endswith("-median")]
    models = [c for c in models if c not in ASIDE]
    if not models:
        raise DataError(f"{path}: no column of forecasts: predictions, a level, or one a model")
    blocks, levels = [], set[float]()
    for model in models:
        block = frame[keys].assign(model=model, point=frame[model])
        for name in numbers:
            match = INTERVAL.match(name)
            if match and match[1] == model:
                share = float(match[3]) / 100
                level = {"lo": (1 - share) / 2, "hi": (1 + share) / 2, "q": share}[match[2]]
                block[round(level, 6)] = frame[name]
                levels.add(round(level, 6))
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True), tuple(sorted(levels))
