"""Fetching again: what is asked, what is recognised, and that no stored price ever changes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_yahoo import NOW, Chart, steady, weekdays
from yahoo_harness import Desk, desk

from forecaster import asking
from forecaster.bars import Bars
from forecaster.errors import DataError, UsageError
from forecaster.fetching import FetchRequest, fetch
from forecaster.sources import registry

DAYS = weekdays(date(2023, 11, 1), date(2024, 5, 6))
BEFORE = DAYS[:-5]
OLD = Chart(days=BEFORE)
THEN = datetime(2024, 4, 29, 22, 0, tzinfo=UTC)


@pytest.fixture
def yahoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A store with all but the last five days, and a clock that has gone on."""
    with desk(tmp_path / "data", monkeypatch) as made:
        made.now = THEN
        made.has("GOOD", steady(OLD.document()))
        assert made.record("GOOD").rows_total == len(BEFORE)
        made.now = NOW
        made.fake.asked.clear()
        yield made


def prices(bars: Bars, n: int) -> np.ndarray:
    return np.stack([getattr(bars, k)[:n] for k in ("open", "high", "low", "close", "volume")])


def test_append_asks_for_ten_stored_days_and_the_rest(yahoo: Desk) -> None:
    before = yahoo.store.load("GOOD")
    yahoo.has("GOOD", steady(Chart(days=DAYS).document()))
    record = yahoo.record("GOOD")
    assert (record.status, record.change, record.rows_added) == ("appended", "append", 5)
    first = int(dict(yahoo.fake.asked)["GOOD"]["period1"])
    assert datetime.fromtimestamp(first, UTC).date() == BEFORE[-10]
    after = yahoo.store.load("GOOD")
    assert prices(after, len(before)).tobytes() == prices(before, len(before)).tobytes()
    assert yahoo.record("GOOD").notes == ("no session has closed since 2024-05-06: not asked",)
    assert yahoo.fake.charts("GOOD") == 1


def test_resume_asks_only_for_what_is_missing(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(Chart(days=DAYS).document()))
    yahoo.fetch("GOOD")
    yahoo.fake.asked.clear()
    yahoo.has("LATE", steady(Chart("LATE", days=DAYS).document()))
    report = yahoo.fetch("GOOD", "LATE", "GOOD2")
    assert [r.status for r in report.records] == ["same", "added", "failed"]
    assert {symbol for symbol, _ in yahoo.fake.asked} == {"LATE", "GOOD2"}


def test_what_is_stored_is_not_asked_for_again(yahoo: Desk) -> None:
    for end in (date(2024, 4, 29), date(2024, 3, 1)):
        record = yahoo.record("GOOD", end=end)
        assert record.notes == ("stored to 2024-04-29 already: not asked",)
    assert yahoo.fake.asked == []


def test_before_the_next_close_nobody_is_asked(yahoo: Desk) -> None:
    for close, asked in ((datetime(2024, 4, 30, 20, 29, tzinfo=UTC), 0), (NOW, 1)):
        yahoo.now = close
        assert yahoo.record("GOOD").status == "same"  # the fake has nothing newer
        assert yahoo.fake.charts("GOOD") == asked


def test_a_holiday_is_no_reason_to_ask(yahoo: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good Friday, which is no session though it is a weekday: the planted mistake believes so."""
    thursday = date(2024, 3, 28)
    yahoo.now = datetime(2024, 3, 28, 22, 0, tzinfo=UTC)
    yahoo.has("EASTER", steady(Chart("EASTER", days=weekdays(date(2023, 11, 1), thursday))
                               .document()))  # fmt: skip
    assert yahoo.record("EASTER").last == f"{thursday}"
    yahoo.fake.asked.clear()
    yahoo.now = datetime(2024, 3, 31, 22, 0, tzinfo=UTC)
    assert yahoo.record("EASTER").notes == (f"no session has closed since {thursday}: not asked",)
    assert yahoo.fake.asked == []
    monkeypatch.setattr(asking, "last_closed", lambda *_: date(2024, 3, 29))
    yahoo.record("EASTER")
    assert yahoo.fake.charts("EASTER") == 1


def test_what_is_not_asked_for_has_its_report_or_gets_one(yahoo: Desk) -> None:
    yahoo.now = THEN
    kept = yahoo.store.report("GOOD")
    assert kept is not None
    assert yahoo.record("GOOD").quality == kept
    next(yahoo.root.rglob("*.quality.json")).unlink()
    record = yahoo.record("GOOD")
    assert (record.status, record.quality) == ("same", kept)
    assert yahoo.store.report("GOOD") == kept
    assert yahoo.fake.asked == []


@pytest.mark.parametrize("ratio", [(2, 1), (3, 2), (1, 20), (100, 1)])
def test_f15_a_split_since_the_last_fetch(yahoo: Desk, ratio: tuple[int, int]) -> None:
    before = yahoo.store.load("GOOD")
    chart = Chart(days=DAYS, splits={DAYS[-3]: ratio})
    yahoo.has("GOOD", steady(chart.document()))
    record = yahoo.record("GOOD")
    assert record.error == ""
    assert (record.status, record.change, record.rows_added) == ("replaced", "split", 5)
    factor = ratio[1] / ratio[0]
    assert record.notes == (
        f"new: split {ratio[0] / ratio[1]:.6g} of {DAYS[-3]}: earlier adjustments x{factor:.6g}",
    )
    after = yahoo.store.load("GOOD")
    assert prices(after, len(before)).tobytes() == prices(before, len(before)).tobytes()
    np.testing.assert_allclose(after.close, chart.printed(), rtol=1e-12)
    assert after.adjustment.tolist() == [factor] * (len(DAYS) - 3) + [1.0] * 3
    assert np.abs(np.diff(np.log(after.adjusted().close))).max() < 0.02  # no seam
    assert yahoo.fake.charts("GOOD") == 2  # the overlap, then all of it


def test_f15_a_split_that_nobody_announced(yahoo: Desk) -> None:
    before = yahoo.digest("GOOD")
    document = Chart(days=DAYS, splits={DAYS[-3]: (4, 1)}).document()
    del document["chart"]["result"][0]["events"]["splits"]
    yahoo.has("GOOD", steady(document))
    failure = yahoo.fetch("GOOD").failure
    assert isinstance(failure, DataError)
    assert "GOOD: history changed by x0.25 from 2024-04-16 on, and no split says why" in str(
        failure
    )
    assert yahoo.digest("GOOD") == before
    record = yahoo.record("GOOD", refetch=True)
    assert (record.status, record.change) == ("replaced", "all")
    assert yahoo.digest("GOOD") != before


def test_a_dividend_since_the_last_fetch(yahoo: Desk) -> None:
    before = yahoo.store.load("GOOD")
    yahoo.has("GOOD", steady(Chart(days=DAYS, dividends={DAYS[-2]: 1.5}).document()))
    record = yahoo.record("GOOD")
    assert (record.status, record.change, record.rows_added) == ("replaced", "dividend", 5)
    after = yahoo.store.load("GOOD")
    factor = 1 - 1.5 / after.close[-3]
    assert record.notes[0].endswith(f"of {DAYS[-2]}: earlier adjustments x{factor:.6g}")
    assert prices(after, len(before)).tobytes() == prices(before, len(before)).tobytes()
    assert after.adjustment.tolist() == pytest.approx([factor] * (len(DAYS) - 2) + [1.0] * 2)


def test_f16_rewritten_adjusted_closes_alone_change_nothing(yahoo: Desk) -> None:
    before = yahoo.digest("GOOD")
    document = OLD.document()
    adjclose = document["chart"]["result"][0]["indicators"]["adjclose"][0]["adjclose"]
    yahoo.has(
        "GOOD", steady(OLD.document(adjclose=[c * 0.9 for c in adjclose[:50]] + adjclose[50:]))
    )
    record = yahoo.record("GOOD")
    assert record.status == "same"
    assert yahoo.digest("GOOD") == before
    assert yahoo.record("GOOD", refetch=True).notes == (
        "50 bars, the first 2023-11-01 adjusted by Yahoo up to 10.0% off its events,"
        " which are used",
    )
    assert yahoo.digest("GOOD") == before


def test_f17_a_bar_is_revised(yahoo: Desk) -> None:
    before = yahoo.store.load("GOOD")
    close = list(Chart(days=DAYS).printed())
    close[-8] += 0.5
    yahoo.has("GOOD", steady(Chart(days=DAYS).document(close=close, adjclose=close)))
    record = yahoo.record("GOOD")
    assert (record.status, record.change, record.rows_added) == ("appended", "revised", 5)
    stored, now = close[-8] - 0.5, close[-8]
    assert record.notes == (
        f"1 of 10 bars revised by yahoo, kept as stored: {DAYS[-8]} close {stored:g} now {now:g}",
    )
    after = yahoo.store.load("GOOD")
    assert prices(after, len(before)).tobytes() == prices(before, len(before)).tobytes()
    record = yahoo.record("GOOD", refetch=True)
    assert (record.status, record.rows_added) == ("replaced", 0)  # what is replaced is not added
    assert yahoo.store.load("GOOD").close[-8] == now


def test_many_bars_are_revised(yahoo: Desk) -> None:
    close = [c * (1 + 0.01 * (i % 3)) for i, c in enumerate(Chart(days=DAYS).printed())]
    yahoo.has("GOOD", steady(Chart(days=DAYS).document(close=close, high=[1e3] * len(DAYS))))
    failure = yahoo.fetch("GOOD").failure
    assert isinstance(failure, DataError)
    assert "10 of 10 stored bars from 2024-04-16 on are others now" in str(failure)


def test_a_gap_is_refused(yahoo: Desk) -> None:
    before = yahoo.digest("GOOD")
    yahoo.has("GOOD", steady(Chart(days=DAYS[-3:]).document()))
    failure = yahoo.fetch("GOOD").failure
    assert isinstance(failure, DataError)
    assert "GOOD: gap: stored is 2023-11-01 to 2024-04-29, yahoo has 2024-05-02" in str(failure)
    assert yahoo.digest("GOOD") == before


def test_a_bar_that_yahoo_no_longer_has_is_kept(yahoo: Desk) -> None:
    days = [day for day in DAYS if day != DAYS[-9]]
    full = Chart(days=DAYS).document()["chart"]["result"][0]["indicators"]["quote"][0]
    kept = [i for i, d in enumerate(DAYS) if d in days]
    columns = {n: [full[n][i] for i in kept] for n in ("open", "high", "low", "close")}
    yahoo.has("GOOD", steady(Chart(days=days).document(**columns, adjclose=columns["close"])))
    record = yahoo.record("GOOD")
    assert record.notes == (f"1 stored bars are gone from yahoo, kept: {DAYS[-9]}",)
    assert record.rows_total == len(DAYS)


def test_float_noise_is_no_revision(yahoo: Desk) -> None:
    before = yahoo.digest("GOOD")
    close = [c * (1 + 3e-8) for c in OLD.printed()]
    yahoo.has("GOOD", steady(OLD.document(close=close)))
    assert yahoo.record("GOOD").status == "same"
    assert yahoo.digest("GOOD") == before


def test_earlier_days_are_joined_in_front(yahoo: Desk) -> None:
    days = weekdays(date(2023, 9, 1), DAYS[-1])
    late = Chart(days=days)
    shift = len(days) - len(DAYS)
    columns = {n: [100.0 - shift + i + k for i in range(len(days))]
               for n, k in (("open", 0), ("high", 1), ("low", -1), ("close", 0))}  # fmt: skip
    yahoo.has("OTHER", steady(Chart("OTHER", days=days[40:]).document(
        **{n: v[40:] for n, v in columns.items()})))  # fmt: skip
    assert yahoo.record("OTHER").change == "first"
    yahoo.has("OTHER", steady(replace(late, symbol="OTHER").document(**columns)))
    record = yahoo.record("OTHER", start=date(2023, 9, 1))
    assert (record.change, record.rows_added, record.first) == ("append", 40, "2023-09-01")


def test_dry_run_asks_nobody_and_writes_nothing(yahoo: Desk) -> None:
    before = sorted(yahoo.root.rglob("*"))
    report = yahoo.fetch("GOOD", "NEW", dry_run=True)
    assert [r.status for r in report.records] == ["planned", "planned"]
    assert [r.notes for r in report.records] == [
        ("would ask for 2024-04-16 to 2024-05-06: 15 sessions of XNYS",),
        ("would ask for the first bar to 2024-05-06",),
    ]
    assert not yahoo.fake.asked
    assert sorted(yahoo.root.rglob("*")) == before


def test_the_report_is_plain_json(yahoo: Desk) -> None:
    yahoo.has("GOOD", steady(Chart(days=DAYS, dividends={DAYS[-2]: 1.5}).document()))
    document = json.loads(json.dumps(yahoo.fetch("GOOD", "NONE").as_json(), allow_nan=False))
    assert document["exit_code"] == 8
    good, none = document["symbols"]
    assert (good["change"], good["rows_added"], good["last"]) == ("dividend", 5, "2024-05-06")
    assert (none["status"], none["change"]) == ("failed", "")


def test_a_damaged_segment_is_fetched_whole(yahoo: Desk) -> None:
    segment = next(yahoo.root.rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes()[:-9])
    yahoo.has("GOOD", steady(Chart(days=DAYS).document()))
    assert yahoo.record("GOOD").status == "replaced"
    assert len(yahoo.store.load("GOOD")) == len(DAYS)


def test_another_source_is_not_refetched(tmp_path: Path) -> None:
    request = FetchRequest(symbols=("IBM",), store=tmp_path / "data", refetch=True)
    with pytest.raises(UsageError, match="source bundled is always read whole: leave out --refet"):
        fetch(request)
    assert not request.store.exists()
    assert fetch(replace(request, refetch=False)).exit_code == 0


def test_hourly_bars(yahoo: Desk) -> None:
    """UTC starts over a change of the clocks; the running hour is not stored."""
    chart = Chart("HOUR")
    days = [date(2024, 3, 8), date(2024, 3, 11), date(2024, 3, 12)]  # clocks go forward on the 10th
    times = [chart.second(day, 10) + 3600 * i for day in days for i in range(6)]
    zone = {"timezone": "EST", "gmtoffset": 0}
    periods = [[{**zone, "start": chart.second(d, 9), "end": chart.second(d, 16)}] for d in days]
    shown = replace(chart, days=[date(2024, 3, 8)] * 18, meta={"tradingPeriods": periods})
    document = shown.document(timestamp=times)
    yahoo.has("HOUR", steady(document))
    yahoo.now = datetime(2024, 3, 12, 19, 30, tzinfo=UTC)  # the hour from 19:00 is running
    record = yahoo.record("HOUR", interval="1h")
    assert record.rows_total == 17
    assert (record.first, record.last) == ("2024-03-08T15:00:00", "2024-03-12T18:00:00")
    bars = yahoo.store.load("HOUR", "1h")
    hours = bars.opened_at.astype("datetime64[h]").astype(int) % 24
    assert hours.tolist() == [15, 16, 17, 18, 19, 20, *range(14, 20), *range(14, 19)]
    yahoo.now += timedelta(hours=1)
    assert yahoo.record("HOUR", interval="1h").rows_added == 1


def hourly(yahoo: Desk) -> None:
    """Two days of hours, which Yahoo gives for 730 days."""
    chart, days = Chart("HOUR"), [date(2024, 5, 2), date(2024, 5, 3)]
    zone = {"timezone": "EST", "gmtoffset": 0}
    periods = [[{**zone, "start": chart.second(d, 9), "end": chart.second(d, 16)}] for d in days]
    shown = replace(chart, days=[days[0]] * 12, meta={"tradingPeriods": periods})
    times = [chart.second(day, 10) + 3600 * i for day in days for i in range(6)]
    yahoo.has("HOUR", steady(shown.document(timestamp=times)))
    assert yahoo.record("HOUR", interval="1h").rows_total == 12
    yahoo.fake.asked.clear()


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"start": date(2027, 3, 1)}])
def test_intraday_bars_that_yahoo_has_left_behind(yahoo: Desk, options: dict[str, Any]) -> None:
    """A user must learn what is the matter, and how to go on: neither --start nor --refetch is."""
    hourly(yahoo)
    before, yahoo.now = yahoo.digest("HOUR", "1h"), datetime(2027, 5, 6, 22, 0, tzinfo=UTC)
    failure = yahoo.fetch("HOUR", interval="1h", **options).failure
    assert isinstance(failure, DataError)
    assert str(failure) == (
        "HOUR: 1h bars of 2024-05-03 are stored, and yahoo has none before 2025-05-07 any more:"
        " nothing can show that newer ones are of one history; what is stored is kept; fetch into"
        " another --store DIR to go on from there"
    )
    again = yahoo.fetch("HOUR", interval="1h", refetch=True, **options).failure
    assert isinstance(again, DataError)
    assert "nothing can replace them; what is stored is kept; fetch into" in str(again)
    assert (yahoo.fake.asked, yahoo.digest("HOUR", "1h")) == ([], before)
    assert yahoo.record("HOUR", interval="1h", end=date(2024, 5, 3)).notes == (
        "stored to 2024-05-03 already: not asked",
    )
    yahoo.root = yahoo.root.with_name("another")
    yahoo.fetch("HOUR", interval="1h")
    assert [symbol for symbol, _ in yahoo.fake.asked] != []


def test_intraday_bars_that_yahoo_has_half_left_behind(yahoo: Desk) -> None:
    """It is asked for the stored bars that it still has, not for ten whatever happens."""
    hourly(yahoo)
    yahoo.now = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
    yahoo.fetch("HOUR", interval="1h")
    asked = datetime.fromtimestamp(int(dict(yahoo.fake.asked)["HOUR"]["period1"]), UTC).date()
    assert asked == date(2024, 5, 3)  # the first of 730 days; ten bars back is the second


def test_any_source_behind_a_network_is_asked_for_what_is_missing(
    yahoo: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what it can do, not by its class."""

    class Another:
        settled_after = timedelta(0)

        def __init__(self, inner: Any) -> None:
            for name in ("name", "symbols", "fetch", "now", "check", "first_day", "calendar"):
                setattr(self, name, getattr(inner, name))

    made = registry.Yahoo
    monkeypatch.setattr(registry, "Yahoo", lambda: Another(made()))
    yahoo.has("GOOD", steady(Chart(days=DAYS).document()))
    assert yahoo.record("GOOD").change == "append"
    assert yahoo.record("GOOD").notes == ("no session has closed since 2024-05-06: not asked",)


def sydney(days: list[date], splits: dict[date, tuple[int, int]]) -> dict[str, Any]:
    """Six hours a day from 10:00 in Sydney, which in summer is 23:00 UTC of the day before."""
    chart = Chart("BHP.AX", days=[day for day in days for _ in range(6)], splits=splits,
                  zone="Australia/Sydney", opens_at=10, meta={"exchangeName": "ASX"})  # fmt: skip
    times = [chart.second(day, 10 + hour) for day in days for hour in range(6)]
    zone = {"timezone": "AEDT", "gmtoffset": 0}
    periods = [[{**zone, "start": chart.second(d, 10), "end": chart.second(d, 16)}] for d in days]
    return replace(chart, meta={**chart.meta, "tradingPeriods": periods}).document(timestamp=times)


def test_a_split_of_a_session_that_begins_on_the_utc_day_before(yahoo: Desk) -> None:
    """An ex-date is the exchange's: by UTC dates the first hour of a session is yesterday's."""
    days, ex = weekdays(date(2024, 3, 4), date(2024, 3, 12)), date(2024, 3, 7)
    yahoo.now = datetime(2024, 3, 12, 12, 0, tzinfo=UTC)
    yahoo.has("BHP.AX", steady(sydney(days, {ex: (2, 1)})))
    record = yahoo.record("BHP.AX", interval="1h")
    assert (record.error, record.first) == ("", "2024-03-03T23:00:00")
    bars, events = (
        yahoo.store.load("BHP.AX", "1h"),
        yahoo.store.load_with_provenance("BHP.AX", "1h")[1].events,
    )
    assert [(event.ex_date, event.value) for event in events] == [("2024-03-07", 2.0)]
    assert bars.adjustment.tolist() == [0.5] * 18 + [1.0] * 24
    assert np.abs(np.diff(np.log(bars.adjusted().close))).max() < 0.05
    assert yahoo.record("BHP.AX", interval="1h", end=date(2024, 3, 12)).notes == (
        "stored to 2024-03-12 already: not asked",
    )


def test_an_intraday_range_is_of_sessions(yahoo: Desk) -> None:
    days = weekdays(date(2024, 3, 4), date(2024, 3, 12))
    yahoo.now = datetime(2024, 3, 12, 12, 0, tzinfo=UTC)
    yahoo.has("BHP.AX", steady(sydney(days, {}), whole=True))
    span = {"start": date(2024, 3, 6), "end": date(2024, 3, 7)}
    record = yahoo.record("BHP.AX", interval="1h", **span)
    found = (record.rows_total, record.first, record.last)
    assert found == (12, "2024-03-05T23:00:00", "2024-03-07T04:00:00")
