"""Each guard of the Yahoo source, taken away once: what it keeps out must then come in.

And what has no wire: events, patience, sessions, and documents that nobody would write by hand.
"""

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_yahoo import NOW, Chart, FakeYahoo, Reply, reply, serving, steady, weekdays
from market import daily
from yahoo_harness import Desk, desk

from forecaster import refetching
from forecaster.errors import DataError, ForecasterError
from forecaster.events import Event, adjustment, later_splits
from forecaster.exchanges import calendar_name
from forecaster.sessions import count, exchange_calendar, last_closed, next_sessions
from forecaster.sources.yahoo import assemble, client, patience, session
from forecaster.sources.yahoo.document import BadDocument, WrongSymbol, check_chart
from forecaster.sources.yahoo.patience import Clock, Patience

DAYS = weekdays(date(2024, 1, 2), date(2024, 5, 6))
OPEN_NOW = datetime(2024, 5, 6, 15, 0, tzinfo=UTC)


@pytest.fixture
def yahoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with desk(tmp_path / "data", monkeypatch) as made:
        made.has("GOOD", steady(Chart().document()))
        yield made


def swapped() -> dict[str, Any]:
    """Two rows with each other's times: yfinance sorts them, and both days are wrong."""
    document = Chart().document()
    times = document["chart"]["result"][0]["timestamp"]
    times[30], times[31] = times[31], times[30]
    return document


def test_without_the_document_check_swapped_days_are_stored(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    yahoo.has("GOOD", steady(swapped()))
    assert yahoo.record("GOOD").status == "failed"
    monkeypatch.setattr(session, "check_chart", lambda *_: None)
    assert yahoo.record("GOOD").status == "added"
    assert yahoo.store.load("GOOD").close[30] == Chart().printed()[31]


def test_without_the_document_check_another_symbols_bars_are_stored(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    yahoo.has("GOOD", steady(Chart("BAD").document()))
    assert yahoo.record("GOOD").status == "failed"
    monkeypatch.setattr(session, "check_chart", lambda *_: None)
    assert yahoo.record("GOOD").status == "added"


def test_without_the_closing_rule_the_open_session_is_stored(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    yahoo.now = OPEN_NOW
    assert yahoo.record("GOOD").last == "2024-05-03"
    monkeypatch.setattr(assemble, "_closed", lambda _, __, times: np.ones(len(times), dtype=bool))
    assert yahoo.record("GOOD", refetch=True).last == "2024-05-06"


def test_without_forgetting_a_bad_answer_stays(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """yfinance remembers the answer about the time zone, good or bad, and asks nobody again."""
    moved = {"chart": {"result": None, "error": {"code": "x", "description": "moved"}}}
    yahoo.has("GOOD", lambda n, *_: reply(moved, 500) if n < 2 else reply(Chart().document()))
    assert yahoo.record("GOOD").status == "added"
    yahoo.has("LATE", lambda n, *_: reply(moved, 500) if n < 2 else reply(Chart("LATE").document()))
    monkeypatch.setattr(client.YfData.cache_get, "cache_clear", lambda: None)
    record = yahoo.record("LATE")
    assert record.status == "failed"
    assert yahoo.fake.charts("LATE", full=False) == 2  # five tries, two questions


def test_without_the_host_check_a_stranger_is_asked(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FakeYahoo()) as stranger:
        there = f"{stranger.url}/x/v8/finance/chart/GOOD"
        yahoo.has("GOOD", lambda *_: Reply(b"", 302, (("Location", there),)))
        plain = yahoo.fake.route

        def route(url: str) -> str:
            return url if url.startswith(stranger.url) else plain(url)

        monkeypatch.setattr(yahoo.fake, "route", route)
        assert yahoo.record("GOOD").status == "failed"
        assert not stranger.hits
        monkeypatch.setattr(session, "_check", lambda _: None)
        yahoo.record("GOOD")
        assert stranger.hits


def test_without_the_limit_a_bomb_goes_off(yahoo: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(Chart().document()).encode() + b" " * (4 << 20)
    packed = Reply(gzip.compress(body), headers=(("Content-Encoding", "gzip"),))
    yahoo.has("GOOD", lambda *_: packed)
    monkeypatch.setattr(session, "LIMIT_BYTES", 1 << 20)
    assert "more than 1 MB" in yahoo.record("GOOD").error
    monkeypatch.setattr(session, "LIMIT_BYTES", 1 << 30)
    assert yahoo.record("GOOD").status == "added"


def test_without_patience_a_server_is_hammered(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[float] = []

    def counted(*_: Any) -> Reply:
        moments.append(yahoo.passed)
        return reply({}, 429)

    yahoo.has("GOOD", counted)
    yahoo.record("GOOD")
    assert np.diff(sorted(set(moments))).tolist() == [6.0, 12.0, 24.0, 45.0]
    questions = len(moments)
    moments.clear()
    monkeypatch.setattr(patience.Patience, "failed", lambda *_: None)
    yahoo.record("GOOD")
    assert (len(moments), len(set(moments))) == (questions, 1)  # all at once


def later(yahoo: Desk, chart: Chart) -> None:
    """The first fetch is a week old."""
    yahoo.now = NOW - timedelta(days=7)
    yahoo.has("GOOD", steady(Chart(days=DAYS[:-5]).document()))
    assert yahoo.record("GOOD").status == "added"
    yahoo.now = NOW
    yahoo.has("GOOD", steady(chart.document()))


def test_without_the_comparison_a_silent_split_is_joined(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(yahoo, Chart(days=DAYS, splits={DAYS[-3]: (4, 1)}))
    full = Chart(days=DAYS, splits={DAYS[-3]: (4, 1)}).document()
    del full["chart"]["result"][0]["events"]["splits"]
    yahoo.has("GOOD", steady(full))
    assert yahoo.record("GOOD").status == "failed"
    monkeypatch.setattr(refetching, "compare", lambda *_: ())
    assert yahoo.record("GOOD").status == "appended"
    steps = np.diff(np.log(yahoo.store.load("GOOD").adjusted().close))
    assert steps.min() == pytest.approx(np.log(0.25), abs=0.02)  # a fall of 75 % that never was


def test_without_undoing_splits_stored_prices_would_change(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(yahoo, Chart(days=DAYS, splits={DAYS[-3]: (2, 1)}))
    monkeypatch.setattr(assemble, "later_splits", lambda days, _: np.ones(len(days)))
    assert "history changed by x0.5" in yahoo.record("GOOD").error


def test_without_the_listing_check_pence_are_joined_to_pounds(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(yahoo, Chart(days=DAYS, meta={"currency": "GBp"}))
    assert "another listing" in yahoo.record("GOOD").error
    monkeypatch.setattr(refetching, "_check_same_listing", lambda *_: None)
    assert yahoo.record("GOOD").status == "appended"


def test_without_the_check_of_units_a_hundredfold_step_is_stored(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = Chart().document()["chart"]["result"][0]["indicators"]["quote"][0]
    scaled = {n: [v * (100 if i > 50 else 1) for i, v in enumerate(quote[n])]
              for n in ("open", "high", "low", "close")}  # fmt: skip
    yahoo.has("GOOD", steady(Chart().document(**scaled, adjclose=scaled["close"])))
    assert "a change of unit" in yahoo.record("GOOD").error
    monkeypatch.setattr(assemble, "check_units", lambda _: None)
    assert yahoo.record("GOOD").status == "added"


def test_adjustment_as_of_a_day_does_not_know_later_events() -> None:
    bars = daily(60)
    days = [bars.label(t) for t in range(60)]
    events = [Event(days[20], "dividend", 0.5), Event(days[30], "split", 3.0),
              Event(days[45], "dividend", 0.25), Event(days[45], "split", 0.5)]  # fmt: skip
    opened = bars.opened_at
    whole = adjustment(bars, opened, events)
    for t in (10, 25, 35, 50):
        known = [event for event in events if event.ex_date <= days[t]]
        then = adjustment(bars.head(t + 1), opened[: t + 1], known)
        np.testing.assert_allclose(whole[: t + 1] / whole[t], then, rtol=1e-12)
    assert later_splits(bars.opened_at, events)[[0, 29, 30, 44, 45]].tolist() == [
        1.5,
        1.5,
        0.5,
        0.5,
        1,
    ]


def test_a_dividend_above_the_price_is_refused() -> None:
    bars = daily(5)
    with pytest.raises(DataError, match="is not between 0 and the close before it"):
        adjustment(bars, bars.opened_at, [Event(bars.label(3), "dividend", 1e6)])


def test_waits_grow_and_are_shared() -> None:
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    from forecaster.sources.yahoo.failures import explain_status

    shared = Patience(Clock(monotonic=lambda: now[0], sleep=sleep, chance=lambda: 1.0))
    for attempt, retry_after in enumerate(("", "", "5", "59", "3600", "soon")):
        failure = explain_status("A", 429, b"", retry_after)
        assert failure is not None
        shared.failed(failure, attempt)
        shared.wait_for_turn()
    assert slept == [8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    shared.gave_up()
    assert shared.tries == 1
    shared.succeeded()
    assert shared.tries == patience.MOST_TRIES


def test_sessions_know_holidays_and_half_days() -> None:
    xnys = calendar_name("NMS")
    assert (xnys, calendar_name("XYZ")) == ("XNYS", "")
    holiday = datetime(2024, 7, 4, 23, 0, tzinfo=UTC)
    assert last_closed(xnys, holiday) == date(2024, 7, 3)
    half_day = datetime(2024, 7, 3, 17, 0, tzinfo=UTC)  # 13:00 in New York
    assert last_closed(xnys, half_day - timedelta(minutes=1)) == date(2024, 7, 2)
    assert last_closed(xnys, half_day + timedelta(minutes=1)) == date(2024, 7, 3)
    assert last_closed("", holiday) is None
    assert count(xnys, date(2024, 7, 1), date(2024, 7, 8)) == 5
    assert count(xnys, date(1901, 1, 1), date(2024, 7, 8)) is None


@pytest.mark.parametrize("name", ["XSHG", "XBOM"])
def test_beyond_the_calendar_nobody_knows_what_closed(name: str) -> None:
    """These end with a year: for ever after, their last session would look like the last closed."""
    end = exchange_calendar(name).closes.iloc[-1].to_pydatetime()
    final = exchange_calendar(name).sessions[-1].date()
    assert last_closed(name, end - timedelta(days=1)) is not None
    assert last_closed(name, end + timedelta(days=30)) is None
    assert count(name, final - timedelta(days=30), final) is not None
    assert count(name, final - timedelta(days=30), final + timedelta(days=1)) is None


def test_next_sessions_skip_holidays_where_the_calendar_fits() -> None:
    year = weekdays(date(2023, 3, 1), date(2024, 3, 28))  # Good Friday is next
    closed = {date(2023, 4, 7), date(2023, 5, 29), date(2023, 6, 19), date(2023, 7, 4),
              date(2023, 9, 4), date(2023, 11, 23), date(2023, 12, 25), date(2024, 1, 1),
              date(2024, 1, 15), date(2024, 2, 19)}  # fmt: skip
    labels = np.array([day for day in year if day not in closed], dtype="datetime64[us]")
    found = next_sessions("AAPL", labels, 2)
    assert found is not None
    assert found.astype("datetime64[D]").tolist() == [date(2024, 4, 1), date(2024, 4, 2)]
    assert next_sessions("AAPL.L", labels, 2) is None  # not London's sessions
    assert next_sessions("AAPL.XX", labels, 2) is None
    assert next_sessions("AAPL", np.array(year, dtype="datetime64[us]"), 2) is None  # weekdays
    assert next_sessions("AAPL", labels[-20:], 2) is None  # too few to tell
    assert next_sessions("AAPL", labels, 1000) is None  # beyond the calendar


def mutants(seed: int, n: int) -> Iterator[bytes]:
    """A chart with one to three of its values replaced, or its bytes cut, flipped, repeated."""
    rng = random.Random(seed)
    chart = Chart(days=DAYS[:8], splits={DAYS[5]: (2, 1)}, dividends={DAYS[3]: 0.5}).document()
    text = json.dumps(chart)
    odd = [None, True, -1, 0, 1e308, 10**30, "", "x", [], {}, [[]], 1.5, -0.0, "1e999", 1714680000]
    for _ in range(n):
        if rng.random() < 0.2:
            raw = bytearray(text.encode())
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            yield bytes(raw)
            continue
        document = json.loads(text)
        result = document["chart"]["result"][0]
        for _change in range(rng.randint(1, 3)):
            node: Any = document if rng.random() < 0.2 or not result else result
            while True:
                keys = list(node) if isinstance(node, dict) else list(range(len(node)))
                key = rng.choice(keys)
                inner = node[key]
                if not isinstance(inner, dict | list) or not inner or rng.random() < 0.1:
                    break
                node = inner
            if rng.random() < 0.2 and isinstance(node, dict):
                del node[key]
            else:
                node[key] = json.loads(json.dumps(rng.choice(odd)))
            if not document:
                break
        yield json.dumps(document).encode()


def judged(bodies: Iterator[bytes]) -> dict[str, int]:
    """How many documents were refused and taken; any other exception is the test's."""
    found = {"refused": 0, "taken": 0}
    for body in bodies:
        try:
            check_chart(body, "GOOD")
            found["taken"] += 1
        except (BadDocument, WrongSymbol):
            found["refused"] += 1
    return found


def test_f06_mutants_are_refused_or_taken() -> None:
    found = judged(mutants(0, 2000))
    assert min(found.values()) > 200


@pytest.mark.slow
def test_f06_a_hundred_thousand_mutants() -> None:
    found = judged(mutants(1, 100_000))
    assert sum(found.values()) == 100_000
    assert min(found.values()) > 10_000


def through_the_parser(yahoo: Desk, bodies: Iterator[bytes]) -> dict[str, int]:
    """Each document over the wire; bars that get stored are legal, errors are ours."""
    found: dict[str, int] = {}
    for i, body in enumerate(bodies):
        yahoo.has("GOOD", lambda *_, b=body: Reply(b))
        yahoo.root = yahoo.root.with_name(f"d{i}")
        report = yahoo.fetch("GOOD")  # anything but an error of ours ends the test
        kind = type(report.failure).__name__
        assert report.failure is None or isinstance(report.failure, ForecasterError)
        assert "yfinance failed" not in str(report.failure), body
        found[kind] = found.get(kind, 0) + 1
    return found


def test_f06_mutants_over_the_wire(yahoo: Desk) -> None:
    assert set(through_the_parser(yahoo, mutants(2, 25))) >= {"NoneType", "ProviderError"}


@pytest.mark.slow
def test_f06_a_thousand_mutants_over_the_wire(yahoo: Desk) -> None:
    found = through_the_parser(yahoo, mutants(3, 1000))
    assert sum(found.values()) == 1000
    assert set(found) <= {"NoneType", "ProviderError", "DataError", "IllegalBarError"}


@pytest.mark.network
def test_one_real_fetch(tmp_path: Path) -> None:
    from forecaster.fetching import FetchRequest, fetch

    start = datetime.now(UTC).date() - timedelta(days=30)
    request = FetchRequest(symbols=("MSFT",), source="yahoo", store=tmp_path, start=start)
    report = fetch(request)
    assert report.exit_code == 0, report.failure
    assert report.records[0].rows_added >= 15
