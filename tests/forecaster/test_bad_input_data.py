"""Bad input, end to end: exit code, one line that says where and what, an untouched store."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from market import ORIGIN, columns, daily

from forecaster.errors import ForecasterError
from forecaster.fetching import FetchReport, FetchRequest, fetch
from forecaster.store import Store

HEADER = "date,open,high,low,close,volume"
GOOD = "2024-01-01,10,12,9,11,100"
NEXT = "2024-01-02,10,12,9,11,100"
WANTED = "date|datetime|ts,open,high,low,close[,volume][,adj_close]"


def csv(*lines: str) -> bytes:
    return "\n".join((HEADER, *lines, "")).encode()


CSV_CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty; wanted a header and bars"),
    "blank": (b" \n\n", "the file is empty; wanted a header and bars"),
    "header only": (csv(), "no bars below the header; give at least one"),
    "missing column": (
        b"date,open,high,close\n",
        f"header: column 4 is 'close'; wanted {WANTED}",
    ),
    "short header": (b"date,open,high\n", f"header: it ends after 3 columns; wanted {WANTED}"),
    "misspelt": (b"date,open,hgih,low,close\n", f"header: column 3 is 'hgih'; wanted {WANTED}"),
    "twice": (
        b"date,open,open,high,low,close\n",
        f"header: column 3 is 'open'; wanted {WANTED}",
    ),
    "extra": (
        b"date,open,high,low,close,volume,adj_close,x\n",
        f"header: column 8 is 'x'; wanted {WANTED}",
    ),
    "semicolons": (
        b"date;open;high;low;close\n",
        f"header: column 1 is 'date;open;high;low;close'; wanted {WANTED}",
    ),
    "byte order mark": (
        b"\xef\xbb\xbf" + csv(GOOD),
        "line 1: it begins with a byte order mark; save as plain UTF-8",
    ),
    "latin": (csv(GOOD) + b"\xe9\n", "line 3: byte 0xe9 is not UTF-8; save it as UTF-8"),
    "utf-16": (csv(GOOD).decode().encode("utf-16"), "line 1: byte 0xff is not UTF-8; save it as"),
    "ragged, long": (
        csv(GOOD, NEXT + ",7"),
        "line 3: 7 fields, the header has 6; mend or drop the line",
    ),
    "ragged, short": (
        csv("2024-01-01,10,12,9,11"),
        "line 2: 5 fields, the header has 6; mend or drop the line",
    ),
    "blank line": (csv(GOOD, "", NEXT), "line 3: blank; mend or drop the line"),
    "quotes": (
        csv('2024-01-01,"10",12,9,11,1'),
        "line 2, column open: '\"10\"' is not a number; write digits and a point, as 101.25",
    ),
    "decimal comma": (
        csv("2024-01-01,10,5,12,9,11,1"),
        "line 2: 7 fields, the header has 6; mend or drop the line",
    ),
    "thousands": (csv('2024-01-01,"1,234.5",12,9,11,1'), "line 2: 7 fields, the header has 6"),
    "formula": (
        csv("2024-01-01,=1+1,12,9,11,1"),
        "line 2, column open: '=1+1' is not a number; write digits",
    ),
    "nul": (
        csv("2024-01-01,10\0,12,9,11,1"),
        "line 2, column open: '10\\x00' is not a number; write digits",
    ),
    "underscore": (csv("2024-01-01,1_0,12,9,11,1"), "line 2, column open: '1_0' is not a number"),
    "arabic digits": (
        csv("2024-01-01,\u0661\u0660,12,9,11,1"),
        "line 2, column open: '\u0661\u0660' is not a number",
    ),
    "NaN": (csv("2024-01-01,10,12,9,NaN,1"), "line 2, column close: 'NaN' is not a number"),
    "infinite": (csv("2024-01-01,10,inf,9,11,1"), "line 2, column high: 'inf' is not a number"),
    "overflow": (
        csv("2024-01-01,10,1e999,9,11,1"),
        "line 2, column high: inf is not a number; mend or drop the line",
    ),
    "no value": (csv("2024-01-01,10,12,9,11,"), "line 2, column volume: '' is not a number"),
    "zero": (
        csv(GOOD, "2024-01-02,10,12,0,11,1"),
        "line 3, column low: 0 is zero; mend or drop the line",
    ),
    "negative": (
        csv("2020-04-20,17.73,17.85,-40.32,-37.63,247947"),
        "line 2, column low: -40.32 is negative; mend or drop the line",
    ),
    "negative volume": (
        csv("2024-01-01,10,12,9,11,-5"),
        "line 2, column volume: -5 is negative; mend or drop the line",
    ),
    "huge": (csv("2024-01-01,10,2e9,9,11,1"), "line 2, column high: 2000000000 is above 1e+09"),
    "tiny": (csv("2024-01-01,10,12,1e-12,11,1"), "line 2, column low: 1e-12 is below 1e-09"),
    "high below low": (
        csv(GOOD, "2024-01-02,10,8,9,11,100"),
        "line 3, column high: high is below low: open=10 high=8 low=9 close=11 volume=100;"
        " mend or drop the line",
    ),
    "close above high": (
        csv("2024-01-01,10,12,9,13,100"),
        "line 2, column high: high is below open or close: open=10 high=12 low=9 close=13",
    ),
    "open below low": (
        csv("2024-01-01,8,12,9,11,100"),
        "line 2, column low: low is above open or close: open=8 high=12 low=9 close=11",
    ),
    "unsorted": (
        csv(NEXT, GOOD),
        "line 3, column date: it is earlier than the bar before it: 2024-01-01;"
        " sort the file, oldest first",
    ),
    "newest first": (csv(*(f"2024-01-{d:02},10,12,9,11,1" for d in (9, 8, 7))), "line 3, column"),
    "twice the same day": (
        csv(GOOD, NEXT, NEXT),
        "line 4, column date: it has the same time as the bar before it: 2024-01-02;"
        " keep one of them",
    ),
    "ambiguous date": (
        csv("01/02/2024,10,12,9,11,1"),
        "line 2, column date: '01/02/2024' is not a time of interval 1d; write it as 2024-01-31",
    ),
    "date as a number": (csv("20240102,10,12,9,11,1"), "'20240102' is not a time of interval 1d"),
    "date of a spreadsheet": (csv("45293,10,12,9,11,1"), "'45293' is not a time of interval 1d"),
    "no such day": (csv("2024-02-30,10,12,9,11,1"), "'2024-02-30' is not a time of interval 1d"),
    "hour in a daily file": (csv("2024-01-01T10:00Z,10,12,9,11,1"), "is not a time of interval 1d"),
    "too early": (
        csv("1677-01-01,10,12,9,11,1"),
        "1677-01-01T00:00:00.000000 is outside the years",
    ),
    "too late": (csv("2262-01-01,10,12,9,11,1"), "2262-01-01T00:00:00.000000 is outside the years"),
    "terminal escape": (
        csv("2024-01-01,\x1b[31m,12,9,11,1"),
        "line 2, column open: '\\x1b[31m' is not a number",
    ),
    "a line without an end": (
        csv("2024-01-01," + "9" * 20_000),
        "line 2: 20011 characters, more than 10000; mend or drop the line",
    ),
    "commas without an end": (
        b"," * 1_000_000,
        "line 1: 1000000 characters, more than 10000; mend or drop the line",
    ),
    "lines without an end": (b"\n" * 5_000_002, "5000002 lines, more than 5000000; cut it"),
    "a bar to come": (
        csv(GOOD, "2150-01-01,10,12,9,11,1"),
        "line 3, column date: the bar is not over until 2150-01-02T00:00:00 UTC; drop the line",
    ),
    "weekly bars": (
        csv(*(f"2024-01-{d:02},10,12,9,11,1" for d in (1, 8, 15))),
        "line 3, column date: the shortest step between bars is 604800 seconds: not interval 1d",
    ),
}


def strings(values: list[str]) -> pa.Array:
    return pa.array(values)


N = 4
STAMPS = pa.array(columns(N)["opened_at"], pa.timestamp("us"))
PARQUET_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "string close": (
        {"close": strings(["1"] * N)},
        "column close has type string; wanted double, float or an integer",
    ),
    "decimal": (
        {"open": pa.array([1] * N).cast(pa.decimal128(30, 2))},
        "column open has type decimal",
    ),
    "dictionary": (
        {"close": pa.array(["1"] * N).dictionary_encode()},
        "column close has type dictionary<values=string",
    ),
    "nested": ({"close": pa.array([[1.0]] * N)}, "column close has type list<"),
    "bool": ({"volume": pa.array([True] * N)}, "column volume has type bool"),
    "binary": ({"volume": pa.array([b"1"] * N)}, "column volume has type binary"),
    "date as string": (
        {"date": strings(["2024-01-01"] * N)},
        "column date has type string; wanted date32 or timestamp (UTC or no zone)",
    ),
    "zone": (
        {"date": STAMPS.cast(pa.timestamp("us", "Nowhere/Nope"))},
        "column date has type timestamp[us, tz=Nowhere/Nope]; wanted date32",
    ),
    "half a day": (
        {"date": pa.array(columns(N)["opened_at"] + np.timedelta64(9, "h"))},
        "row 1, column date: 2024-01-01T09:00:00.000000 is not a whole day: not interval 1d",
    ),
    "null": ({"close": pa.array([1.0, None, 1.0, 1.0])}, "row 2, column close: no value"),
    "NaN": (
        {"close": pa.array([1.0, 1.0, np.nan, 1.0])},
        "row 3, column close: nan is not a number",
    ),
    "close only": (
        {name: pa.array([np.nan] * N) for name in ("open", "high", "low")},
        "row 1, column open: nan is not a number",
    ),
    "2^60 as a double": ({"volume": pa.array([2**60 + 1] * N)}, "column volume: Integer value"),
    "missing": ({"low": None}, f"header: column 4 is 'close'; wanted {WANTED}"),
    "extra": ({"x": pa.array([1.0] * N)}, f"header: column 7 is 'x'; wanted {WANTED}"),
    "no rows": (
        {name: pa.array([], pa.float64()) for name in HEADER.split(",")[1:]}
        | {"date": pa.array([], pa.date32())},
        "no bars below the header; give at least one",
    ),
    "many columns": (
        {f"c{i}": pa.array([1.0] * N) for i in range(50)},
        "56 columns, more than 7; cut it",
    ),
}


def parquet(changed: dict[str, Any]) -> bytes:
    made = {"date": columns(N)["opened_at"], **columns(N)}
    made = {**{name: made[name] for name in HEADER.split(",")}, **changed}
    sink = io.BytesIO()
    pq.write_table(pa.table({k: v for k, v in made.items() if v is not None}), sink)
    return sink.getvalue()


def refused(tmp_path: Path, name: str, data: bytes) -> FetchReport:
    """Fetch the file into a store that holds other bars of its symbol, and compare the store."""
    path = tmp_path / f"AAPL.{name}"
    path.write_bytes(data)
    store = Store(tmp_path / "store")
    store.put(daily(40), ORIGIN)
    before = snapshot(store.root)
    report = fetch(FetchRequest(source=name, path=path, store=store.root))
    assert snapshot(store.root) == before
    return report


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file but the lock, which notes who held it last."""
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "LOCK"}


def assert_one_line(failure: ForecasterError | None, code: int, text: str) -> None:
    assert failure is not None
    message = str(failure)
    assert text in message
    assert failure.exit_code == code
    assert message.isprintable()
    assert len(message) <= 240


@pytest.mark.parametrize(("data", "text"), CSV_CASES.values(), ids=CSV_CASES)
def test_csv(tmp_path: Path, data: bytes, text: str) -> None:
    report = refused(tmp_path, "csv", data)
    assert_one_line(report.failure, 3, text)
    assert str(report.failure).startswith("AAPL.csv: ")
    assert report.records[0].error == str(report.failure)


@pytest.mark.parametrize(("changed", "text"), PARQUET_CASES.values(), ids=PARQUET_CASES)
def test_parquet(tmp_path: Path, changed: dict[str, Any], text: str) -> None:
    report = refused(tmp_path, "parquet", parquet(changed))
    assert_one_line(report.failure, 3, f"AAPL.parquet: {text}")


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_a_parquet_column_twice_or_of_an_extension_type(tmp_path: Path) -> None:
    table = pq.read_table(io.BytesIO(parquet({})))
    twice = table.rename_columns([*HEADER.split(",")[:4], "low", "volume"])
    text = f"header: column 5 is 'low'; wanted {WANTED}"
    assert_one_line(refused(tmp_path, "parquet", written(twice)).failure, 3, text)
    uuids = pa.array([bytes(16)] * N, pa.uuid())
    odd = table.set_column(4, "close", uuids)
    text = "column close has type extension<arrow.uuid>; wanted double, float or an integer"
    assert_one_line(refused(tmp_path, "parquet", written(odd)).failure, 3, text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the file is empty"),
        (b"PAR1", "not a sound parquet file: "),
        (csv(GOOD), "not a sound parquet file: "),
        (parquet({})[:-1], "not a sound parquet file: "),
        (b"PAR1" + b"\xff" * 300 + b"PAR1", "not a sound parquet file: "),
    ],
)
def test_no_parquet_at_all(tmp_path: Path, data: bytes, text: str) -> None:
    assert_one_line(refused(tmp_path, "parquet", data).failure, 3, f"AAPL.parquet: {text}")


def test_a_bomb_is_refused_from_its_footer(tmp_path: Path) -> None:
    """Six million equal rows are a few kilobytes of file and 300 MB of columns."""
    n = 6_000_000
    same = pa.array(np.ones(n))
    sink = io.BytesIO()
    table = pa.table(
        {"date": pa.array(np.zeros(n, "datetime64[D]")), **dict.fromkeys("ohlc", same)}
    )
    pq.write_table(table.rename_columns(HEADER.split(",")[:5]), sink, compression="zstd")
    assert len(sink.getvalue()) < 1 << 20
    report = refused(tmp_path, "parquet", sink.getvalue())
    assert_one_line(report.failure, 3, "AAPL.parquet: 6000000 rows, more than 5000000; cut it")


def test_one_bar_is_legal(tmp_path: Path) -> None:
    path = tmp_path / "ONE.csv"
    path.write_bytes(csv(GOOD))
    report = fetch(FetchRequest(source="csv", path=path, store=tmp_path / "store"))
    assert (report.exit_code, report.records[0].rows_total) == (0, 1)


def test_a_good_file_does_change_the_store(tmp_path: Path) -> None:
    """The comparison of stores can fail: this file is stored."""
    path = tmp_path / "IBM.csv"
    path.write_bytes(csv(GOOD, NEXT))
    Store(tmp_path / "store").prepare()
    before = snapshot(tmp_path / "store")
    assert fetch(FetchRequest(source="csv", path=path, store=tmp_path / "store")).exit_code == 0
    assert snapshot(tmp_path / "store") != before
