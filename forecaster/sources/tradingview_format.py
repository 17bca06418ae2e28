"""What TradingView exports: time,open,high,low,close, Volume and the columns of any studies.

Times are Unix seconds or ISO moments, at which the bar opens. Daily bars and longer want a session
date: the UTC date of the opening, or the day after for sessions that open at 20:00 UTC or later.
Those are evenings of currencies and futures, and mornings of Sydney and Auckland; their exchanges
date them so too. A bar labelled by the evening itself would be known 22 hours before it is over.
"""

import csv
import re

import numpy as np

from forecaster.errors import DataError, printable
from forecaster.sources.csv_format import day_of, lines_of, moment_of, shown_field, table_of
from forecaster.sources.strict import WHOLE_DAYS, Table

HEADER = ("time", "open", "high", "low", "close")
VOLUME = "volume"
# Fewer digits are a year or 20240102: bars of 1966-11 to 1973-03 want ISO times.
UNIX_SECONDS = re.compile(r"-?[0-9]{9,11}")
EVENING = np.timedelta64(20, "h")
MOST_NAMED = 5  # studies in a note


def parse_tradingview(name: str, data: bytes, interval: str) -> Table:
    """The table in `data`, the content of file `name`. Raises DataError naming line and column."""
    lines = lines_of(name, data)
    header = _header(name, lines[0])
    for i, wanted in enumerate(HEADER):
        if i >= len(header) or header[i] != wanted:
            found = f"column {i + 1} is {shown_field(header[i] if i < len(header) else '')}"
            raise DataError(
                f"{name}: header: {found}; wanted {','.join(HEADER)}[,Volume][,studies]: an export"
                " of TradingView; for others use --source csv"
            )
    volumes = [i for i, each in enumerate(header) if each.lower() == VOLUME]
    if len(volumes) > 1:
        raise DataError(
            f"{name}: header: {len(volumes)} columns are called Volume; drop all but one"
        )
    read = {**dict(enumerate(HEADER)), **dict.fromkeys(volumes, VOLUME)}
    lines[0] = "," * (len(header) - 1)
    table = table_of(name, lines, read, lambda text: _time(text, interval))
    studies = [printable(each)[:30] for i, each in enumerate(header) if i not in read]
    more = ", ..." if len(studies) > MOST_NAMED else ""
    note = f"not read: {', '.join(studies[:MOST_NAMED])}{more}"
    return table.head(len(table.times), note) if studies else table


def _header(name: str, line: str) -> list[str]:
    """The names of the columns: those of studies may be quoted, with commas in them."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise DataError(f"{name}: line 1: {error}; export the file again") from error


def _time(text: str, interval: str) -> np.datetime64:
    """When a bar opens, in UTC; a session date for daily bars and longer. ValueError for others."""
    if UNIX_SECONDS.fullmatch(text):
        opened = np.datetime64(int(text), "s").astype("datetime64[us]")
    else:
        whole = day_of(text) if interval in WHOLE_DAYS else None
        opened = moment_of(text) if whole is None else whole
    if opened is None:
        wanted = "Unix seconds (9 digits or more) or an ISO moment with its offset"
        raise ValueError(
            f"{shown_field(text)} is not a time of interval {interval}; wanted {wanted}"
        )
    if interval not in WHOLE_DAYS:
        return opened
    day = opened.astype("datetime64[D]")
    return (day + (opened - day >= EVENING)).astype("datetime64[us]")
