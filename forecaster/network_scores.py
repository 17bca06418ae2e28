"""What each network of a learner scores by itself: a mean a date, so that differences are tested.

A file `folds/CELL.networks.parquet` of a learner's cell. Key and order: (part, cutoff, h). Parts
are those of `protocol.Apart`: no network, all together before any pool, and each one's number.
N origins, H horizons, D dates.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecaster.bars import Floats, Times
from forecaster.encoding import DAMAGED
from forecaster.errors import StorageError
from forecaster.frames import MOMENT

NAME = "networks"
LEAST = float(np.log(np.finfo(np.float64).smallest_subnormal))  # nats, of a density of nothing
NETWORKS = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "part": pa.string(),
            "cutoff": MOMENT,
            "h": pa.int32(),
            "n": pa.int32(),  # symbols that were scored
            "log_score": pa.float64(),  # their mean, nats
        }.items()
    ]
)


class NetworkScores:
    """Sums over the symbols of each date, portion by portion: memory is that of the dates."""

    def __init__(self, cutoffs: Times, horizons: Sequence[int]) -> None:
        self.dates, self.horizons = np.unique(cutoffs), tuple(horizons)
        self._sums: dict[str, Floats] = {}  # [D, H] by part
        self._counts: dict[str, NDArray[np.int64]] = {}

    def add(self, part: str, cutoff: Times, log_score: Floats) -> None:
        """Cutoffs [N] and scores [N, H] of a part; NaN is not yet known, and no density LEAST."""
        shape = len(self.dates), len(self.horizons)
        total = self._sums.setdefault(part, np.zeros(shape))
        count = self._counts.setdefault(part, np.zeros(shape, dtype=np.int64))
        known, day = ~np.isnan(log_score), np.searchsorted(self.dates, cutoff)
        np.add.at(total, day, np.where(known, np.maximum(log_score, LEAST), 0.0))
        np.add.at(count, day, known)

    def table(self) -> pa.Table:
        """NETWORKS of all dates of which anything is known."""
        parts = []
        for part, total in self._sums.items():
            count = self._counts[part]
            day, j = np.nonzero(count)
            columns = {
                "part": np.full(len(day), part, dtype=object),
                "cutoff": self.dates[day].astype("datetime64[us]"),
                "h": np.array(self.horizons, dtype=np.int32)[j],
                "n": count[day, j].astype(np.int32),
                "log_score": total[day, j] / count[day, j],
            }
            arrays = [pa.array(columns[field.name], type=field.type) for field in NETWORKS]
            parts.append(pa.Table.from_arrays(arrays, schema=NETWORKS))
        return pa.concat_tables(parts) if parts else NETWORKS.empty_table()


def to_bytes(table: pa.Table, run_id: str) -> bytes:
    """One parquet file."""
    out = io.BytesIO()
    about = json.dumps({"run_id": run_id, "unit": "nats"})
    pq.write_table(table.replace_schema_metadata({"forecaster": about}), out, compression="zstd")
    return out.getvalue()


def read(path: Path) -> pa.Table:
    """The table of a cell. Raises StorageError for a file that is damaged or another."""
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except DAMAGED as error:
        raise StorageError(f"{path}: not a parquet file that can be read: {error}") from error
    if not table.schema.equals(NETWORKS):
        raise StorageError(f"{path}: not the scores of networks")
    return table
