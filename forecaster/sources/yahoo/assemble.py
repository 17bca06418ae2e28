"""yfinance's frame as bars: printed prices, complete sessions, events; what is dropped is named.

Yahoo divides prices by all splits up to today and multiplies volumes; that is undone here, so that
a later split or dividend changes no stored price.
"""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd

from forecaster.bars import Bars, Times, duration
from forecaster.errors import DataError, ProviderError
from forecaster.events import Event, adjustment, later_splits
from forecaster.exchanges import calendar_name
from forecaster.provenance import Provenance
from forecaster.sources.protocol import Delivery
from forecaster.sources.yahoo.client import Answer
from forecaster.sources.yahoo.reach import SETTLED_AFTER
from forecaster.sources.yahoo.rows import (
    Flags,
    Question,
    asked_for,
    check_factors,
    check_units,
    note,
    sound,
    volume,
    without_close,
)

PRICES = ("Open", "High", "Low", "Close")


def assemble(question: Question, answer: Answer) -> Delivery:
    """The delivery of an answer. Raises DataError, ProviderError for what must not be stored."""
    notes: list[str] = []
    frame, times = answer.frame, _labels(question, answer.frame)
    days = np.array(pd.DatetimeIndex(frame.index).date, dtype="datetime64[D]")  # the exchange's
    events = _events(days, frame)
    keep = _closed(question, answer, times)
    note(notes, "open session or bar, not stored", times[~keep])
    keep &= asked_for(question, days, notes)
    prices = frame[list(PRICES)].to_numpy(dtype=np.float64)
    on_event = np.isin(days.astype(str), [event.ex_date for event in events])
    keep &= ~without_close(question, prices, (times, keep, on_event), notes)
    if not keep.any():
        span = f"{question.start} to {question.end or question.now.date()}"
        raise DataError(f"{question.symbol}: Yahoo has no complete bar from {span}; widen it")
    factor = later_splits(days, events)[keep]
    bars = Bars(
        symbol=question.symbol,
        interval=question.interval,
        opened_at=times[keep],
        **sound(prices[keep] * factor[:, None], times[keep], notes),
        volume=volume(frame, prices, times, keep, notes) / factor,
        adjustment=np.ones(int(keep.sum())),
    )
    bars = replace(bars, adjustment=adjustment(bars, days[keep], events))
    check_units(bars)
    check_factors(bars, frame["Adj Close"].to_numpy(dtype=np.float64)[keep], notes)
    meta = answer.meta
    rows = len(json.loads(answer.body)["chart"]["result"][0]["timestamp"])
    if question.interval == "1d" and rows > len(frame):
        notes.append(f"{rows - len(frame)} rows of a time that another has, merged by yfinance")
    provenance = Provenance(
        source="yahoo",
        package="yfinance",
        version=answer.version,
        sha256=hashlib.sha256(answer.body).hexdigest(),
        fetched_at=question.now.isoformat(timespec="seconds"),
        notes=tuple(notes),
        currency=meta["currency"] or "",
        exchange=meta["exchangeName"],
        timezone=meta["exchangeTimezoneName"],
        events=events,
    )
    return Delivery(bars, provenance, calendar_name(provenance.exchange))


def _labels(question: Question, frame: pd.DataFrame) -> Times:
    """[T] the exchange's dates for daily bars, else UTC starts."""
    index = pd.DatetimeIndex(frame.index)
    if question.interval == "1d":
        return np.array(index.date, dtype="datetime64[us]")
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")


def _events(days: Times, frame: pd.DataFrame) -> tuple[Event, ...]:
    """Splits as they are; dividends in money of a share of their day. `days` [T] are sessions."""
    splits = frame["Stock Splits"].to_numpy(dtype=np.float64)
    cash = frame["Dividends"].to_numpy(dtype=np.float64)
    found = [Event(str(days[t]), "split", float(splits[t])) for t in np.flatnonzero(splits > 0)]
    cash = cash * later_splits(days, found)
    found += [Event(str(days[t]), "dividend", float(cash[t])) for t in np.flatnonzero(cash > 0)]
    return tuple(sorted(found))


def _closed(question: Question, answer: Answer, times: Times) -> Flags:
    """[T] whether each bar's session, or the bar itself, is over. ProviderError for the future."""
    now = np.datetime64(question.now.replace(tzinfo=None), "us")
    ahead = times > now + np.timedelta64(1, "D")
    if ahead.any():
        raise ProviderError(
            f"{question.symbol}: {int(ahead.sum())} bars after now, the first"
            f" {str(times[ahead][0])[:10]}, by a clock of {str(now)[:16]} UTC: the system clock or"
            " Yahoo is wrong; nothing is changed; set the clock, then try again"
        )
    if question.interval != "1d":
        whole_minute = times.astype("datetime64[m]") == times  # Yahoo's live row is not
        return (times + duration(question.interval) <= now) & whole_minute
    period = answer.meta.get("currentTradingPeriod", {}).get("regular", {})
    start, end = (pd.Timestamp(period.get(key, "NaT")) for key in ("start", "end"))
    if pd.isna(start) or pd.isna(end):
        zone = answer.meta["exchangeTimezoneName"]
        today = pd.Timestamp(question.now).tz_convert(zone).date()
        return times < np.datetime64(today)
    over = pd.Timestamp(question.now) >= end + SETTLED_AFTER
    return times < np.datetime64(start.date() + timedelta(days=int(over)))
