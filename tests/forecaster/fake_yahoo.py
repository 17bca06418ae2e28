"""A Yahoo of our own on 127.0.0.1: one scenario a symbol, so that yfinance's real parser is tested.

`route` maps Yahoo's URLs to it; hosts stay visible as the first part of the path.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

NEW_YORK = "America/New_York"
NOW = datetime(2024, 5, 6, 22, 0, tzinfo=UTC)  # a Monday, after the bell in New York


@dataclass(frozen=True)
class Reply:
    """What goes over the wire."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Chart:
    """A chart document that scenarios bend. Rows are sessions, oldest first."""

    symbol: str = "GOOD"
    days: list[date] = field(default_factory=lambda: weekdays(date(2024, 1, 2), date(2024, 5, 6)))
    zone: str = NEW_YORK
    meta: dict[str, Any] = field(default_factory=dict)
    splits: dict[date, tuple[int, int]] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)
    opens_at: int = 9  # hour of the exchange
    closes_at: int = 16

    def second(self, day: date, hour: int = 0) -> int:
        return int(
            datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(self.zone)).timestamp()
        )

    def printed(self) -> list[float]:
        """Closes as the market printed them: a split divides those from its ex-date on."""
        value = [100 + 0.5 * i + (i % 7) * 0.25 for i in range(len(self.days))]
        for ex, (new, old) in self.splits.items():
            value = [v * old / new if d >= ex else v for v, d in zip(value, self.days, strict=True)]
        return value

    def document(self, **columns: list[Any]) -> dict[str, Any]:
        """The document as Yahoo makes it: divided by the splits after each day."""
        factor = [1.0] * len(self.days)
        cash = [1.0] * len(self.days)
        close = self.printed()
        for ex, (new, old) in self.splits.items():
            factor = [
                f * new / old if d < ex else f for f, d in zip(factor, self.days, strict=True)
            ]
        for ex, amount in self.dividends.items():
            before = [c for c, d in zip(close, self.days, strict=True) if d < ex]
            if before:
                cash = [f * (1 - amount / before[-1]) if d < ex else f
                        for f, d in zip(cash, self.days, strict=True)]  # fmt: skip
        pairs = list(zip(close, factor, strict=True))
        quote = {
            "open": [(c - 0.25) / f for c, f in pairs],
            "high": [(c + 1.0) / f for c, f in pairs],
            "low": [(c - 1.0) / f for c, f in pairs],
            "close": [c / f for c, f in pairs],
            "volume": [int((1000 + i) * f) for i, f in enumerate(factor)],
            **{
                name: values
                for name, values in columns.items()
                if name not in ("timestamp", "adjclose")
            },
        }
        adjclose = [c / f * k for (c, f), k in zip(pairs, cash, strict=True)]
        last = self.days[-1] if self.days else date(2024, 5, 6)
        meta = {
            "symbol": self.symbol, "currency": "USD", "exchangeName": "NYQ", "priceHint": 2,
            "instrumentType": "EQUITY", "exchangeTimezoneName": self.zone, "gmtoffset": -14400,
            "regularMarketTime": self.second(last, self.closes_at), "firstTradeDate": 345479400,
            "dataGranularity": "1d", "range": "", "validRanges": ["1d", "max"],
            "currentTradingPeriod": {
                name: {"timezone": "EDT", "gmtoffset": -14400,
                       "start": self.second(last, a), "end": self.second(last, b)}
                for name, a, b in (("pre", 4, 9), ("regular", self.opens_at, self.closes_at),
                                   ("post", 16, 20))
            },
            **self.meta,
        }  # fmt: skip
        events: dict[str, Any] = {}
        if self.dividends:
            events["dividends"] = {
                str(self.second(d, self.opens_at)): {
                    "amount": a / self._splits_after(d), "date": self.second(d, self.opens_at)}
                for d, a in self.dividends.items()
            }  # fmt: skip
        if self.splits:
            events["splits"] = {
                str(self.second(d, self.opens_at)): {
                    "date": self.second(d, self.opens_at), "numerator": n, "denominator": o,
                    "splitRatio": f"{n}:{o}"}
                for d, (n, o) in self.splits.items()
            }  # fmt: skip
        result = {
            "meta": meta,
            "timestamp": columns.get(
                "timestamp", [self.second(d, self.opens_at) for d in self.days]
            ),
            "events": events,
            "indicators": {
                "quote": [quote],
                "adjclose": [{"adjclose": columns.get("adjclose", adjclose)}],
            },
        }
        return {"chart": {"result": [result], "error": None}}

    def _splits_after(self, day: date) -> float:
        product = 1.0
        for ex, (new, old) in self.splits.items():
            product *= new / old if ex > day else 1.0
        return product


def weekdays(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=i) for i in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5]


def reply(document: Any, status: int = 200, *headers: tuple[str, str]) -> Reply:
    return Reply(json.dumps(document).encode(), status, headers)


def refusal(code: str, description: str, status: int = 404) -> Reply:
    return reply(
        {"chart": {"result": None, "error": {"code": code, "description": description}}}, status
    )


# A scenario answers the n-th chart question for its symbol (0, 1, ...) and may write on its own.
Scenario = Callable[[int, dict[str, str], BaseHTTPRequestHandler], Reply | None]


def steady(document: Any, *, whole: bool = False) -> Scenario:
    """The document from the day on that is asked for; all of it with `whole`, or if it is odd."""

    def answer(_: int, query: dict[str, str], __: BaseHTTPRequestHandler) -> Reply:
        if whole or "period1" not in query:
            return reply(document)
        try:
            return reply(since(int(query["period1"]), document))
        except (KeyError, TypeError, IndexError):
            return reply(document)

    return answer


def since(second: int, document: dict[str, Any]) -> dict[str, Any]:
    """The document without what is before `second`."""
    cut = json.loads(json.dumps(document))
    result = cut["chart"]["result"][0]
    keep = [i for i, t in enumerate(result["timestamp"]) if t >= second]
    tables = (result["indicators"]["quote"][0], result["indicators"]["adjclose"][0], result)
    for table in tables:
        for name in ("open", "high", "low", "close", "volume", "adjclose", "timestamp"):
            if name in table:
                table[name] = [table[name][i] for i in keep]
    for kind in result["events"].values():
        for key in [key for key, event in kind.items() if event["date"] < second]:
            del kind[key]
    return cut


@dataclass
class FakeYahoo:
    """The server: scenarios by symbol, and what was asked."""

    scenarios: dict[str, Scenario] = field(default_factory=dict)
    cookie: Scenario = lambda *_: Reply(
        b"", 404, (("Set-Cookie", "A3=x; Domain=127.0.0.1; Path=/"),)
    )
    crumb: Scenario = lambda *_: Reply(b"crumb")
    hits: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def route(self, url: str) -> str:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.url}/{parts.hostname}{parts.path}{query}"

    def charts(self, symbol: str, *, full: bool = True) -> int:
        """Questions for a symbol's bars, without those for its time zone."""
        return sum(s == symbol and (not full or "range" not in q) for s, q in self.asked)

    def answer(self, handler: BaseHTTPRequestHandler) -> Reply | None:
        parts = urlsplit(handler.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        host, _, path = parts.path.removeprefix("/").partition("/")
        self.hits[host] += 1
        if path.startswith("v8/finance/chart/"):
            symbol = unquote(path.removeprefix("v8/finance/chart/"))
            n = self.charts(symbol, full=False)
            self.asked.append((symbol, query))
            scenario = self.scenarios.get(symbol)
            if scenario is None:
                return refusal("Not Found", "No data found, symbol may be delisted")
            return scenario(n, query, handler)
        if path == "v1/test/getcrumb":
            return self.crumb(self.hits["getcrumb"], query, handler)
        if host == "fc.yahoo.com":
            return self.cookie(0, query, handler)
        return Reply(b"{}", 404)


@contextmanager
def serving(fake: FakeYahoo) -> Iterator[FakeYahoo]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer = fake.answer(self)
                if answer is None:
                    return
                self.send_response(answer.status)
                named = {name.lower() for name, _ in answer.headers}
                for name, value in answer.headers:
                    self.send_header(name, value)
                if "content-length" not in named:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except (BrokenPipeError, ConnectionResetError):
                pass

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
