"""A parquet file of many tables, made piece by piece: what one write of all of them would give."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forecaster import frames

GROUP = 1024 * 1024  # rows of a row group: as many as pyarrow takes of one table


def parquet_chunks(
    tables: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, Any]
) -> Iterator[bytes]:
    """The bytes of `frames.to_parquet_bytes` of all tables in a row, which are in order already.

    No more is held than a row group and a table. Raises DataError for tables out of order.
    """
    held, sink = [], io.BytesIO()
    writer = pq.ParquetWriter(sink, schema.with_metadata(frames.told(metadata)), compression="zstd")
    last: str | None = None
    for table in tables:
        first = table[frames.ORDER[0]][0].as_py() if len(table) else last
        if last is not None and first is not None and first <= last:
            raise ValueError(f"{first} comes after {last}: tables are written in order of models")
        last = first
        held.append(table)
        whole = pa.concat_tables(held)
        ready = len(whole) // GROUP * GROUP
        if ready:
            writer.write(whole.slice(0, ready).combine_chunks(), row_group_size=GROUP)
            yield _taken(sink)
        held = [whole.slice(ready)] if ready else held
    if held and (sum(map(len, held)) or last is None):
        writer.write(pa.concat_tables(held).combine_chunks(), row_group_size=GROUP)
    writer.close()
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """What was written since the last time."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written
