"""Bars and panels: what no market prints is refused, and time only goes back through `until`."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from market import COLUMNS, FIXED, MONDAY, columns, daily, legal_bars

from forecaster.bars import Bars, Panel, duration
from forecaster.errors import DataError, IllegalBarError, UsageError
from forecaster.symbols import Symbol

DAY = np.timedelta64(1, "D")
FAULTS = [
    ("close", np.nan, "close", "close is not a number"),
    ("close", np.inf, "close", "close is not a number"),
    ("open", np.nan, "open", "open is not a number"),
    ("high", np.inf, "high", "high is not a number"),
    ("low", -1.0, "low", "low is zero or negative"),
    ("close", 0.0, "close", "close is zero or negative"),
    ("close", -37.63, "close", "close is zero or negative"),
    ("high", 50.0, "high", "high is below low"),
    ("open", 104.0, "high", "high is below open or close"),
    ("open", 101.0 - 1e-3, "low", "low is above open or close"),
    ("volume", -5.0, "volume", "volume is negative or infinite"),
    ("volume", np.inf, "volume", "volume is negative or infinite"),
    ("adjustment", 0.0, "adjustment", "adjustment is not a positive number"),
    ("adjustment", np.nan, "adjustment", "adjustment is not a positive number"),
    ("opened_at", MONDAY, "opened_at", "it is earlier than the bar before it"),
    ("opened_at", MONDAY + DAY, "opened_at", "it has the same time as the bar before it"),
    ("opened_at", np.datetime64("NaT"), "opened_at", "it has no time"),
]


@pytest.mark.parametrize(("column", "value", "shown", "rule"), FAULTS)
def test_refusal_names_bar_rule_and_value(
    column: str, value: object, shown: str, rule: str
) -> None:
    wrong = columns(5)
    wrong[column] = wrong[column].copy()
    wrong[column][2] = value
    with pytest.raises(IllegalBarError) as caught:
        Bars(symbol=Symbol("CL=F"), **wrong)
    error, message = caught.value, str(caught.value)
    assert (error.bar, error.column, error.rule, error.exit_code) == (2, shown, rule, 3)
    assert message.startswith("CL=F: bar 2 (")
    assert rule in message
    assert "1 such of 5" in message
    assert len(message) <= 240
    if column != "opened_at":
        assert f"{column}={value:.10g}" in message
    assert str(pickle.loads(pickle.dumps(error))) == message  # it crosses processes


def test_envelope_may_miss_by_rounding_and_no_more() -> None:
    close = columns(3)["close"]
    daily(3, high=close * (1 - 0.9e-6))
    with pytest.raises(IllegalBarError, match="high is below open or close"):
        daily(3, high=close * (1 - 1.1e-6))


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match=r"AAPL: volume has shape \(3,\), opened_at \(5,\)"):
        daily(5, volume=np.ones(3))


def test_unknown_interval_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="interval '1day' is unknown; did you mean '1d'"):
        duration("1day")


def test_arrays_are_copies_and_read_only() -> None:
    mine = columns(3)
    bars = Bars(symbol=Symbol("A"), **mine)
    mine["close"][0] = 7.0  # the caller's own array is not frozen
    assert bars.close[0] == 100.5
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 7.0


@FIXED
@given(legal_bars(), st.integers(-3, 90), st.integers(-1, 1))
def test_until_is_exactly_what_was_closed(bars: Bars, steps: int, nudge: int) -> None:
    moment = bars.opened_at[0] + steps * duration(bars.interval) + np.timedelta64(nudge, "us")
    known = bars.until(moment)
    assert (known.closed_at <= moment).all()
    assert len(known) == (bars.closed_at <= moment).sum()
    for name in COLUMNS:
        assert getattr(known, name).tobytes() == getattr(bars, name)[: len(known)].tobytes()


def test_until_by_opening_time_would_be_caught() -> None:
    """Planted mistake: a bar that has opened is not yet known."""
    bars = daily(5)
    moment = bars.opened_at[2]
    leaky = bars.head(int(np.searchsorted(bars.opened_at, moment, side="right")))
    assert (leaky.closed_at > moment).any()
    assert len(bars.until(moment)) == 2


def test_until_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"AAPL: until\(NaT\)"):
        daily(3).until(np.datetime64("NaT"))


@FIXED
@given(legal_bars())
def test_adjusted_keeps_value_traded_returns_and_shape(bars: Bars) -> None:
    fair = bars.adjusted()
    np.testing.assert_allclose(fair.close * fair.volume, bars.close * bars.volume, rtol=1e-12)
    np.testing.assert_allclose(fair.high / fair.close, bars.high / bars.close, rtol=1e-12)
    np.testing.assert_allclose(fair.close, bars.close * bars.adjustment, rtol=1e-15)
    assert (fair.adjustment == 1).all()


def test_adjusting_prices_alone_would_be_caught() -> None:
    """Planted mistake: a 2:1 split that halves prices and forgets the volume."""
    bars = daily(3, adjustment=np.array([0.5, 0.5, 1.0]))
    wrong = replace(bars.adjusted(), volume=bars.volume)
    assert not np.allclose(wrong.close * wrong.volume, bars.close * bars.volume)


def test_label_and_select() -> None:
    bars = daily(4)
    assert bars.label(0) == "2024-01-01"
    half = replace(bars, interval="1h", opened_at=bars.opened_at + np.timedelta64(90, "m"))
    assert half.label(-1) == "2024-01-04T01:30:00"
    assert bars.select(bars.close > 102).close.tolist() == [102.5, 103.5]


def test_panel_clock_order_and_until() -> None:
    panel = Panel((daily(5, "AAPL"), daily(3, "IBM")))
    assert panel.symbols == ("AAPL", "IBM")
    assert len(panel.clock) == 5
    assert [len(bars) for bars in panel.until(panel.clock[3])] == [4, 3]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ((), "no symbols given"),
        ((daily(2, "IBM"), daily(2, "IBM")), "symbol IBM is given twice"),
        (
            (daily(2, "IBM"), replace(daily(2, "AAPL"), interval="1h")),
            "AAPL has interval 1h, IBM has 1d: one run takes one interval",
        ),
    ],
)
def test_panel_refusals(members: tuple[Bars, ...], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Panel(members)
