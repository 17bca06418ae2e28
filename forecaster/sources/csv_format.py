"""The CSV that we read: UTF-8, commas, our header, ISO times, plain numbers; all else is refused.

Written out rather than left to pandas, which reads `1\\0` as 1, 45293 as a day in 1970, and shifts
ragged lines into the index.
"""

import re
from datetime import UTC, datetime

import numpy as np

from forecaster.errors import DataError, printable
from forecaster.sources.strict import MOST_ROWS, WHOLE_DAYS, Table, legal_header

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)


def parse_csv(name: str, data: bytes, interval: str) -> Table:
    """The table in `data`, the content of file `name`. Raises DataError naming line and column."""
    lines = _lines(name, data)
    header = legal_header(name, lines[0].split(","))
    if len(lines) - 1 > MOST_ROWS:
        raise DataError(f"{name}: {len(lines) - 1} lines, more than {MOST_ROWS}; cut it")
    times = np.empty(len(lines) - 1, dtype="datetime64[us]")
    numbers = np.empty((len(header) - 1, len(lines) - 1))
    for row, line in enumerate(lines[1:]):
        fields = line.split(",")
        if len(fields) != len(header):
            found = "blank" if not line else f"{len(fields)} fields, the header has {len(header)}"
            raise DataError(f"{name}: line {row + 2}: {found}; mend or drop the line")
        try:
            times[row] = _time(fields[0], interval)
        except ValueError as error:
            raise _fault(name, row, header[0], str(error)) from None
        for i, field in enumerate(fields[1:]):
            if not NUMBER.fullmatch(field):
                wanted = f"{_shown(field)} is not a number; write digits and a point, as 101.25"
                raise _fault(name, row, header[i + 1], wanted)
            numbers[i, row] = float(field)
    columns = dict(zip(header[1:], numbers, strict=True))
    return Table(name, "line", 2, times, columns)


def _lines(name: str, data: bytes) -> list[str]:
    """The lines without their ends. Raises DataError for an empty file or another encoding."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise DataError(
            f"{name}: line {line}: byte {byte} is not UTF-8; save it as UTF-8"
        ) from None
    if not text.strip():
        raise DataError(f"{name}: the file is empty; wanted a header and bars")
    if text.startswith("\ufeff"):
        raise DataError(f"{name}: line 1: it begins with a byte order mark; save as plain UTF-8")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _time(text: str, interval: str) -> np.datetime64:
    """A session date for daily bars and longer, else a moment with its offset, in UTC."""
    whole_days = interval in WHOLE_DAYS
    legal = (DAY if whole_days else MOMENT).fullmatch(text)
    try:
        if legal and whole_days:
            return np.datetime64(text, "us")
        if legal:
            moment = datetime.fromisoformat(text).astimezone(UTC)
            return np.datetime64(moment.replace(tzinfo=None), "us")
    except (ValueError, OverflowError):
        pass  # a day or hour that does not exist: the same refusal
    form = "2024-01-31" if whole_days else "2024-01-31T09:30:00+00:00"
    raise ValueError(f"{_shown(text)} is not a time of interval {interval}; write it as {form}")


def _shown(text: str) -> str:
    """A field for a message: quoted, harmless, not long."""
    return f"'{printable(text)[:40]}'"


def _fault(name: str, row: int, column: str, what: str) -> DataError:
    """An error that says where and what."""
    return DataError(f"{name}: line {row + 2}, column {column}: {what}")
