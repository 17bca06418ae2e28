"""The quality report: each fault planted into bars that have none, found, dated, and shown."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from market import FIXED, MONDAY, legal_bars
from pydantic import ValidationError

from forecaster import quality, sessions
from forecaster.bars import INTERVALS, Bars
from forecaster.errors import UsageError
from forecaster.features import features
from forecaster.findings import WORDS, Finding, Quality
from forecaster.quality import Context, examine
from forecaster.sources import DEFAULT_UNIVERSE, source
from forecaster.symbols import Symbol

WEEK = np.timedelta64(7, "D")
NYSE = Context(exchange="XNYS")


def weekday_bars(n: int = 60, interval: str = "1d", **changed: Any) -> Bars:
    """n bars of weekdays (or of hours, day and night) with nothing odd about them."""
    index, rng = np.arange(n), np.random.default_rng(0)
    days = MONDAY + (index // 5 * 7 + index % 5).astype("timedelta64[D]")
    times = days if interval == "1d" else MONDAY + index * INTERVALS[interval]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    opened = close * np.exp(rng.normal(0, 0.001, n))
    made: dict[str, Any] = {
        "opened_at": times,
        "open": opened,
        "high": np.maximum(opened, close) * 1.002,
        "low": np.minimum(opened, close) * 0.998,
        "close": close,
        "volume": rng.uniform(1e3, 2e3, n),
        "adjustment": np.ones(n),
    }
    return Bars(symbol=Symbol("TEST"), interval=interval, **{**made, **changed})


def findings(report: Quality) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What was found, by its name."""
    every = {name: getattr(report, name) for name in WORDS}
    return {name: (f.count, f.first) for name, f in every.items() if f.count}


def set_bar(bars: Bars, t: int, **values: float) -> Bars:
    columns = {name: getattr(bars, name).copy() for name in values}
    for name, value in values.items():
        columns[name][t] = value
    return replace(bars, **columns)


@pytest.mark.parametrize("interval", ["1d", "1h", "1m"])
def test_bars_without_a_fault_have_no_finding(interval: str) -> None:
    report = examine(weekday_bars(interval=interval))
    assert findings(report) == {}
    assert report.line == "TEST: 60 bars, sessions by its own weekdays: nothing odd"


def test_each_planted_fault_is_found_and_nothing_else() -> None:
    """The negative controls: one change each, one finding each, on its day."""
    bars = weekday_bars()
    day, close = bars.label(30), bars.close
    flat = dict.fromkeys(("open", "high", "low"), float(close[30]))
    jump = {name: getattr(bars, name)[30:] * 2 for name in ("open", "high", "low", "close")}
    split = {name: np.concatenate((getattr(bars, name)[:30], jump[name])) for name in jump}
    copied = {n: getattr(bars, n)[29] for n in ("open", "high", "low", "close", "volume")}
    unknown = dict.fromkeys(("open", "high", "low"), np.nan)
    planted = {
        "missing": bars.select(np.arange(60) != 30),
        "stale_opens": set_bar(bars, 30, open=close[29], high=1.1 * close[29], low=0.9 * close[29]),
        "zero_volume": set_bar(bars, 30, volume=0.0),
        "unknown_volume": set_bar(bars, 30, volume=np.nan),
        "jumps": replace(bars, **split),
        "repeated": set_bar(bars, 30, **copied),
        "flat": set_bar(bars, 30, **flat),
        "close_only": set_bar(bars, 30, **unknown),
    }
    for name, odd in planted.items():
        assert findings(examine(odd)) == {name: (1, (day,))}, name


def test_a_split_that_the_adjustment_knows_is_no_jump() -> None:
    bars = weekday_bars()
    factor = np.where(np.arange(60) < 30, 1.0, 2.0)
    prices = {n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")}
    assert examine(replace(bars, **prices)).jumps.first == (bars.label(30),)
    assert examine(replace(bars, **prices, adjustment=1 / factor)).jumps.count == 0
    assert examine(replace(bars, adjustment=1 / factor)).jumps.count == 1  # an event too many


def test_idle_bars_are_not_repeated_ones() -> None:
    bars = weekday_bars()
    price = dict.fromkeys(("open", "high", "low", "close"), 50.0)
    for t in (30, 31, 32):
        bars = set_bar(bars, t, **price, volume=0.0)
    assert examine(bars).repeated.count == 0


def test_missing_days_by_exchange_by_others_and_by_weekdays() -> None:
    apple = source("bundled").fetch(Symbol("AAPL"))
    assert apple.exchange == "XNYS"
    bars = apple.bars.head(500)
    report = examine(bars, NYSE)
    assert (report.sessions, report.missing.count, report.missing.of) == ("XNYS", 0, 500)
    dropped = bars.select(np.arange(500) != 100)
    assert examine(dropped, NYSE).missing.first == (bars.label(100),)
    own = examine(bars)
    assert own.sessions == "its own weekdays"
    assert "2000-04-21" in own.missing.first  # Good Friday
    others = [bars.opened_at, bars.select(np.arange(500) > 2).opened_at]
    by_clock = examine(dropped, Context(others=others))
    assert by_clock.sessions == "clock of 2 others"
    assert by_clock.missing.first == (bars.label(100),)
    assert examine(dropped, Context(others=others[:1])).sessions == "its own weekdays"


def test_a_bar_on_a_day_that_is_no_session_is_unexpected() -> None:
    bars = weekday_bars(10)
    holiday = replace(bars, opened_at=bars.opened_at + np.timedelta64(0, "D"))
    assert examine(holiday, NYSE).unexpected.first == ("2024-01-01",)
    assert examine(bars).unexpected.count == 0


def test_a_market_of_seven_days_misses_no_weekend() -> None:
    times = MONDAY + np.arange(60) * np.timedelta64(1, "D")
    assert findings(examine(weekday_bars(opened_at=times))) == {}


def test_weeks_and_intraday_days() -> None:
    weekly = replace(weekday_bars(), interval="1wk", opened_at=MONDAY + np.arange(60) * WEEK)
    gap = weekly.select(~np.isin(np.arange(60), (7, 8)))
    assert (examine(weekly).missing.count, examine(gap).missing.count) == (0, 2)
    hourly = weekday_bars(24 * 20, "1h")
    day = hourly.opened_at.astype("datetime64[D]")
    hour = np.arange(24 * 20) % 24
    cut = hourly.select((day != day[24 * 9]) | (hour < 5))
    assert findings(examine(cut)) == {"short_days": (1, ("2024-01-10",))}


def sydney(weeks: int = 6) -> Bars:
    """Seven hours a session from 10:00 in Sydney: 23:00 UTC of the day before, 22:00 in UTC+11."""
    days = np.datetime64("2024-02-05") + np.arange(7 * weeks)[np.arange(7 * weeks) % 7 < 5]
    opens = days.astype("datetime64[us]") - np.timedelta64(1, "h")
    times = (opens[:, None] + np.arange(7) * np.timedelta64(1, "h")).ravel()
    return replace(weekday_bars(len(times), "1h"), opened_at=times)


def test_days_are_the_exchanges_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """By UTC a session of Sydney begins on the day before: its Friday is short without a fault."""
    bars, asx = sydney(), Context(exchange="XASX")
    cut = bars.select(~np.isin(np.arange(len(bars)), range(7 * 8 + 1, 7 * 8 + 6)))
    for made, short in ((bars, ()), (cut, ("2024-02-15",))):
        report = examine(made, asx)
        assert report.short_days.first == short
        assert (report.missing.count, report.unexpected.count) == (0, 0)
        assert report.short_days.of == 30
    others = Context(exchange="XASX", others=[bars.opened_at, bars.opened_at])
    old = replace(bars, opened_at=bars.opened_at - np.timedelta64(364 * 90, "D"))  # no calendar's
    at = [each - np.timedelta64(364 * 90, "D") for each in others.others]
    by_clock = examine(old, replace(others, others=at))
    assert (by_clock.sessions, by_clock.missing.count) == ("clock of 2 others", 0)
    monkeypatch.setattr(sessions, "session_days", lambda made, _: made.opened_at.astype("M8[D]"))
    wrong = examine(bars, asx)  # the planted mistake: UTC's days
    assert (wrong.short_days.of, wrong.unexpected.count) == (36, 6)


def test_partial_bars() -> None:
    bars = weekday_bars()
    during = bars.opened_at[-1] + np.timedelta64(15, "h")
    assert examine(bars, Context(fetched_at=during)).partial.first == (bars.label(59),)
    assert examine(bars, Context(fetched_at=bars.closed_at[-1])).partial.count == 0
    hourly = weekday_bars(24 * 10, "1h")
    times = hourly.opened_at.copy()
    times[-1] += np.timedelta64(683, "s")
    report = examine(replace(hourly, opened_at=times))
    assert report.partial.first == (str(times[-1].astype("datetime64[s]")),)


def test_the_report_finds_by_itself_that_the_index_has_no_opens() -> None:
    got = source("bundled").fetch(Symbol("^GSPC"))
    report = examine(got.bars, Context(exchange=got.exchange))
    assert report.stale_years == "1999-2005"
    assert 0.95 < report.stale_share < 0.98
    assert report.line.endswith("stale opens: 2004 (96 % of 1999-2005: not opens)")


def test_features_mask_what_the_report_counts_and_nothing_of_the_report_is_whole_sample() -> None:
    got = source("bundled").fetch(Symbol("^GSPC"))
    bars = got.bars  # its adjustment is 1, so printed and adjusted prices agree
    gap = features(bars).geometry[:, 1]
    assert int(np.isnan(gap[1:]).sum()) == examine(bars).stale_opens.count
    nasdaq = source("bundled").fetch(Symbol("^IXIC")).bars
    activity = features(nasdaq).geometry[:, 4]
    assert int(np.isnan(activity).sum()) == examine(nasdaq).zero_volume.count == 2


def test_an_unknown_exchange_is_refused() -> None:
    with pytest.raises(UsageError, match="exchange 'XNYZ' is unknown; did you mean 'X"):
        examine(weekday_bars(), Context(exchange="XNYZ"))


def test_sessions_of_the_default_universe_are_all_there() -> None:
    for symbol in DEFAULT_UNIVERSE:
        got = source("bundled").fetch(symbol)
        report = examine(got.bars, Context(exchange=got.exchange))
        assert (report.missing.count, report.unexpected.count) == (0, 0)


def contradictions(report: Quality) -> list[str]:
    """What in a report cannot be true of any bars."""
    found = [] if report.line.isprintable() else ["line"]
    if Quality.model_validate_json(report.model_dump_json()) != report:
        found.append("JSON")
    for name in WORDS:
        finding = getattr(report, name)
        days = name in {"missing", "unexpected", "short_days"}
        if finding.count > finding.of or (finding.of > report.rows and not days):
            found.append(name)
        if len(finding.first) != min(finding.count, 10) or list(finding.first) != sorted(
            set(finding.first)
        ):
            found.append(f"{name}'s places")
    return found


@FIXED
@given(legal_bars())
def test_any_legal_bars_have_a_report_without_contradictions(bars: Bars) -> None:
    assert contradictions(examine(bars, Context(fetched_at=bars.closed_at[0]))) == []


def test_planted_contradictions_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = set_bar(weekday_bars(), 30, volume=0.0)
    assert contradictions(examine(bars)) == []
    for name in WORDS:
        finding = Finding(count=2, of=1, first=("2024-01-01", "2024-01-02"))
        wrong = examine(bars).model_copy(update={name: finding})
        assert contradictions(wrong) == [name]
        wrong = examine(bars).model_copy(update={name: Finding(count=1, of=1)})
        assert contradictions(wrong) == [f"{name}'s places"]
    monkeypatch.setattr(quality, "MOST_SHOWN", 0)
    assert contradictions(examine(bars)) == ["zero_volume's places"]
    stale = Finding(count=1, of=1, first=("2024-01-01",))
    wrong = examine(bars).model_copy(update={"stale_years": "1999\n", "stale_opens": stale})
    assert contradictions(wrong)[0] == "line"
    with pytest.raises(ValidationError):
        contradictions(examine(bars).model_copy(update={"stale_share": np.nan}))
