"""A user's CSV and parquet: what is read, and that a damaged file is refused or still legal."""

import http.server
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market import COLUMNS, FIXED, columns, daily, day

from forecaster.bars import Bars
from forecaster.errors import DataError, StorageError, UsageError
from forecaster.sources import source
from forecaster.sources.csv_format import parse_csv
from forecaster.sources.parquet_format import parse_parquet
from forecaster.sources.strict import NO_VOLUME, legal_bars
from forecaster.symbols import Symbol

CSV = """Date,Open,High,Low,Close,Volume,Adj_Close
2024-01-01,99.75,101,99,100.5,1000,50.25
2024-01-02,100.75,102,100,101.5,1.5e3,50.75
2024-01-03,101.75,103,101,102.5,0,102.5
"""
AAPL = Symbol("AAPL")


def from_csv(text: str | bytes, interval: str = "1d") -> Bars:
    data = text.encode() if isinstance(text, str) else text
    return legal_bars(parse_csv("F.csv", data, interval), AAPL, interval)


def as_parquet(n: int = 5, **changed: pa.Array | None) -> bytes:
    """A legal parquet file, with some columns exchanged, added or (None) left out."""
    made = {"date": columns(n)["opened_at"].astype("datetime64[D]"), **columns(n)}
    made = {name: made[name] for name in ("date", "open", "high", "low", "close", "volume")}
    made = {name: v for name, v in {**made, **changed}.items() if v is not None}
    sink = io.BytesIO()
    pq.write_table(pa.table(made), sink)
    return sink.getvalue()


def from_parquet(data: bytes, interval: str = "1d") -> Bars:
    return legal_bars(parse_parquet("F.parquet", data, interval), AAPL, interval)


def test_csv_is_read_as_written() -> None:
    bars = from_csv(CSV)
    assert bars.opened_at[1] == np.datetime64("2024-01-02")
    assert bars.volume.tolist() == [1000, 1500, 0]
    assert bars.adjustment.tolist() == [0.5, 50.75 / 101.5, 1]
    assert from_csv(CSV.replace("\n", "\r\n")).close.tobytes() == bars.close.tobytes()
    assert from_csv(CSV.removesuffix("\n")).close.tobytes() == bars.close.tobytes()


def test_numbers_keep_every_bit() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 50)
    lines = [f"{d},{x!r},3,1,{x!r}" for d, x in zip(days(50), values.tolist(), strict=True)]
    bars = from_csv("date,open,high,low,close\n" + "\n".join(lines))
    assert bars.close.tobytes() == values.tobytes()
    assert np.isnan(bars.volume).all()


def days(n: int) -> list[str]:
    return [str(d) for d in np.datetime64("2024-01-01") + np.arange(n)]


@pytest.mark.parametrize("stamp", ["2024-01-01T14:30:00Z", "2024-01-01 09:30-05:00"])
def test_moments_become_utc(stamp: str) -> None:
    bars = from_csv(f"ts,open,high,low,close\n{stamp},1,1,1,1\n", "1h")
    assert bars.label(0) == "2024-01-01T14:30:00"


@pytest.mark.parametrize(
    "stamp",
    [
        pa.array(columns(5)["opened_at"], pa.timestamp("ns")),
        pa.array(columns(5)["opened_at"], pa.timestamp("us", "UTC")),
        pa.array(columns(5)["opened_at"], pa.timestamp("s")),
    ],
    ids=str,
)
def test_parquet_is_read_as_written(stamp: pa.Array) -> None:
    plain = from_parquet(as_parquet())
    for name in COLUMNS:
        assert getattr(plain, name).tobytes() == getattr(daily(5), name).tobytes()
    assert from_parquet(as_parquet(date=stamp)).opened_at.tobytes() == plain.opened_at.tobytes()
    integers = as_parquet(volume=pa.array([1, 2, 3, 4, 5], pa.int64()))
    assert from_parquet(integers).volume.tolist() == [1, 2, 3, 4, 5]


def test_pandas_metadata_in_a_file_is_not_believed() -> None:
    table = pq.read_table(io.BytesIO(as_parquet())).replace_schema_metadata(
        {b"pandas": b"{not json", b"ARROW:schema": b"AAAA"}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False)
    assert len(from_parquet(sink.getvalue())) == 5


def test_file_source_takes_symbol_range_hash_and_note(tmp_path: Path) -> None:
    path = tmp_path / "%5EGSPC.csv"
    path.write_text("date,open,high,low,close\n" + "".join(f"{d},2,3,1,2\n" for d in days(9)))
    files = source("csv", path)
    assert files.symbols() == ("^GSPC",)
    got = files.fetch(Symbol("^GSPC"), "1d", day("2024-01-03"), day("2024-01-04"))
    assert (got.bars.symbol, len(got.bars)) == ("^GSPC", 2)
    assert got.provenance.notes == (NO_VOLUME,)
    assert (got.provenance.source, len(got.provenance.sha256)) == ("csv", 64)


def test_file_name_that_is_no_symbol(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        source("csv", tmp_path / "my apple\x1b.csv").symbols()
    assert str(caught.value) == (
        "file name 'my apple\\\\x1b.csv' is not a symbol: name it, as in"
        " forecaster fetch AAPL --source csv --path FILE"
    )


def test_source_and_path_must_fit(tmp_path: Path) -> None:
    for name, path, text in (
        ("cvs", None, "source 'cvs' is unknown; did you mean 'csv'?"),
        ("csv", None, "source csv reads a file: add --path FILE.csv"),
        ("parquet", None, "source parquet reads a file: add --path FILE.parquet"),
        ("bundled", tmp_path, f"source bundled reads no file: leave out --path {tmp_path}"),
        ("synthetic", tmp_path, f"source synthetic reads no file: leave out --path {tmp_path}"),
    ):
        with pytest.raises(UsageError) as caught:
            source(name, path)
        assert str(caught.value) == text


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    (tmp_path / "real.csv").write_text(CSV)
    os.mkfifo(tmp_path / "pipe.csv")
    for name, kind, text in (
        ("", UsageError, "is a directory: name a file in it"),
        ("none.csv", UsageError, "there is no such file: name one"),
        ("link.csv", StorageError, "it is a symbolic link; name the file itself"),
        ("pipe.csv", StorageError, "not a regular file; name a file"),
    ):
        with pytest.raises(kind, match=text):
            source("csv", tmp_path / name).fetch(AAPL)


def test_a_url_is_a_path_that_is_not_there() -> None:
    hits: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for scheme in ("http://", "http:/", "//"):
            url = Path(f"{scheme}127.0.0.1:{server.server_port}/AAPL.csv")
            for name in ("csv", "parquet"):
                with pytest.raises(UsageError, match="there is no such file"):
                    source(name, url).fetch(AAPL)
        server.shutdown()
        thread.join()
    assert hits == []


def test_another_length_of_bar_is_refused() -> None:
    """Hourly bars called 1m would be known 59 minutes before they are."""
    stamps = [f"2024-01-01T{h:02}:00Z" for h in range(9)]
    text = "ts,open,high,low,close\n" + "".join(f"{s},1,1,1,1\n" for s in stamps)
    assert len(from_csv(text, "1h")) == 9
    for wrong in ("1m", "5m", "15m", "30m"):
        with pytest.raises(DataError) as caught:
            from_csv(text, wrong)
        assert str(caught.value) == (
            "F.csv: line 3, column date: the shortest step between bars is 3600 seconds:"
            f" not interval {wrong}; name the right one with --interval"
        )
    weekly = "date,open,high,low,close\n" + "".join(f"{d},1,1,1,1\n" for d in days(60)[::7])
    assert len(from_csv(weekly, "1wk")) == 9
    with pytest.raises(DataError, match="604800 seconds: not interval 1d"):
        from_csv(weekly, "1d")
    with pytest.raises(DataError, match="86400 seconds: not interval 1wk"):
        from_csv(CSV, "1wk")


def obeys_the_rules(bars: Bars) -> bool:
    """The rules of a legal bar, written out again."""
    rows = zip(bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
    return bool((np.diff(bars.opened_at) > np.timedelta64(0)).all()) and all(
        0 < lo <= hi and lo <= min(o, c) * (1 + 1e-6) and hi >= max(o, c) * (1 - 1e-6) and v >= 0
        for o, hi, lo, c, v in rows
    )


def is_refusal_or_legal(read: Callable[[], Bars], start: str) -> bool:
    """Whether reading gives legal bars, or one line that names the file and moves no cursor."""
    try:
        bars = read()
    except DataError as error:
        text = str(error)
        return text.startswith(start) and text.isprintable() and len(text) <= 240
    return obeys_the_rules(bars)


@settings(FIXED, max_examples=400)
@given(st.data())
def test_mutated_csv_is_refused_or_legal(data: st.DataObject) -> None:
    raw = bytearray(CSV.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        with_what = data.draw(st.sampled_from([*b"0123456789-+.,eE\n\r\"'; T:ZNa\x00\xff"]))
        match data.draw(st.sampled_from(["set", "insert", "delete", "cut"])):
            case "set":
                raw[at] = with_what
            case "insert":
                raw.insert(at, with_what)
            case "delete" if len(raw) > 1:
                del raw[at]
            case _:
                del raw[at + 1 :]
    assert is_refusal_or_legal(lambda: from_csv(bytes(raw)), "F.csv: ")


def test_a_lax_reader_would_be_caught_by_the_mutations() -> None:
    """Planted mistake: a reader that swaps high and low is refused by the independent rules."""
    bars = daily(3)
    lax = object.__new__(Bars)
    for name in COLUMNS:
        twisted = {"high": "low", "low": "high"}.get(name, name)
        object.__setattr__(lax, name, getattr(bars, twisted))
    assert obeys_the_rules(bars)
    assert not obeys_the_rules(lax)


@settings(FIXED, max_examples=300)
@given(st.data())
def test_mutated_parquet_is_refused_or_legal(data: st.DataObject) -> None:
    raw = bytearray(PARQUET)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(raw))))
    assert is_refusal_or_legal(lambda: from_parquet(bytes(raw[:cut])), "F.parquet: ")


@pytest.mark.slow
def test_thirty_thousand_mutants_of_a_parquet_file() -> None:
    rng, refused = np.random.default_rng(1), 0
    for _ in range(30_000):
        raw = bytearray(PARQUET)
        for _ in range(rng.integers(1, 4)):
            raw[rng.integers(0, len(raw))] = rng.integers(0, 256)
        if rng.random() < 0.2:
            raw = raw[: rng.integers(0, len(raw))]
        try:
            assert obeys_the_rules(from_parquet(bytes(raw)))
        except DataError:
            refused += 1
    assert 20_000 < refused < 30_000


PARQUET = as_parquet(30)
