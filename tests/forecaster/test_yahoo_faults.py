"""F01 to F28: each fault is injected on the wire, under yfinance's real parser.

What must hold: an error of ours that tells the truth, with its exit code; nothing stored that is
not so; and what was stored before is there, byte for byte.
"""

import gzip
import inspect
import json
import pickle
import socket
import struct
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_yahoo import (
    NOW,
    Chart,
    Reply,
    Scenario,
    refusal,
    reply,
    steady,
)
from yahoo_harness import Desk, desk

from forecaster.errors import DataError, ForecasterError, ProviderError, UsageError
from forecaster.sources import registry
from forecaster.sources.yahoo import client as client_module
from forecaster.sources.yahoo import patience as patience_module
from forecaster.sources.yahoo import session as session_module
from forecaster.sources.yahoo import source as source_module
from forecaster.symbols import Symbol

GOOD = Chart().document()
HTML = b"<!DOCTYPE html><html><body>Before you continue to Yahoo</body></html>"


@pytest.fixture
def yahoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with desk(tmp_path / "data", monkeypatch) as made:
        yield made


def first_then(answers: list[Reply], document: Any = GOOD) -> Scenario:
    """`answers` one after the other, then the document."""
    return lambda n, *_: answers[n] if n < len(answers) else reply(document)


def always(answer: Reply) -> Scenario:
    return lambda *_: answer


def fails(yahoo: Desk, symbol: str = "GOOD", **options: Any) -> ForecasterError:
    """The one error of a fetch that stores nothing."""
    before = yahoo.store.entries()
    failure = yahoo.fetch(symbol, **options).failure
    assert failure is not None
    assert yahoo.store.entries() == before
    assert len(str(failure)) <= 240
    assert str(failure).startswith(f"{symbol}: ")
    return failure


def bent(**columns: Any) -> dict[str, Any]:
    return Chart().document(**columns)


def column(name: str) -> list[Any]:
    return list(GOOD["chart"]["result"][0]["indicators"]["quote"][0][name])


def test_one_good_symbol_from_the_wire_to_the_store(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(GOOD))
    record = yahoo.record("GOOD", start=date(2024, 1, 1))
    assert (record.status, record.change, record.rows_added, record.notes) == (
        "added",
        "first",
        90,
        (),
    )
    assert (record.first, record.last) == ("2024-01-02", "2024-05-06")
    bars = yahoo.store.load("GOOD")
    assert bars.close.tolist() == pytest.approx(Chart().printed(), rel=1e-15)
    assert bars.adjustment.tolist() == [1.0] * 90
    told = yahoo.store.load_with_provenance("GOOD")[1]
    assert (told.source, told.package, told.currency, told.exchange) == (
        "yahoo",
        "yfinance",
        "USD",
        "NYQ",
    )
    assert yahoo.slept == []
    assert yahoo.fake.charts("GOOD") == 1


def test_f01_nobody_listens(yahoo: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(yahoo.fake, "url", closed)
    report = yahoo.fetch("A", "B")
    assert [type(e) for e in report.errors.values()] == [ProviderError, ProviderError]
    assert report.exit_code == 4
    assert "A: Yahoo is not reachable (curl: (7)" in str(report.failure)
    assert "data without a network: --source bundled" in str(report.failure)
    assert len(yahoo.slept) == 4  # A is tried five times, B once: the network is down for both


@pytest.mark.parametrize("drip", [False, True])
def test_f02_a_server_that_hangs_or_drips(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch, drip: bool
) -> None:
    def slow(_: int, __: dict[str, str], handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _byte in range(20 if drip else 1):
            handler.wfile.write(b" " if drip else b"")
            handler.wfile.flush()
            time.sleep(0.1 if drip else 1.0)

    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(source_module, "TRY_TIMEOUT_S", 1.0)
    yahoo.has("GOOD", slow)
    yahoo.has("NEXT", steady(Chart("NEXT").document()))
    began = time.monotonic()
    report = yahoo.fetch("GOOD", "NEXT")
    assert time.monotonic() - began < 30
    failure = report.errors["GOOD"]
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert "did not answer in time" in str(failure)
    assert [r.status for r in report.records] == ["failed", "added"]  # it holds nobody up


def test_f02_a_worker_that_never_comes_back_is_left_behind(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = client_module.ask

    def hangs(session: Any, symbol: str, *rest: Any) -> Any:
        if symbol == "GOOD":
            monkeypatch.setattr(source_module, "TRY_TIMEOUT_S", 60.0)  # the next has time
            time.sleep(3)
        return plain(session, symbol, *rest)

    monkeypatch.setattr(source_module, "TRY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(source_module, "GRACE_S", 0.1)
    monkeypatch.setattr(patience_module, "MOST_TRIES", 1)
    monkeypatch.setattr(client_module, "ask", hangs)
    yahoo.has("NEXT", steady(Chart("NEXT").document()))
    report = yahoo.fetch("GOOD", "NEXT")
    assert "did not answer in time" in str(report.errors["GOOD"])
    assert [r.status for r in report.records] == ["failed", "added"]


def test_f03_too_many_requests_a_few_times(yahoo: Desk) -> None:
    limited = reply({"finance": {"error": "Too Many Requests"}}, 429, ("Retry-After", "20"))
    yahoo.has("GOOD", first_then([limited] * 4))
    assert yahoo.record("GOOD").status == "added"
    assert len(yahoo.slept) == 2  # yfinance asks twice a try, with another kind of cookie
    assert all(20 <= wait <= 60 for wait in yahoo.slept)


def test_f03_too_many_requests_for_ever(yahoo: Desk) -> None:
    yahoo.has("GOOD", always(reply({}, 429)))
    yahoo.has("OTHER", steady(Chart("OTHER").document()))
    yahoo.has("THIRD", always(reply({}, 429, ("Retry-After", "999999"))))
    report = yahoo.fetch("GOOD", "THIRD", "OTHER")
    assert [r.status for r in report.records] == ["failed", "failed", "added"]
    assert report.exit_code == 8
    assert "limits the rate (HTTP 429)" in report.records[0].error
    # 5 tries, 4 waits between them, doubled; THIRD waits for the shared cool-down, is tried once.
    assert yahoo.slept[:4] == [6.0, 12.0, 24.0, 45.0]
    assert len(yahoo.slept) == 6
    assert max(yahoo.slept) <= 60


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (401, ProviderError, 5),
        (403, ProviderError, 1),
        (500, ProviderError, 5),
        (503, ProviderError, 5),
    ],
)
def test_f04_statuses(yahoo: Desk, status: int, kind: type, tries: int) -> None:
    yahoo.has("GOOD", always(reply({}, status)))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (kind, 4)
    assert f"HTTP {status}" in str(failure)
    assert len(yahoo.slept) == tries - 1


def test_f04_a_server_error_once_is_got_over(yahoo: Desk) -> None:
    yahoo.has("GOOD", first_then([reply({}, 500)] * 2))
    assert yahoo.record("GOOD").status == "added"
    assert yahoo.slept == [0.75]


BODIES = {
    "html": (Reply(HTML), "no JSON ('<!DOCTYPE html>"),
    "empty": (Reply(b""), "an empty body"),
    "cut": (Reply(json.dumps(GOOD).encode()[:400]), "no JSON ('{"),
    "too short": (Reply(b"{}", headers=(("Content-Length", "900"),)), "not reachable"),
    "deep": (Reply(b"[" * 100_000), "no JSON ('[[["),
    "long number": (Reply(b'{"chart": ' + b"9" * 5000 + b"}"), "no JSON"),
    "twice": (Reply(b'{"chart": 1, "chart": 2}'), "a key is given twice"),
    "NaN": (Reply(b'{"chart": NaN}'), "NaN is not a number"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_f05_no_json_is_said_and_got_over(yahoo: Desk, name: str) -> None:
    answer, said = BODIES[name]
    yahoo.has("GOOD", always(answer))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert said in str(failure)
    asked = yahoo.fake.charts("GOOD", full=False)
    assert asked == 5  # each try was on the wire: nothing is remembered
    yahoo.has("GOOD", lambda n, *_: answer if n == asked else reply(GOOD))
    assert yahoo.record("GOOD").status == "added"


SHAPES: dict[str, Any] = {
    "strings for numbers": bent(close=["1"] * 90),
    "booleans": bent(close=[True] * 90),
    "unequal lengths": bent(close=column("close")[:-1]),
    "huge": bent(close=[10**400, *column("close")[1:]]),
    "times that are text": bent(timestamp=["2024-01-02"] * 90),
    "times of no year": bent(timestamp=[10**17] * 90),
    "negative volume": bent(volume=[-1, *column("volume")[1:]]),
    "no meta": {"chart": {"result": [{}], "error": None}},
    "two charts": {"chart": {"result": [1, 2], "error": None}},
    "chart is a list": {"chart": []},
    "top is a list": [1],
    "no zone": None,
    "split by zero": None,
    "not in order": None,
    "one time, two contents": None,
}  # fmt: skip


def shape(name: str) -> Any:
    if SHAPES[name] is not None:
        return SHAPES[name]
    document = json.loads(json.dumps(GOOD))
    result = document["chart"]["result"][0]
    if name == "no zone":
        result["meta"]["exchangeTimezoneName"] = "../../etc/passwd"
    if name == "split by zero":
        result["events"]["splits"] = {"1": {"date": 1706797800, "numerator": 2, "denominator": 0}}
    if name == "not in order":
        times = result["timestamp"]
        times[3], times[4] = times[4], times[3]
    if name == "one time, two contents":
        result["timestamp"][4] = result["timestamp"][3]
    return document


@pytest.mark.parametrize("name", SHAPES)
def test_f06_wrong_shapes(yahoo: Desk, name: str) -> None:
    yahoo.has("GOOD", steady(shape(name)))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert "GOOD: Yahoo sent " in str(failure)


def test_f07_unknown_and_delisted(yahoo: Desk) -> None:
    failure = fails(yahoo, "NONE")
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert "not known to Yahoo (No data found, symbol may be delisted)" in str(failure)
    reason = "Data doesn't exist for startDate = 1, endDate = 2"
    yahoo.has("OLD", lambda _, q, __: reply(Chart("OLD").document()) if "range" in q
              else refusal("Bad Request", reason, 400))  # fmt: skip
    failure = fails(yahoo, "OLD")
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert reason in str(failure)
    assert yahoo.slept == []  # neither is asked twice


@pytest.mark.parametrize("how", ["null", "list", "no rows"])
def test_f08_empty_is_not_no_bars(yahoo: Desk, how: str) -> None:
    yahoo.has("GOOD", steady(GOOD))
    yahoo.fetch("GOOD")
    before = yahoo.digest("GOOD")
    hollow = {
        "null": None,
        "list": [],
        "no rows": [Chart(days=[]).document()["chart"]["result"][0]],
    }
    empty = {"chart": {"result": hollow[how], "error": None}}
    yahoo.has("GOOD", lambda _, q, __: reply(GOOD if "range" in q else empty))
    yahoo.now += timedelta(days=2)
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert "no bars and no reason" in str(failure)
    assert yahoo.digest("GOOD") == before


def test_f09_another_symbol(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(Chart("BAD").document()))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert str(failure) == "GOOD: Yahoo answered with BAD: name that symbol if it is meant"


@pytest.mark.parametrize("meta", [{"currency": "GBp"}, {"exchangeTimezoneName": "Europe/London"}])
def test_f09_another_listing(yahoo: Desk, meta: dict[str, Any]) -> None:
    yahoo.has("GOOD", steady(GOOD))
    yahoo.fetch("GOOD")
    yahoo.now += timedelta(days=1)
    yahoo.has("GOOD", steady(Chart(meta=meta).document()))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert f"yahoo has {next(iter(meta.values()))}: another listing" in str(failure)


@pytest.mark.parametrize(
    ("now", "closes_at", "last"),
    [
        ("13:00", 16, "2024-05-03"),  # UTC, before the open
        ("15:00", 16, "2024-05-03"),
        ("19:59", 16, "2024-05-03"),
        ("20:00", 16, "2024-05-03"),  # the bell; Yahoo lags
        ("20:30", 16, "2024-05-06"),
        ("17:29", 13, "2024-05-03"),  # a half day
        ("17:30", 13, "2024-05-06"),
    ],
)
def test_f10_the_open_session_is_not_stored(
    yahoo: Desk, now: str, closes_at: int, last: str
) -> None:
    yahoo.now = datetime.fromisoformat(f"2024-05-06T{now}+00:00")
    yahoo.has("GOOD", steady(Chart(closes_at=closes_at).document()))
    record = yahoo.record("GOOD")
    assert record.last == last
    assert bool(record.notes) == (last == "2024-05-03")
    assert all("open session" in note for note in record.notes)


def test_f10_without_trading_hours_today_is_open(yahoo: Desk) -> None:
    document = Chart(meta={"currentTradingPeriod": {}}).document()
    yahoo.has("GOOD", steady(document))
    assert yahoo.record("GOOD").last == "2024-05-03"


@pytest.mark.parametrize(
    ("now", "last", "rows"), [("15:00", "2024-05-03", 89), ("21:00", "2024-05-06", 90)]
)
def test_f11_the_live_row_beside_the_days_row(yahoo: Desk, now: str, last: str, rows: int) -> None:
    chart = Chart()
    day = GOOD["chart"]["result"][0]
    live = {name: [*day["indicators"]["quote"][0][name], day["indicators"]["quote"][0][name][-1]]
            for name in ("open", "high", "low", "close", "volume")}  # fmt: skip
    adjclose = [*day["indicators"]["adjclose"][0]["adjclose"], live["close"][-1]]
    times = [*day["timestamp"], chart.second(date(2024, 5, 6), 10) + 7]
    yahoo.has("GOOD", steady(bent(**live, timestamp=times, adjclose=adjclose)))
    yahoo.now = datetime.fromisoformat(f"2024-05-06T{now}+00:00")
    record = yahoo.record("GOOD")
    assert (record.last, record.rows_total) == (last, rows)
    assert any("merged by yfinance" in note for note in record.notes)


def test_f12_null_rows_are_gaps(yahoo: Desk) -> None:
    nulls = {n: [None if i in (40, 41) else v for i, v in enumerate(column(n))]
             for n in ("open", "high", "low", "close", "volume")}  # fmt: skip
    yahoo.has("GOOD", steady(bent(**nulls, adjclose=nulls["close"])))
    record = yahoo.record("GOOD")
    assert record.rows_total == 88
    assert record.notes == ("2 bars, the first 2024-02-27 without a close, left as gaps",)


def test_f12_too_many_null_rows(yahoo: Desk) -> None:
    close = [None if i % 10 == 0 else v for i, v in enumerate(column("close"))]
    yahoo.has("GOOD", steady(bent(close=close)))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert "9 of 90 bars have no close" in str(failure)


def test_f13_null_volume_is_unknown(yahoo: Desk) -> None:
    volume = [None if i in (3, 4) else v for i, v in enumerate(column("volume"))]
    yahoo.has("GOOD", steady(bent(volume=volume)))
    record = yahoo.record("GOOD")
    assert "2 bars, the first 2024-01-05 with volume 0 though prices moved: unknown" in record.notes
    assert np.flatnonzero(np.isnan(yahoo.store.load("GOOD").volume)).tolist() == [3, 4]


def test_f14_rows_that_nobody_asked_for(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(GOOD, whole=True))
    record = yahoo.record("GOOD", start=date(2024, 2, 13), end=date(2024, 4, 30))
    assert (record.first, record.last) == ("2024-02-13", "2024-04-30")
    assert record.notes == ("30 bars, the first 2024-01-02 before the range, dropped",)


def test_f18_a_change_of_unit(yahoo: Desk) -> None:
    scaled = {n: [v if i < 50 else v * 100 for i, v in enumerate(column(n))]
              for n in ("open", "high", "low", "close")}  # fmt: skip
    yahoo.has("GOOD", steady(bent(**scaled, adjclose=scaled["close"])))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (DataError, 3)
    assert "2024-03-12 without an event: a change of unit; --start 2024-03-12" in str(failure)
    assert yahoo.record("GOOD", start=date(2024, 3, 12)).rows_total == 40


def test_f18_high_and_low_exchanged(yahoo: Desk) -> None:
    high, low = column("high"), column("low")
    high[7], low[7] = low[7], high[7]
    yahoo.has("GOOD", steady(bent(high=high, low=low)))
    assert "impossible open, high or low: only the close is kept" in yahoo.record("GOOD").notes[0]
    bars = yahoo.store.load("GOOD")
    assert np.isnan([bars.open[7], bars.high[7], bars.low[7]]).all()
    assert bars.close[7] == column("close")[7]


@pytest.mark.parametrize("price", [0.0, -37.63])
def test_a_price_that_is_not_positive(yahoo: Desk, price: float) -> None:
    close = [*column("close")[:-2], price, column("close")[-1]]
    yahoo.has("GOOD", steady(bent(close=close)))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (DataError.__subclasses__()[0], 3)
    assert (
        f"(2024-05-03): close is zero or negative: open=nan high=nan low=nan close={price:g}"
        in str(failure)
    )


def test_f19_bars_of_the_future(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(GOOD))
    for years in (10, 1):
        yahoo.now = NOW - timedelta(days=365 * years)
        failure = fails(yahoo)
        assert (type(failure), failure.exit_code) == (ProviderError, 4)
        assert "the system clock or Yahoo is wrong" in str(failure)
    yahoo.now = NOW
    yahoo.fetch("GOOD")
    before = yahoo.digest("GOOD")
    yahoo.now = NOW - timedelta(days=3650)
    assert "it looks wrong; nothing is changed" in str(fails(yahoo))
    yahoo.now = NOW + timedelta(days=3650)  # nothing new in ten years: asked, and the same
    assert yahoo.record("GOOD").status == "same"
    assert yahoo.digest("GOOD") == before


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("America/Havana", date(2024, 3, 4)),  # midnight that does not exist
        ("America/Sao_Paulo", date(2018, 10, 29)),
        ("Asia/Beirut", date(2022, 3, 21)),
        ("America/Havana", date(2023, 10, 30)),  # midnight twice
        ("Pacific/Auckland", date(2024, 4, 1)),
        ("Asia/Tokyo", date(2024, 4, 1)),
        ("Europe/London", date(2024, 3, 25)),
    ],
)  # fmt: skip
def test_f20_daily_labels_are_the_exchanges_dates(yahoo: Desk, zone: str, first: date) -> None:
    days = [first + timedelta(days=i) for i in range(12)]
    for hour in (0, 9):
        yahoo.has("GOOD", steady(Chart(days=days, zone=zone, opens_at=hour).document()))
        symbol_root = yahoo.root.with_name(f"data{hour}")
        yahoo.root = symbol_root
        assert yahoo.record("GOOD").rows_total == 12
        assert yahoo.store.load("GOOD").opened_at.astype("datetime64[D]").tolist() == days


@pytest.mark.parametrize(
    "text", ["A#x", "AAPL?interval=1wk&x=", "../x", "A/B", "A B", "%2E", "A\r\nB", ""]
)
def test_f21_hostile_symbols_put_nothing_on_the_wire(yahoo: Desk, text: str) -> None:
    with pytest.raises(UsageError, match="wanted 1-32 characters"):
        yahoo.fetch(text)
    assert not yahoo.fake.hits


@pytest.mark.parametrize("symbol", ["^GSPC", "EURUSD=X", "BRK-B", "0700.HK", "M_M.NS"])
def test_legal_symbols_reach_their_own_page(yahoo: Desk, symbol: str) -> None:
    yahoo.has(symbol, steady(Chart(symbol).document()))
    assert yahoo.record(symbol).status == "added"


@pytest.mark.parametrize(
    "where", ["http://127.0.0.2:9/x", "https://evil.example/v8/finance/chart/GOOD", "file:///etc/passwd",
              "https://yahoo.com.evil.example/", "https://query1.finance.yahoo.com/v7/finance/download/GOOD"]
)  # fmt: skip
def test_f22_redirects_away_are_refused(yahoo: Desk, where: str) -> None:
    yahoo.has("GOOD", always(Reply(b"", 302, (("Location", where),))))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert "Yahoo's answer is refused" in str(failure)
    assert set(yahoo.fake.hits) <= {
        "query1.finance.yahoo.com",
        "query2.finance.yahoo.com",
        "fc.yahoo.com",
    }
    assert yahoo.fake.charts("GOOD", full=False) == 1


def test_f22_a_redirect_within_yahoo_is_followed(yahoo: Desk) -> None:
    there = "https://query1.finance.yahoo.com/v8/finance/chart/GOOD"

    def moved(_: int, __: dict[str, str], handler: BaseHTTPRequestHandler) -> Reply:
        return reply(GOOD) if "query1" in handler.path else Reply(b"", 302, (("Location", there),))

    yahoo.has("GOOD", moved)
    assert yahoo.record("GOOD").status == "added"


def test_f23_a_bomb_is_cut_off(yahoo: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LIMIT_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (40 << 20))
    yahoo.has("GOOD", always(Reply(bomb, headers=(("Content-Encoding", "gzip"),))))
    failure = fails(yahoo)
    assert (type(failure), failure.exit_code) == (ProviderError, 4)
    assert "more than 1 MB" in str(failure)


def test_a_connection_that_is_cut(yahoo: Desk) -> None:
    def cut(_: int, __: dict[str, str], handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    yahoo.has("GOOD", lambda n, q, h: reply(GOOD) if n else cut(n, q, h))
    assert yahoo.record("GOOD").status == "added"
    assert yahoo.slept == [0.75]


@pytest.mark.parametrize(
    "crumb", [Reply(b"Too Many Requests", 429), Reply(HTML), Reply(b""), Reply(b"", 500)]
)
@pytest.mark.parametrize(
    "cookie", [Reply(b"", 404), Reply(b"", 302, (("Location", "https://evil.example/"),))]
)
def test_cookies_and_crumbs_are_not_needed(yahoo: Desk, crumb: Reply, cookie: Reply) -> None:
    yahoo.fake.crumb, yahoo.fake.cookie = (lambda *_: crumb), (lambda *_: cookie)
    yahoo.has("GOOD", steady(GOOD))
    assert yahoo.record("GOOD").status == "added"


def test_f26_no_cache_on_disk_and_no_pickle(yahoo: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loads", "load", "dumps", "dump"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("something was pickled"))
    yahoo.has("GOOD", steady(GOOD))
    assert yahoo.record("GOOD").status == "added"
    assert not Path("/dev/null/none").exists()


def test_f28_every_argument_of_yfinance_is_named() -> None:
    import yfinance as yf
    from yfinance.scrapers.history import PriceHistory

    from forecaster.sources.yahoo import client

    named = set(inspect.signature(PriceHistory.history).parameters) - {
        "self",
        "period",
        "raise_errors",
    }
    source = inspect.getsource(client.ask)
    assert [name for name in sorted(named) if f"{name}=" not in source] == []
    assert yf.__version__.startswith("1.7.")


def test_some_fail_the_rest_is_stored(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(GOOD))
    yahoo.has("HTML", always(Reply(HTML)))
    report = yahoo.fetch("NONE", "GOOD", "HTML")
    assert [r.status for r in report.records] == ["failed", "added", "failed"]
    assert report.exit_code == 8
    assert len(yahoo.store.load("GOOD")) == 90


def test_pence_stay_pence_and_are_told(yahoo: Desk) -> None:
    yahoo.has(
        "VOD.L", steady(Chart("VOD.L", zone="Europe/London", meta={"currency": "GBp"}).document())
    )
    assert yahoo.record("VOD.L").status == "added"
    assert yahoo.store.load_with_provenance("VOD.L")[1].currency == "GBp"


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("interval", "start", "said"),
    [
        ("1wk", None, "no 1wk: Yahoo adjusts weekly bars wrongly"),
        (
            "1m",
            date(2024, 4, 1),
            "1m bars of the last 7 days only; give --start 2024-04-30 or later",
        ),
        ("5m", date(2024, 1, 1), "5m bars of the last 60 days only"),
        ("2h", None, "interval '2h' is unknown"),
        ("1h", date(2020, 1, 1), "1h bars of the last 730 days only"),
        ("1d", date(2025, 1, 1), "--start 2025-01-01 is in the future"),
    ],
)
def test_limits_are_told_before_anything_is_asked(
    yahoo: Desk, interval: str, start: date | None, said: str, dry_run: bool
) -> None:
    """By a dry run too, which would promise what the fetch then refuses."""
    with pytest.raises(UsageError) as caught:
        raise yahoo.fetch("GOOD", interval=interval, start=start, dry_run=dry_run).failure or (
            AssertionError("it is not refused")
        )
    assert said in str(caught.value)
    assert not yahoo.fake.hits


def test_limits_hold_for_whoever_asks_the_source_itself(yahoo: Desk) -> None:
    with pytest.raises(UsageError, match="no 1wk: Yahoo adjusts weekly bars wrongly"):
        registry.source("yahoo").fetch(Symbol("GOOD"), "1wk")
    assert not yahoo.fake.hits


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_end_that_yahoo_no_longer_has_is_told_as_such(yahoo: Desk, dry_run: bool) -> None:
    report = yahoo.fetch("GOOD", interval="1m", end=date(2024, 4, 1), dry_run=dry_run)
    assert "--end 2024-04-01: Yahoo gives 1m bars of the last 7 days only" in str(report.failure)


@pytest.mark.parametrize("dry_run", [False, True])
def test_without_its_packages_it_is_told_which(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    monkeypatch.setattr(source_module, "PACKAGES", ("yfinance", "curl_cffi_missing"))
    with pytest.raises(UsageError, match="source yahoo needs curl_cffi_missing: pip install"):
        yahoo.fetch("GOOD", dry_run=dry_run)
