"""What a user's file must hold, whatever its format: which columns, which numbers, which times.

Nothing is sorted, filled or dropped: a fault is refused, naming file, place, column, value, remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from forecaster.bars import Bars, Floats, Times, duration
from forecaster.errors import DataError, IllegalBarError, printable
from forecaster.symbols import Symbol

TIME_NAMES = ("date", "datetime", "ts")
COLUMNS = ("open", "high", "low", "close", "volume", "adj_close")
TAILS = ((), ("volume",), ("volume", "adj_close"), ("adj_close",))
HEADER = "date|datetime|ts,open,high,low,close[,volume][,adj_close]"
WHOLE_DAYS = ("1d", "1wk")  # intervals whose bars are labelled by a session date
MOST_ROWS = 5_000_000
# Beyond these a number is a mistake of unit or format; currencies and tokens lie well inside.
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-9, 1e9, 1e15
# Years that a timestamp in nanoseconds, which readers of our files may use, can hold with room.
FIRST_TIME, LAST_TIME = np.datetime64("1700-01-01", "us"), np.datetime64("2200-01-01", "us")
NO_VOLUME = "the file has no volume column: volume is unknown"


@dataclass(frozen=True)
class Table:
    """A file's columns, and how to say where its row i is: `f"{place} {i + first}"`."""

    name: str  # of the file, for messages
    place: str  # "line" or "row"
    first: int  # number of the first row
    times: Times  # [T] datetime64[us], UTC
    columns: dict[str, Floats]  # each [T]
    notes: tuple[str, ...] = ()  # on what the file has and the table has not

    def head(self, n: int, note: str) -> Self:
        """The first n rows, and why no more."""
        columns = {name: column[:n] for name, column in self.columns.items()}
        notes = (*self.notes, note)
        return replace(self, times=self.times[:n], columns=columns, notes=notes)

    def fault(self, row: int, column: str, what: str) -> DataError:
        """An error that says where and what."""
        return DataError(f"{self.name}: {self.place} {row + self.first}, column {column}: {what}")


def legal_header(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """`names` in lower case, if they are the columns that we know, in our order."""
    found = tuple(each.lower() for each in names)
    time = found[0] if found and found[0] in TIME_NAMES else TIME_NAMES[0]
    if any(found == (time, *COLUMNS[:4], *tail) for tail in TAILS):
        return found
    wanted = (time, *COLUMNS)
    for i, each in enumerate(found):
        if i >= len(wanted) or each != wanted[i]:
            odd = printable(each)[:40]
            raise DataError(f"{name}: header: column {i + 1} is {odd!r}; wanted {HEADER}")
    raise DataError(f"{name}: header: it ends after {len(found)} columns; wanted {HEADER}")


def legal_bars(table: Table, symbol: Symbol, interval: str) -> Bars:
    """The table as bars. Raises DataError at the first fault."""
    if len(table.times) == 0:
        raise DataError(f"{table.name}: no bars below the header; give at least one")
    _check_numbers(table)
    _check_times(table)
    close, unknown = table.columns["close"], np.full(len(table.times), np.nan)
    try:
        bars = Bars(
            symbol=symbol,
            interval=interval,
            opened_at=table.times,
            **{name: table.columns[name] for name in COLUMNS[:4]},
            volume=table.columns.get("volume", unknown),
            adjustment=table.columns.get("adj_close", close) / close,
        )
    except IllegalBarError as error:
        raise _named(table, error) from error
    _check_spacing(table, interval)
    return bars


def _named(table: Table, error: IllegalBarError) -> DataError:
    """The same fault, by its place in the file."""
    if error.column == "opened_at":
        when = str(table.times[error.bar].astype("datetime64[s]")).removesuffix("T00:00:00")
        remedy = "sort the file, oldest first" if "earlier" in error.rule else "keep one of them"
        return table.fault(error.bar, "date", f"{error.rule}: {when}; {remedy}")
    shown = "adj_close" if error.column == "adjustment" else error.column
    rule = error.rule.replace("adjustment", "adj_close")
    values = " ".join(f"{n}={table.columns[n][error.bar]:.10g}" for n in table.columns)
    return table.fault(error.bar, shown, f"{rule}: {values}; mend or drop the {table.place}")


def _check_numbers(table: Table) -> None:
    """Refuse what is no number, and zero, negative, tiny and huge ones."""
    for name, column in table.columns.items():
        price = name != "volume"
        largest = LARGEST_PRICE if price else LARGEST_VOLUME
        for rule, bad in (
            ("is not a number", ~np.isfinite(column)),
            ("is negative", column < 0),
            ("is zero", price & (column == 0)),
            (f"is below {SMALLEST_PRICE:g}", price & (column < SMALLEST_PRICE)),
            (f"is above {largest:g}", column > largest),
        ):
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                value = f"{column[row]:.10g} {rule}"
                raise table.fault(row, name, f"{value}; mend or drop the {table.place}")


def _check_times(table: Table) -> None:
    """Refuse years that no market has seen."""
    bad = ~((table.times >= FIRST_TIME) & (table.times < LAST_TIME))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise table.fault(row, "date", f"{table.times[row]} is outside the years 1700 to 2199")


def _check_spacing(table: Table, interval: str) -> None:
    """Refuse bars of another length: hourly bars called 1m would be known 59 minutes too early."""
    if len(table.times) < 3:  # over a weekend two daily bars are three days apart
        return
    steps = np.diff(table.times)
    row = int(steps.argmin())
    length = duration(interval)
    if steps[row] * 2 <= length or steps[row] >= length * 2:
        step = str(steps[row].astype("timedelta64[s]"))
        raise table.fault(
            row + 1,
            "date",
            f"the shortest step between bars is {step}: not interval {interval};"
            " name the right one with --interval",
        )
