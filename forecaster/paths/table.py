"""`samples.parquet`: one row a simulated bar, whole candles, no actuals. Written as it grows.

Long rather than lists: every reader filters and groups it without unpacking, and repeated keys cost
nothing in a compressed column. Key and order: (model, unique_id, cutoff, path, h).
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.errors import DivergedError
from forecaster.frames import MOMENT, Keys, Provenance

SCHEMA_VERSION = 1
CANDLE = ("open", "high", "low", "close", "volume")
SAMPLES = pa.schema(
    [
        *(
            pa.field(name, kind, nullable=False)
            for name, kind in {
                "model": pa.string(),
                "unique_id": pa.string(),
                "cutoff": MOMENT,
                "path": pa.int32(),  # its number, from 0
                "h": pa.int32(),  # bars ahead, from 1
                "ds": MOMENT,
            }.items()
        ),
        # Null where the symbol has closes only, or no volume.
        *(pa.field(name, pa.float64(), nullable=name != "close") for name in CANDLE),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class PathBlock:
    """N paths of K bars."""

    model: str
    origin: NDArray[np.int64]  # [N] row of the keys
    path: NDArray[np.int64]  # [N]
    candles: Floats  # [N, K, 5] CANDLE; NaN where the symbol has none


def block_table(block: PathBlock, keys: Keys, factor: Floats, provenance: Provenance) -> pa.Table:
    """SAMPLES of a block. `factor` [origins] turns its prices into those to be shown.

    Raises DivergedError naming the symbol where a candle is not a legal bar.
    """
    n, steps, _ = block.candles.shape
    price = factor[block.origin, None]
    candles = block.candles * np.stack([price] * 4 + [1 / price], axis=2)
    _refuse_illegal(candles, keys.unique_id[block.origin])
    flat = {
        "unique_id": np.repeat(np.asarray(keys.unique_id, dtype=object)[block.origin], steps),
        "cutoff": np.repeat(keys.cutoff[block.origin].astype("datetime64[us]"), steps),
        "path": np.repeat(block.path.astype(np.int32), steps),
        "h": np.tile(np.arange(1, steps + 1, dtype=np.int32), n),
        "ds": keys.ds[block.origin, :steps].astype("datetime64[us]").ravel(),
        "model": pa.repeat(block.model, n * steps),
        "run_id": pa.repeat(provenance.run_id, n * steps),
        "interval": pa.repeat(provenance.interval, n * steps),
    }
    for i, name in enumerate(CANDLE):
        values = candles[..., i].ravel()
        flat[name] = pa.array(values, type=pa.float64(), mask=np.isnan(values))
    arrays = [pa.array(flat[field.name], type=field.type) for field in SAMPLES]
    return pa.Table.from_arrays(arrays, schema=SAMPLES)


def _refuse_illegal(candles: Floats, symbols: NDArray[np.str_]) -> None:
    """Candles are legal by construction; prices without end are not, and are no forecast."""
    open_, high, low, close, volume = np.moveaxis(candles, -1, 0)
    top, bottom = np.fmax(open_, close), np.fmin(open_, close)
    bad = ~np.isfinite(close) | (close <= 0) | np.isinf(candles).any(axis=-1)
    bad |= (low > bottom) | (high < top) | (low <= 0) | (volume <= 0)
    if bad.any():
        i, k = np.argwhere(bad)[0]
        raise DivergedError(
            f"{symbols[i]}: a path left the legal bars at step {k + 1}:"
            f" {dict(zip(CANDLE, candles[i, k].tolist(), strict=True))}; look at its last bars"
        )


class _Drain(io.RawIOBase):
    """A file that is written to at one end and emptied at the other."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        self.size += len(self.parts[-1])
        return len(self.parts[-1])

    def taken(self) -> bytes:
        """What was written since the last time."""
        out = b"".join(self.parts)
        self.parts.clear()
        return out


def parquet_chunks(tables: Iterable[pa.Table], metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """The bytes of one parquet file, as its tables come, a row group each."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **metadata}, sort_keys=True)
    schema, sink = SAMPLES.with_metadata({"forecaster": text}), _Drain()
    writer = pq.ParquetWriter(sink, schema, compression="zstd")
    for table in tables:
        writer.write(table.replace_schema_metadata(schema.metadata))
        yield sink.taken()
    writer.close()
    yield sink.taken()
