"""The CSV that we read: UTF-8, commas, our header, ISO times, plain numbers; all else is refused.

Written out rather than left to pandas, which reads `1\\0` as 1, 45293 as a day in 1970, and shifts
ragged lines into the index.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from forecaster.errors import DataError, printable
from forecaster.sources.strict import MOST_ROWS, WHOLE_DAYS, Table, legal_header

MOST_CHARACTERS = 10_000  # of a line: a few hundred columns
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)


def parse_csv(name: str, data: bytes, interval: str) -> Table:
    """The table in `data`, the content of file `name`. Raises DataError naming line and column."""
    lines = lines_of(name, data)
    header = legal_header(name, lines[0].split(","))
    read = dict(enumerate(header))
    return table_of(name, lines, read, lambda text: _time(text, interval))


def table_of(
    name: str, lines: list[str], read: dict[int, str], time: Callable[[str], np.datetime64]
) -> Table:
    """The columns `read`, by their places from 0 (the time), of the lines below the header.

    `time` raises ValueError, with what is wrong and what is wanted, for a text that is no time.
    Raises DataError naming line and column.
    """
    n_fields = lines[0].count(",") + 1
    times = np.empty(len(lines) - 1, dtype="datetime64[us]")
    numbers = {place: np.empty(len(times)) for place in read if place}
    for row, line in enumerate(lines[1:]):
        fields = line.split(",")
        if len(fields) != n_fields:
            found = "blank" if not line else f"{len(fields)} fields, the header has {n_fields}"
            raise DataError(f"{name}: line {row + 2}: {found}; mend or drop the line")
        try:
            times[row] = time(fields[0])
        except ValueError as error:
            raise _fault(name, row, read[0], str(error)) from None
        for place, column in numbers.items():
            if not NUMBER.fullmatch(fields[place]):
                shown = shown_field(fields[place])
                wanted = f"{shown} is not a number; write digits and a point, as 101.25"
                raise _fault(name, row, read[place], wanted)
            column[row] = float(fields[place])
    columns = {read[place]: column for place, column in numbers.items()}
    return Table(name, "line", 2, times, columns)


def lines_of(name: str, data: bytes) -> list[str]:
    """The lines without their ends, bounded before they are taken apart.

    Raises DataError for an empty file, another encoding, too many lines, one that is too long.
    """
    if (n_lines := data.count(b"\n")) > MOST_ROWS + 1:  # and the header
        raise DataError(f"{name}: {n_lines} lines, more than {MOST_ROWS}; cut it")
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
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    for i, line in enumerate(lines):
        if len(line) > MOST_CHARACTERS:
            found = f"line {i + 1}: {len(line)} characters, more than {MOST_CHARACTERS}"
            raise DataError(f"{name}: {found}; mend or drop the line")
    return lines


def _time(text: str, interval: str) -> np.datetime64:
    """A session date for daily bars and longer, else a moment with its offset, in UTC."""
    whole_days = interval in WHOLE_DAYS
    found = day_of(text) if whole_days else moment_of(text)
    if found is not None:
        return found
    form = "2024-01-31" if whole_days else "2024-01-31T09:30:00+00:00"
    raise ValueError(
        f"{shown_field(text)} is not a time of interval {interval}; write it as {form}"
    )


def day_of(text: str) -> np.datetime64 | None:
    """A date that exists, in our one form; None for any other text."""
    try:
        return np.datetime64(text, "us") if DAY.fullmatch(text) else None
    except ValueError:
        return None


def moment_of(text: str) -> np.datetime64 | None:
    """A moment with its offset, in UTC; None for any other text and for what does not exist."""
    try:
        if MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text).astimezone(UTC)
            return np.datetime64(moment.replace(tzinfo=None), "us")
    except (ValueError, OverflowError):
        pass
    return None


def shown_field(text: str) -> str:
    """A field for a message: quoted, harmless, not long."""
    return f"'{printable(text)[:40]}'"


def _fault(name: str, row: int, column: str, what: str) -> DataError:
    """An error that says where and what."""
    return DataError(f"{name}: line {row + 2}, column {column}: {what}")
