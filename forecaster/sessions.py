"""Which days a symbol should have bars of: by its exchange, or by the company it keeps.

And which session of an exchange was the last to close, and which come next; holidays included.
A day is a date of the exchange. Expected days are descriptive, of the whole sample: never an input
of a model.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from forecaster.bars import Bars, Times, duration
from forecaster.errors import UsageError, suggestion
from forecaster.exchanges import calendar_of

if TYPE_CHECKING:  # half a second that a reader of a store need not wait
    import pandas as pd
    from exchange_calendars import ExchangeCalendar

EARLIEST = "1950-01-01"  # older sessions are judged by weekdays
ROOM_DAYS = 400  # after the present: bars may be a little ahead of a wrong clock
DAY = np.timedelta64(1, "D")
USUAL = 0.5  # share of weeks in which a weekday must have bars to be one of the symbol's
SINCE = np.datetime64("1990-01-01")
FITTING, LEAST = 260, 60  # bars that must be a calendar's sessions: a year has its holidays


@dataclass(frozen=True, eq=False)
class Expected:
    """Days that should have bars, from the symbol's first to its last."""

    by: str  # what said so, for people
    days: Times  # datetime64[D], in order: the exchange's days where one is known, else UTC's
    of_bars: Times  # [T] datetime64[D]: the day of each bar

    @property
    def printed(self) -> Times:
        """Days that do have bars, in order."""
        return np.unique(self.of_bars)


def expected(bars: Bars, exchange: str = "", others: Sequence[Times] = ()) -> Expected:
    """The days that `bars` should have bars of.

    `exchange` is a name of exchange_calendars (XNYS), empty where nobody knows it. `others` are
    the labels of other symbols' bars: without a calendar, a day counts where at least half of the
    others print, if two or more cover it, and it is one of the symbol's own weekdays. So are bars
    judged that begin before their calendar's sessions or end after them.
    Raises UsageError for an exchange that exchange_calendars does not know.
    """
    calendar = exchange_calendar(exchange) if exchange else None
    zone = str(calendar.tz) if calendar else "UTC"
    own = session_days(bars, zone)
    if calendar:
        sessions = calendar.sessions.to_numpy().astype("datetime64[D]")
        if sessions[0] <= own[0] and own[-1] <= sessions[-1]:
            inside = (sessions >= own[0]) & (sessions <= own[-1])
            return Expected(exchange, sessions[inside], own)
    days = np.arange(own[0], own[-1] + DAY, DAY)
    days = days[_own_weekdays(days, np.unique(own))]
    if len(others) < 2:
        return Expected("its own weekdays", days, own)
    clocks = [_days(labels, bars.interval, zone) for labels in others]
    return Expected(f"clock of {len(others)} others", days[_common(days, clocks)], own)


def last_closed(name: str, now: datetime) -> date | None:
    """The last session that was closed at `now`, any time zone; None where nobody knows.

    That is a name of ours that is empty, or a time after the last session that the calendar knows:
    some end with the year. Raises UsageError for an unknown name.
    """
    if not name:
        return None
    calendar = exchange_calendar(name)
    closes = calendar.closes.dt.tz_convert(None).to_numpy()
    n = int(np.searchsorted(closes, np.datetime64(now.astimezone(UTC).replace(tzinfo=None))))
    return calendar.sessions[n - 1].date() if 0 < n < len(closes) else None


def count(name: str, first: date, last: date) -> int | None:
    """How many sessions there are from `first` to `last`, both included; None where nobody knows.

    Raises UsageError for an unknown name.
    """
    if not name:
        return None
    sessions = exchange_calendar(name).sessions
    if first < sessions[0].date() or last > sessions[-1].date():
        return None
    return int(((sessions >= np.datetime64(first)) & (sessions <= np.datetime64(last))).sum())


def next_sessions(symbol: str, labels: Times, n: int) -> Times | None:
    """[n] labels after `labels` [T] of daily bars; None where no calendar is known to fit.

    Where a symbol is listed is believed where the labels of a year are that calendar's sessions,
    all of them and no other.
    """
    name, recent = calendar_of(symbol), labels[-FITTING:]
    if not name or len(recent) < LEAST or recent[0] < SINCE:
        return None
    sessions = exchange_calendar(name).sessions.to_numpy().astype("datetime64[us]")
    inside = sessions[(sessions >= recent[0]) & (sessions <= recent[-1])]
    later = sessions[sessions > recent[-1]][:n]
    return later if np.array_equal(inside, recent) and len(later) == n else None


@lru_cache(maxsize=32)
def exchange_calendar(name: str) -> "ExchangeCalendar":
    """All sessions of an exchange that can be known. Raises UsageError for an unknown name."""
    import exchange_calendars as ec
    import pandas as pd
    from exchange_calendars.errors import CalendarError

    try:
        plain = _made(name)
    except CalendarError:
        known = ec.get_calendar_names()
        raise UsageError(f"exchange {name!r} is unknown{suggestion(name, known)}") from None
    first = pd.Timestamp(EARLIEST)
    last = pd.Timestamp.now().normalize() + pd.Timedelta(days=ROOM_DAYS)
    first, last = max(first, plain.bound_min() or first), min(last, plain.bound_max() or last)
    return _made(name, first, last)


def _made(
    name: str, first: "pd.Timestamp | None" = None, last: "pd.Timestamp | None" = None
) -> "ExchangeCalendar":
    import exchange_calendars as ec

    with warnings.catch_warnings():  # it reads times in a way that pandas 4 will not have
        warnings.simplefilter("ignore", DeprecationWarning)
        return ec.get_calendar(name, start=first, end=last)


def session_days(bars: Bars, zone: str) -> Times:
    """[T] the session of each bar, datetime64[D]: a daily label, else the local date in `zone`.

    `zone` is IANA's name; empty is UTC.
    """
    return _days(bars.opened_at, bars.interval, zone)


def _days(labels: Times, interval: str, zone: str) -> Times:
    if duration(interval) >= DAY or zone in ("", "UTC"):
        return labels.astype("datetime64[D]")
    import pandas as pd

    local = pd.DatetimeIndex(labels, tz="UTC").tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("datetime64[D]")


def weeks(bars: Bars) -> Expected:
    """For weekly bars: one a week; a week is its Monday."""
    days = bars.opened_at.astype("datetime64[D]")
    mondays = (days - weekdays(days) * DAY).astype("datetime64[D]")
    span = np.arange(mondays[0], mondays[-1] + DAY, 7 * DAY)
    return Expected("weeks", span, mondays)


def weekdays(days: Times) -> np.ndarray:
    """[T] the weekday of each of `days` [T]: 0 for Monday to 6 for Sunday."""
    return (days.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01: a Thursday


def _own_weekdays(days: Times, printed: Times) -> np.ndarray:
    """Whether each day is of a weekday that has bars in at least half of the weeks."""
    possible = np.bincount(weekdays(days), minlength=7)
    had = np.bincount(weekdays(printed), minlength=7)
    return (had >= USUAL * np.maximum(possible, 1))[weekdays(days)]


def _common(days: Times, others: Sequence[Times]) -> np.ndarray:
    """Whether at least half of the others that cover a day print on it; true where few do."""
    covering, printing = np.zeros(len(days)), np.zeros(len(days))
    for theirs in others:
        if len(theirs):
            covering += (days >= theirs[0]) & (days <= theirs[-1])
            printing += np.isin(days, theirs)
    return (covering < 2) | (printing >= 0.5 * covering)
