"""The two tables of a run, predictions and scores: schemas, checks, bytes. Knows no actuals.

N origins, H horizons. Names and types are those that Nixtla, Chronos and fev share. Key of a row,
and order of a table: (model, target_name, unique_id, cutoff, h).
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.distributions import Distribution
from forecaster.encoding import DAMAGED, encoding, require_schema
from forecaster.errors import DataError, StorageError
from forecaster.key_order import in_key_order

SCHEMA_VERSION = 1
QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
RISK_LEVELS = (0.01, 0.05)
PINBALL_LEVELS = (*RISK_LEVELS, 0.95, 0.99)
TARGET = "log_return"  # ln C[t+h] / C[t], cumulative from the cutoff's close
MOMENT = pa.timestamp("us")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


_KEY = {"unique_id": pa.string(), "ds": MOMENT, "cutoff": MOMENT, "h": pa.int32()}
PREDICTIONS = pa.unify_schemas(
    [
        _schema(**_KEY),
        pa.schema([pa.field("y", pa.float64())]),  # null while it lies in the future
        _schema(target_name=pa.string(), model=pa.string(), predictions=pa.float64()),
        _schema(**{str(level): pa.float64() for level in QUANTILES}),
        _schema(run_id=pa.string(), fold=pa.int32(), interval=pa.string()),
    ]
)
SCORES = pa.unify_schemas(
    [
        _schema(model=pa.string(), target_name=pa.string(), **_KEY, fold=pa.int32()),
        _schema(log_score=pa.float64(), crps=pa.float64(), pit=pa.float64()),
        _schema(**{f"pinball_{level}": pa.float64() for level in PINBALL_LEVELS}),
        _schema(**{f"fz0_{level}": pa.float64() for level in RISK_LEVELS}),  # VaR and ES, jointly
        # the outcome; the forecast's median, probability of a rise, variance
        _schema(**{name: pa.float64() for name in ("y", "median", "p_up", "variance")}),
    ]
)
ORDER = ("model", "target_name", "unique_id", "cutoff", "h")


@dataclass(frozen=True, eq=False)
class Keys:
    """Which questions the rows of a distribution [N, H] answer."""

    unique_id: NDArray[np.str_]  # [N] symbol
    # [N] label (`opened_at`) of the last bar used, so that ds > cutoff
    cutoff: NDArray[np.datetime64]
    ds: NDArray[np.datetime64]  # [N, H] label of the target bar
    horizons: tuple[int, ...]  # [H] bars

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit."""
        wanted = (len(self.unique_id), len(self.horizons))
        if self.ds.shape != wanted or self.cutoff.shape != wanted[:1]:
            raise DataError(
                f"keys: ds has shape {self.ds.shape} and cutoff {self.cutoff.shape}:"
                f" wanted {wanted} and {wanted[:1]}"
            )

    def columns(self) -> dict[str, NDArray[Any]]:
        """The key columns, N * H long, horizons fastest."""
        n, h = self.ds.shape
        return {
            "unique_id": np.repeat(np.asarray(self.unique_id, dtype=object), h),
            "ds": self.ds.astype("datetime64[us]").ravel(),
            "cutoff": np.repeat(self.cutoff.astype("datetime64[us]"), h),
            "h": np.tile(np.asarray(self.horizons, dtype=np.int32), n),
        }


@dataclass(frozen=True)
class Provenance:
    """Where a row comes from."""

    run_id: str
    fold: int
    interval: str


def forecast_table(
    keys: Keys, law: Distribution, model: str, provenance: Provenance, known: Floats | None = None
) -> pa.Table:
    """PREDICTIONS without actuals, checked and sorted; `known` are its quantiles [N, H, 13].

    The point forecast is the median: it always exists, and stays one when returns become prices.
    """
    if law.shape != keys.ds.shape:
        raise DataError(f"{model}: forecasts {law.shape}, asked for {keys.ds.shape}")
    found = (law.quantile(QUANTILES) if known is None else known).reshape(-1, len(QUANTILES))
    columns = keys.columns() | {
        "y": pa.nulls(len(found), pa.float64()),
        "target_name": pa.repeat(TARGET, len(found)),
        "model": pa.repeat(model, len(found)),
        "predictions": found[:, QUANTILES.index(0.5)],
        "run_id": pa.repeat(provenance.run_id, len(found)),
        "fold": np.full(len(found), provenance.fold, dtype=np.int32),
        "interval": pa.repeat(provenance.interval, len(found)),
    }
    columns |= {str(level): found[:, i] for i, level in enumerate(QUANTILES)}
    return table_of(columns, PREDICTIONS)


def table_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A checked, sorted table of named columns."""
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    return checked(pa.Table.from_arrays(arrays, schema=schema))


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of several of one schema: sorted, duplicates refused. Metadata is left behind."""
    if not tables:
        raise DataError("nothing to merge: no table given")
    return checked(pa.concat_tables([t.replace_schema_metadata(None) for t in tables]))


def checked(table: pa.Table) -> pa.Table:
    """The table in key order. Raises DataError naming the first row that breaks a rule."""
    schema = SCORES if "log_score" in table.column_names else PREDICTIONS
    require_schema("table", table.schema, schema)
    table, repeated = in_key_order(table, ORDER)
    for field in schema:
        column = table[field.name]
        if not field.nullable and column.null_count:
            _refuse(table, column.is_null().to_numpy(), f"{field.name} is null")
        if pa.types.is_floating(field.type):
            infinite = ~np.isfinite(column.fill_null(0.0).to_numpy())
            _refuse(table, infinite, f"{field.name} is not finite")
    _refuse(table, table["ds"].to_numpy() <= table["cutoff"].to_numpy(), "ds is not after cutoff")
    _refuse(table, table["h"].to_numpy() < 1, "h is below 1")
    for low, high in pairwise(n for n in map(str, QUANTILES) if n in table.column_names):
        crossed = table[high].to_numpy() < table[low].to_numpy()
        _refuse(table, crossed, f"quantile {high} is below quantile {low}")
    _refuse(table, repeated, "key is there twice")
    return table


def to_parquet_bytes(table: pa.Table, metadata: Mapping[str, Any]) -> bytes:
    """One parquet file; the same content gives the same bytes. `metadata` becomes JSON."""
    out = io.BytesIO()
    table = checked(table.replace_schema_metadata(None)).replace_schema_metadata(told(metadata))
    pq.write_table(table, out, **encoding(table.schema))
    return out.getvalue()


def told(given: Mapping[str, Any]) -> dict[str, str]:
    """A file's metadata as JSON."""
    about = {"schema_version": SCHEMA_VERSION, "quantiles": list(QUANTILES), **given}
    return {"forecaster": json.dumps(about, sort_keys=True, allow_nan=False)}


def read(source: Path | bytes, schema: pa.Schema = PREDICTIONS) -> pa.Table:
    """The table of a file or of its bytes, metadata kept. Raises StorageError or DataError."""
    return checked(decoded(source, schema))


def decoded(source: Path | bytes, schema: pa.Schema) -> pa.Table:
    """The same, its rows not `checked` yet: for what is merged at once."""
    name, data = "bytes", source
    try:
        if isinstance(source, Path):
            name, data = str(source), source.read_bytes()
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        require_schema(name, file.schema_arrow, schema)
        return file.read()
    except DAMAGED as error:
        raise StorageError(f"{name}: not a parquet file that can be read: {error}") from error


def metadata(table: pa.Table) -> dict[str, Any]:
    """What `to_parquet_bytes` was given and adds; empty for a foreign table."""
    return json.loads((table.schema.metadata or {}).get(b"forecaster", b"{}"))


def _refuse(table: pa.Table, bad: NDArray[np.bool_], rule: str) -> None:
    """Raise DataError naming the first bad row by its key."""
    if bad.any():
        first = int(bad.argmax())
        key = ", ".join(f"{name}={table[name][first].as_py()}" for name in ORDER)
        raise DataError(f"row ({key}): {rule} ({int(bad.sum())} such of {len(table)})")
