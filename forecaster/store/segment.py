"""One symbol's bars as parquet bytes and back. Prices as printed; what is unknown is null.

Neither the symbol nor the interval is a column, for both are in the path that DuckDB, pandas and
polars read; the schema's metadata, key `forecaster`, repeats them with where the bars come from.
"""

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forecaster.bars import Bars, Floats
from forecaster.errors import UsageError
from forecaster.events import Event
from forecaster.provenance import Provenance, content_sha256
from forecaster.store.sealed import NewerFormatError
from forecaster.symbols import Symbol

SCHEMA_VERSION = 1
MOST_ROWS = 20_000_000  # fifty years of minutes, day and night
METADATA_KEY = b"forecaster"
SCHEMA = pa.schema(
    [
        pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64()),
        pa.field("adjustment", pa.float64(), nullable=False),
    ]
)


def encode(bars: Bars, provenance: Provenance) -> bytes:
    """A parquet file, compressed and with a checksum a page."""
    about = {
        **asdict(provenance),
        "symbol": bars.symbol,
        "interval": bars.interval,
        "rows": len(bars),
        "first": bars.label(0),
        "last": bars.label(-1),
        "content": content_sha256(bars),
        "schema_version": SCHEMA_VERSION,
    }
    columns = [pa.array(bars.opened_at, pa.timestamp("us", "UTC"))]
    columns += [_nullable(getattr(bars, name)) for name in SCHEMA.names[1:]]
    metadata = {METADATA_KEY: json.dumps(about, sort_keys=True, allow_nan=False)}
    sink = pa.BufferOutputStream()
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata))
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def decode(data: bytes) -> tuple[Bars, Provenance]:
    """The bars in a segment and where they come from.

    Raises NewerFormatError for what a later version wrote, ValueError for anything else that
    `encode` does not write, DataError for illegal bars.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow
        about = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
        version = about.get("schema_version") if isinstance(about, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise NewerFormatError(f"it is of schema {version}, written by a newer forecaster")
        if version != SCHEMA_VERSION or not schema.equals(SCHEMA):
            raise ValueError(f"its schema is not version {SCHEMA_VERSION} of ours")
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"{file.metadata.num_rows} rows are more than {MOST_ROWS}")
        table = file.read(use_threads=False)  # small, and threads forbid to fork
        columns = {name: table.column(name).to_numpy() for name in SCHEMA.names}
        symbol, times = Symbol(about["symbol"]), columns.pop("ts")
        bars = Bars(symbol=symbol, interval=about["interval"], opened_at=times, **columns)
        if content_sha256(bars) != about["content"]:
            raise ValueError("its bars are not those that it was written with")
        return bars, _provenance(about)
    except (pa.ArrowException, OSError, RecursionError, UsageError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its metadata are not ours: {error}") from error


def _provenance(about: dict[str, Any]) -> Provenance:
    """Where the bars come from; KeyError, TypeError where it is not told."""
    told = {each.name: about[each.name] for each in fields(Provenance) if each.name in about}
    events = tuple(Event(**event) for event in told.get("events", ()))
    return Provenance(**{**told, "notes": tuple(told["notes"]), "events": events})


def _nullable(values: Floats) -> pa.Array:
    """float64 with null for NaN."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))
