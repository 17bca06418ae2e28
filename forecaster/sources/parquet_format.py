"""The parquet files that we read: our columns, plain numbers and times, bounded before allocation.

A file's own pandas and Arrow metadata are not believed; the schema is compared field by field.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forecaster.bars import Floats, Times
from forecaster.errors import DataError, printable
from forecaster.sources.strict import MOST_ROWS, WHOLE_DAYS, Table, legal_header

MOST_COLUMNS = 7
MOST_BYTES = 512 << 20  # decoded, as the footer has it
THRIFT_BYTES = 16 << 20  # of a footer
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def parse_parquet(name: str, data: bytes, interval: str) -> Table:
    """The table in `data`, the content of file `name`. Raises DataError naming column and row."""
    if not data:
        raise DataError(f"{name}: the file is empty; wanted columns and bars")
    try:
        file = pq.ParquetFile(
            pa.BufferReader(data),
            page_checksum_verification=True,
            thrift_string_size_limit=THRIFT_BYTES,
            thrift_container_size_limit=THRIFT_BYTES,
        )
        _check_size(name, file.metadata)
        schema = file.schema_arrow
        header = legal_header(name, schema.names)
        _check_types(name, schema, header)
        read = file.read()
    except UNREADABLE as error:
        first_line = printable((str(error) or type(error).__name__).splitlines()[0])[:120]
        raise DataError(
            f"{name}: not a sound parquet file: {first_line}; write it again"
        ) from error
    for column, values in zip(header, read.columns, strict=True):
        if values.null_count:
            row = int(np.flatnonzero(values.is_null().to_numpy())[0]) + 1
            raise DataError(f"{name}: row {row}, column {column}: no value; mend or drop the row")
    times = _times(name, header[0], read.column(0), interval)
    columns = {
        column: _numbers(name, column, values)
        for column, values in zip(header[1:], read.columns[1:], strict=True)
    }
    return Table(name, "row", 1, times, columns)


def _check_size(name: str, footer: pq.FileMetaData) -> None:
    """Refuse what would not fit, from what the footer says, before anything is decoded."""
    decoded = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    for found, most, what in (
        (footer.num_columns, MOST_COLUMNS, "columns"),
        (footer.num_rows, MOST_ROWS, "rows"),
        (decoded, MOST_BYTES, "decoded bytes"),
    ):
        if not 0 <= found <= most:
            raise DataError(f"{name}: {found} {what}, more than {most}; cut it")


def _check_types(name: str, schema: pa.Schema, header: tuple[str, ...]) -> None:
    """Refuse any column that is not a plain number or time, naming its type and ours."""
    for column, field in zip(header, schema, strict=True):
        if column == header[0]:
            wanted = "date32 or timestamp (UTC or no zone)"
            legal = pa.types.is_date32(field.type) or (
                pa.types.is_timestamp(field.type) and field.type.tz in {None, "UTC", "+00:00"}
            )
        else:
            wanted = "double, float or an integer"
            legal = pa.types.is_integer(field.type) or (
                pa.types.is_floating(field.type) and not pa.types.is_float16(field.type)
            )
        if not legal:
            found = printable(str(field.type))[:60]
            raise DataError(f"{name}: column {column} has type {found}; wanted {wanted}")


def _times(name: str, column: str, values: pa.ChunkedArray, interval: str) -> Times:
    """[T] datetime64[us]: whole days for daily bars and longer, moments in UTC for the others."""
    if interval not in WHOLE_DAYS and getattr(values.type, "tz", None) is None:
        raise DataError(
            f"{name}: column {column} has type {values.type}, without a zone; interval {interval}"
            " wants timestamp in UTC"
        )
    try:
        times = pc.cast(values, pa.timestamp("us")).to_numpy().astype("datetime64[us]")
    except pa.ArrowException as error:
        raise DataError(f"{name}: column {column}: {printable(str(error))[:120]}") from error
    odd = times != times.astype("datetime64[D]")
    if interval in WHOLE_DAYS and odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise DataError(
            f"{name}: row {row + 1}, column {column}: {times[row]} is not a whole day: not interval"
            f" {interval}; name the right one with --interval"
        )
    return times


def _numbers(name: str, column: str, values: pa.ChunkedArray) -> Floats:
    """[T] float64. DataError for an integer that a float64 cannot hold."""
    try:
        return pc.cast(values, pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise DataError(f"{name}: column {column}: {printable(str(error))[:120]}") from error
