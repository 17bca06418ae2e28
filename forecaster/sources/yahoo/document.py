"""What Yahoo's chart answer must look like before anybody parses it.

yfinance sorts rows, keeps the first of two, turns null volumes into 0 and meets a wrong type with
whatever Python raises. So the bytes are checked first, and refused in words.
"""

import json
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from forecaster.errors import printable

COLUMNS = ("open", "high", "low", "close", "volume")
MOST_ROWS = 1_000_000
FIRST_TIME, LAST_TIME = -8_520_336_000, 7_258_118_400  # the years 1700 to 2199
LARGEST = 1e15  # a price or volume above it is none; NaN is refused with it
SHOWN = 40  # characters of an answer in a message


class BadDocument(ValueError):  # noqa: N818 - a kind of answer
    """An answer that is no chart, or breaks its own rules."""


class WrongSymbol(ValueError):  # noqa: N818
    """A chart of something else than was asked for."""


def check_chart(body: bytes, symbol: str) -> None:
    """Refuse `body` unless it is a chart of `symbol`, an explained refusal, or an empty chart."""
    chart = _object(_object(_parsed(body), "the answer").get("chart"), "chart")
    if "error" not in chart or "result" not in chart:
        raise BadDocument("chart has no error or no result")
    if chart["error"] is not None:
        description = _object(chart["error"], "chart.error").get("description")
        if not isinstance(description, str):
            raise BadDocument("chart.error has no description")
        return
    results = chart["result"]
    if results is None or results == []:
        return
    if not isinstance(results, list) or len(results) != 1:
        raise BadDocument("chart.result is not one chart")
    result = _object(results[0], "chart.result")
    _check_meta(_object(result.get("meta"), "meta"), symbol)
    if result.get("timestamp"):
        _check_rows(result)
        _check_events(_object(result.get("events", {}), "events"))


def is_empty(body: bytes) -> bool:
    """Whether a checked chart has no bars."""
    results = json.loads(body)["chart"].get("result")
    return not results or not results[0].get("timestamp")


def refusal(body: bytes) -> str:
    """The reason that Yahoo gives in `body`, printable; empty where it gives none."""
    try:
        return printable(str(json.loads(body)["chart"]["error"]["description"]))[:120]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _parsed(body: bytes) -> Any:
    def constant(text: str) -> None:
        raise BadDocument(f"{text} is not a number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadDocument("a key is given twice")
        return found

    try:
        return json.loads(body, parse_constant=constant, object_pairs_hook=unique)
    except BadDocument:
        raise
    except (ValueError, RecursionError):
        start = printable(body[: 4 * SHOWN].decode("utf-8", "replace"))[:SHOWN]
        raise BadDocument(f"no JSON ({start!r})" if body else "an empty body") from None


def _check_meta(meta: dict[str, Any], symbol: str) -> None:
    for key in ("symbol", "exchangeTimezoneName", "exchangeName", "instrumentType"):
        if not isinstance(meta.get(key), str):
            raise BadDocument(f"meta.{key} is not text")
    if meta["symbol"] != symbol:
        raise WrongSymbol(printable(meta["symbol"])[:SHOWN])
    if not isinstance(meta.get("currency"), str | None) or "currency" not in meta:
        raise BadDocument("meta.currency is not text")
    try:
        ZoneInfo(meta["exchangeTimezoneName"])
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise BadDocument("meta.exchangeTimezoneName is no time zone") from None
    for key in ("firstTradeDate", "regularMarketTime"):
        if meta.get(key) is not None:
            _whole(meta[key], f"meta.{key}")
    _check_periods(meta)


def _check_periods(meta: dict[str, Any]) -> None:
    periods = _object(meta.get("currentTradingPeriod", {}), "meta.currentTradingPeriod")
    for name, period in periods.items():
        if not {"timezone", "gmtoffset"} <= _object(period, name).keys():
            raise BadDocument(f"meta.currentTradingPeriod.{name} has no time zone")
        for key in ("start", "end"):
            _whole(period.get(key), f"meta.currentTradingPeriod.{name}.{key}")


def _check_rows(result: dict[str, Any]) -> None:
    times = result["timestamp"]
    if not isinstance(times, list) or len(times) > MOST_ROWS:
        raise BadDocument("timestamp is not a list of at most a million")
    for time in times:
        _whole(time, "timestamp")
    indicators = _object(result.get("indicators"), "indicators")
    quote = _first(indicators, "quote")
    columns = [_column(quote.get(name), name, len(times)) for name in COLUMNS]
    if "adjclose" in indicators:
        _column(_first(indicators, "adjclose").get("adjclose"), "adjclose", len(times))
    if any(volume is not None and volume < 0 for volume in columns[-1]):
        raise BadDocument("a volume is negative")
    rows = list(zip(*columns, strict=True))
    for i, (before, after) in enumerate(pairwise(times)):
        if after < before:
            raise BadDocument(f"its rows are not in order of time (row {i + 1})")
        if after == before and rows[i] != rows[i + 1]:
            raise BadDocument(f"rows {i} and {i + 1} have one time and two contents")


def _check_events(events: dict[str, Any]) -> None:
    wanted = {
        "dividends": ("amount",),
        "capitalGains": ("amount",),
        "splits": ("numerator", "denominator"),
    }
    for kind, names in wanted.items():
        for each in _object(events.get(kind, {}), f"events.{kind}").values():
            event = _object(each, f"events.{kind}")
            _whole(event.get("date"), f"events.{kind}.date")
            for name in names:
                value = _column([event.get(name)], f"events.{kind}.{name}", 1)[0]
                if value is None or value <= 0:
                    raise BadDocument(f"events.{kind}.{name} is not above 0")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadDocument(f"{name} is not an object")
    return value


def _first(indicators: dict[str, Any], name: str) -> dict[str, Any]:
    value = indicators.get(name)
    if not isinstance(value, list) or len(value) != 1:
        raise BadDocument(f"indicators.{name} is not one table")
    return _object(value[0], f"indicators.{name}")


def _column(values: Any, name: str, length: int) -> list[float | None]:
    if not isinstance(values, list) or len(values) != length:
        raise BadDocument(f"{name} is not a list with a value a row")
    for value in values:
        legal = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if not legal or (value is not None and not abs(value) < LARGEST):
            raise BadDocument(f"{name} has {printable(repr(value))[:SHOWN]}, not a number")
    return values


def _whole(value: Any, name: str) -> None:
    """A time in seconds, within the years that we know."""
    legal = isinstance(value, int) and not isinstance(value, bool)
    if not legal or not FIRST_TIME <= value < LAST_TIME:
        raise BadDocument(f"{name} is not a time")
