"""Exports of TradingView: their names and times, sessions dated so that nothing is known early."""

from pathlib import Path

import numpy as np
import pytest

from forecaster.bars import Bars
from forecaster.errors import DataError, UsageError
from forecaster.sources import source
from forecaster.sources.files import FileSource
from forecaster.sources.strict import NO_VOLUME, legal_bars
from forecaster.sources.tradingview_format import parse_tradingview
from forecaster.symbols import Symbol

NOW = np.datetime64("2024-02-01T12:00", "us")
NVDA = Symbol("NVDA")


def unix(moment: str) -> int:
    return int(np.datetime64(moment, "s").astype(np.int64))


def export(*stamps: object, more: str = ",Volume", row: str = "1,2,1,2,10") -> str:
    return "\n".join([f"time,open,high,low,close{more}", *(f"{s},{row}" for s in stamps), ""])


def read(text: str, interval: str = "1d") -> Bars:
    return legal_bars(parse_tradingview("T.csv", text.encode(), interval), NVDA, interval)


def labels(text: str, interval: str = "1d") -> list[str]:
    bars = read(text, interval)
    return [bars.label(t) for t in range(len(bars))]


@pytest.mark.parametrize(
    ("opens", "session"),
    [
        ("2024-01-02T14:30", "2024-01-02"),  # New York
        ("2024-01-02T08:00", "2024-01-02"),  # London
        ("2024-01-02T00:00", "2024-01-02"),  # Tokyo; coins
        ("2024-01-01T23:00", "2024-01-02"),  # Sydney in summer; futures of Chicago
        ("2024-01-01T22:00", "2024-01-02"),  # currencies in winter
        ("2024-01-01T21:00", "2024-01-02"),  # currencies in summer; Auckland
    ],
)
def test_a_daily_bar_has_its_sessions_date(opens: str, session: str) -> None:
    assert labels(export(unix(opens))) == [session]
    assert labels(export(f"{opens}:00Z")) == [session]
    bars = read(export(unix(opens)))
    assert bars.closed_at[0] >= np.datetime64(opens) + np.timedelta64(24, "h") or opens[11:] < "20"


def test_a_bar_dated_by_its_evening_would_be_known_before_it_is_over() -> None:
    """Planted mistake: the date of the opening alone."""
    opens = np.datetime64("2024-01-01T22:00", "us")
    naive = opens.astype("datetime64[D]") + np.timedelta64(1, "D")
    over = opens + np.timedelta64(23, "h")
    assert naive < over <= read(export(unix("2024-01-01T22:00"))).closed_at[0]


def test_times_of_every_form_are_the_same_moment() -> None:
    wanted = ["2024-01-02T14:30:00"]
    for stamp in (
        unix("2024-01-02T14:30"),
        "2024-01-02T14:30:00Z",
        "2024-01-02T09:30:00-05:00",
        "2024-01-02T23:30:00+09:00",
    ):
        assert labels(export(stamp), "1h") == wanted
    assert labels(export("2024-01-02")) == ["2024-01-02"]


def test_studies_are_not_read_and_said_to_be_there() -> None:
    text = export("2024-01-02", more=',"MA (20, close)",Volume,RSI', row="1,2,1,2,NaN,10,")
    table = parse_tradingview("T.csv", text.encode(), "1d")
    assert table.notes == ("not read: MA (20, close), RSI",)
    assert table.columns["volume"].tolist() == [10]
    assert set(table.columns) == {"open", "high", "low", "close", "volume"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "T.csv: the file is empty"),
        ("date,open,high,low,close\n", "T.csv: header: column 1 is 'date'; wanted time,open,high"),
        ("time,open,high\n", "T.csv: header: column 4 is ''; wanted time,open,high,low,close"),
        (export(1, more=",Volume,Volume"), "T.csv: header: 2 columns are called Volume; drop all"),
        (export("01/02/2024"), "T.csv: line 2, column time: '01/02/2024' is not a time of interva"),
        (export("2024"), "T.csv: line 2, column time: '2024' is not a time of interval 1d"),
        (export("20240102"), "T.csv: line 2, column time: '20240102' is not a time of interval 1d"),
        (export("2024-01-02", row="1,2,1,x,1"), "T.csv: line 2, column close: 'x' is not a number"),
        (export("2024-01-02", row="1,2,1,2"), "T.csv: line 2: 5 fields, the header has 6"),
        (export("2024-01-02", row="1,2,1,2,NaN"), "T.csv: line 2, column volume: 'NaN' is not a"),
        (export("2024-01-03", "2024-01-02"), "T.csv: line 3, column date: it is earlier than the"),
        (export("99999999999"), "T.csv: line 2, column date: 5138-11-16T00:00:00.000000 is outsid"),
    ],
)
def test_what_is_no_export_is_refused_by_line_and_column(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) <= 240


def test_an_intraday_bar_wants_a_time() -> None:
    with pytest.raises(DataError, match="'2024-01-02' is not a time of interval 1h; wanted Unix"):
        read(export("2024-01-02"), "1h")


def files(path: Path, name: str = "tradingview") -> FileSource:
    made = source(name, path)
    assert isinstance(made, FileSource)
    return FileSource(made.name, made.path, made.parse, made.cuts_open_bar, clock=lambda: NOW)


def test_the_open_sessions_bar_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "NVDA.csv"
    path.write_text(export("2024-01-30", "2024-01-31", "2024-02-01"))
    got = files(path).fetch(NVDA)
    assert [got.bars.label(t) for t in range(2)] == ["2024-01-30", "2024-01-31"]
    assert got.provenance.notes == (
        "the last bar is not over until 2024-02-02T00:00:00 UTC: left out",
    )
    path.write_text(export("2024-01-30", "2024-01-31", more="", row="1,2,1,2"))
    assert files(path).fetch(NVDA).provenance.notes == (NO_VOLUME,)


def test_two_bars_to_come_are_a_mistake_and_so_is_one_in_a_plain_csv(tmp_path: Path) -> None:
    path = tmp_path / "NVDA.csv"
    path.write_text(export("2024-01-30", "2024-02-01", "2024-02-02"))
    with pytest.raises(DataError, match="line 3, column date: the bar is not over until"):
        files(path).fetch(NVDA)
    path.write_text("date,open,high,low,close\n2024-01-30,1,2,1,2\n2024-02-01,1,2,1,2\n")
    with pytest.raises(DataError, match="line 3, column date: the bar is not over until"):
        files(path, "csv").fetch(NVDA)


def test_it_reads_a_file() -> None:
    with pytest.raises(UsageError, match=r"source tradingview reads a file: add --path FILE.csv"):
        source("tradingview")
