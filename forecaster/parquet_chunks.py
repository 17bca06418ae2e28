"""A parquet file of many tables, made piece by piece."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forecaster import frames
from forecaster.encoding import encoding

GROUP = 1024 * 1024  # rows of a row group at most: as many as pyarrow takes of one table


def parquet_chunks(
    tables: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, Any]
) -> Iterator[bytes]:
    """The bytes of a file of all tables in a row, a table a model, in order already.

    Each begins a row group, so that readers of a few models find them without reading the others.
    No more is held than one table. Raises ValueError for tables out of order.
    """
    sink = io.BytesIO()
    about = schema.with_metadata(frames.told(metadata))
    writer = pq.ParquetWriter(sink, about, **encoding(schema))
    last: str | None = None
    for table in tables:
        if not len(table):
            continue
        first = table[frames.ORDER[0]][0].as_py()
        if last is not None and first <= last:
            raise ValueError(f"{first} comes after {last}: tables are written in order of models")
        last = first
        writer.write(table, row_group_size=GROUP)
        yield _taken(sink)
    writer.close()
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """What was written since the last time."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written
