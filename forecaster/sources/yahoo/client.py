"""One question to yfinance, with every argument named and every failure raised. Imports it alone.

yfinance turns errors into empty frames, remembers bad answers, writes caches into the user's home
and changes its defaults between versions: `ask` undoes all four.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yfinance as yf
from yfinance.data import YfData

from forecaster.sources.yahoo.document import BadDocument, WrongSymbol, is_empty
from forecaster.sources.yahoo.failures import Failure, empty, explain, explain_status
from forecaster.sources.yahoo.session import GuardedSession

# A place where no folder can be made: yfinance then keeps no time zones, and no pickled cookies.
NO_CACHE = "/dev/null/none"
WANTED = ("Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits")
META = ("currency", "exchangeName", "exchangeTimezoneName", "currentTradingPeriod")


@dataclass(frozen=True)
class Answer:
    """What yfinance made of a chart: rows by time of the exchange, and Yahoo's words on them."""

    frame: pd.DataFrame
    meta: Mapping[str, Any]
    version: str
    body: bytes  # the chart, as it was sent


def ask(
    session: GuardedSession, symbol: str, interval: str, start: str, end: str
) -> Answer | Failure:
    """Bars of `symbol` from `start` to before `end`, both ISO; or why there are none."""
    session.charts.clear()
    _forget(session)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # pandas' and yfinance's own, which nobody here can mend
            ticker = yf.Ticker(symbol, session=session)
            frame = ticker.history(
                start=start,
                end=end,
                interval=interval,
                prepost=False,
                actions=True,
                auto_adjust=False,
                back_adjust=False,
                repair=False,
                keepna=True,
                rounding=False,
                timeout=10,
            )
            words = ticker.get_history_metadata()
            meta = {name: words[name] for name in META if name in words}
    except Exception as error:
        return _failure(session, symbol, error)
    if frame.empty:
        return empty(symbol)
    missing = [name for name in WANTED if name not in frame.columns]
    if missing or pd.DatetimeIndex(frame.index).tz is None:
        lacking = f"yfinance {yf.__version__} gave no {', '.join(missing) or 'time zone'}"
        return explain(symbol, TypeError(lacking))
    return Answer(frame, meta, yf.__version__, session.charts[-1].body)


def _forget(session: GuardedSession) -> None:
    """Drop remembered answers, good or bad, and what belongs to cookies that are gone."""
    logging.getLogger("yfinance").setLevel(logging.CRITICAL + 1)
    yf.config.debug.hide_exceptions = False
    yf.set_tz_cache_location(NO_CACHE)
    YfData.cache_get.cache_clear()
    data = YfData(session=session)
    if session.is_new:
        for name in ("_cookie", "_crumb"):
            setattr(data, name, None)


def _failure(session: GuardedSession, symbol: str, error: Exception) -> Failure:
    """What the last chart on the wire says, else what the exception says."""
    if session.charts and not isinstance(error, BadDocument | WrongSymbol):
        last = session.charts[-1]
        told = explain_status(symbol, last.status, last.body, last.retry_after)
        if told is not None:
            return told
        if last.status == 200 and not isinstance(error, OSError) and _without_bars(last.body):
            return empty(symbol)
    return explain(symbol, error)


def _without_bars(body: bytes) -> bool:
    """Whether the chart is sound and has no bars; a chart that is not sound is told otherwise."""
    try:
        return is_empty(body)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return False
