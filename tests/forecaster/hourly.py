"""Bars within a day whose scale depends on the time of day, from laws that are written out here."""

from dataclasses import replace

import numpy as np
from panels import bars_from_returns

from forecaster.bars import Bars, Times
from forecaster.symbols import Symbol

HOUR = np.timedelta64(1, "h")
DAY = np.timedelta64(1, "D")
MONDAY = np.datetime64("2024-01-01", "us")


def session_labels(days: int, bars: int = 7) -> Times:
    """Hourly labels of weekday sessions that open at 14:30 UTC, an hour earlier in summer."""
    out = []
    for i in range(days):
        day = MONDAY + (i // 5 * 7 + i % 5) * DAY
        summer = (day.astype("datetime64[M]").astype(int) % 12) in range(3, 10)
        opening = day + np.timedelta64(14 * 60 + 30, "m") - summer * HOUR
        out.append(opening + np.arange(bars) * HOUR)
    return np.concatenate(out)


def week_labels(weeks: int) -> Times:
    """Hourly labels from Sunday 22:00 to Friday 22:00 UTC, as currencies trade."""
    sundays = MONDAY - 2 * HOUR + np.arange(weeks) * 7 * DAY
    return (sundays[:, None] + np.arange(120) * HOUR).ravel()


def busy_hours(labels: Times, low: float = 0.5, high: float = 2.0) -> np.ndarray:
    """[T] a factor of the scale: high from 14 to 18 UTC, low elsewhere."""
    hour = (labels - labels.astype("datetime64[D]")).astype(np.int64) / 3.6e9
    return np.where((hour >= 14) & (hour < 18), high, low)


def seasonal_bars(symbol: str, labels: Times, factor: np.ndarray, seed: int = 0) -> Bars:
    """Independent normal returns of 0.1 % times `factor`, their bars shaped in proportion."""
    rng = np.random.default_rng((seed, len(labels)))
    returns = 1e-3 * factor * rng.normal(size=len(labels))
    plain = bars_from_returns(symbol, returns, seed)
    close, before = plain.close, np.concatenate(([100.0], plain.close[:-1]))
    opened = before * np.exp(3e-4 * factor * rng.normal(size=len(labels)))
    wicks = np.exp(4e-4 * factor * np.abs(rng.normal(size=(2, len(labels)))))
    return replace(
        plain,
        symbol=Symbol(symbol),
        interval="1h",
        opened_at=labels,
        open=opened,
        high=np.maximum(opened, close) * wicks[0],
        low=np.minimum(opened, close) / wicks[1],
    )
