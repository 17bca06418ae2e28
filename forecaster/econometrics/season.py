"""The time of day of bars within a day, as regressors: known in advance, and most of their scale.

Time runs from a session's opening, the first bar after a break of BREAK or more: daylight saving
moves openings in UTC, not hours after them. A market that never rests runs from midnight UTC.
Each horizon has slopes of its own, so the hour of the last bar says which hours a horizon covers.
Nothing but labels is used, and only labels so far: no exchange's calendar is known here.

    season[k] = max(0, 1 - |hours since the opening, modulo 24, - k|)      k = 0 .. 23, a circle

Piecewise linear between full hours; for hourly bars it is a dummy an hour. Two more columns: this
bar is the first of its session; it is the last, by the longest of the last five sessions.

Source: Andersen and Bollerslev, Intraday periodicity and volatility persistence (J. Emp. Fin.
1997), in logs.
T bars of one symbol, or N paths.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, duration

HOURS = 24
SEASON = (*(f"hour_{k}" for k in range(HOURS)), "first_of_session", "last_of_session")
# A lunch or an hour's maintenance is no new day; a night is. The shortest night between extended
# sessions is eight hours.
BREAK = np.timedelta64(4, "h")
SESSIONS = 5  # whole ones whose longest is what a session lasts: half days are shorter
HOUR = np.timedelta64(1, "h")
HOUR_US = 3.6e9  # microseconds


@dataclass(frozen=True, eq=False)
class SessionClock:
    """Where bars stand in their sessions, one entry each."""

    since: Floats  # hours since the opening, or since midnight UTC where none was seen yet
    count: NDArray[np.int64]  # bars of the session so far, this one included; 0 where none was seen
    longest: Floats  # bars of a session, infinite while not one was seen whole

    @property
    def columns(self) -> Floats:
        """[T, len(SEASON)]."""
        at = self.since % HOURS
        hour, past = np.floor(at).astype(np.int64), at - np.floor(at)
        out, rows = np.zeros((len(at), len(SEASON))), np.arange(len(at))
        out[rows, hour % HOURS] = 1 - past
        out[rows, (hour + 1) % HOURS] += past
        out[:, HOURS] = self.count == 1
        out[:, HOURS + 1] = self._last
        return out

    def following(self, interval: str) -> "SessionClock":
        """The clock of the bar after each, as far as it can be expected."""
        step = float(duration(interval) / HOUR)
        since = np.where(self._last, 0.0, self.since + step)
        count = np.where(self._last, 1, self.count + (self.count > 0))
        return SessionClock(since, count, self.longest)

    @property
    def _last(self) -> NDArray[np.bool_]:
        return self.count >= self.longest


def is_intraday(interval: str) -> bool:
    """Whether bars have a time of day."""
    return bool(duration(interval) < HOURS * HOUR)


def season_width(interval: str) -> int:
    """Columns of the season: none for daily bars and longer."""
    return len(SEASON) if is_intraday(interval) else 0


def session_clock(bars: Bars) -> SessionClock:
    """[T] from labels alone; entry t of labels <= t."""
    at, n = bars.opened_at, len(bars)
    opens = np.flatnonzero(np.diff(at) >= BREAK) + 1
    spans = np.diff(np.concatenate(([0], opens, [n])))  # bars before the first opening, then each
    session = np.repeat(np.arange(len(spans)), spans)
    start = np.concatenate(([0], opens))[session]
    seen = session > 0
    origin = np.where(seen, at[start], at.astype("datetime64[D]"))
    lengths = np.full(len(spans), np.inf)
    for j in range(2, len(spans)):
        lengths[j] = spans[max(1, j - SESSIONS) : j].max()
    return SessionClock(
        since=(at - origin).astype(np.int64) / HOUR_US,
        count=np.where(seen, np.arange(n) - start + 1, 0),
        longest=lengths[session],
    )
