"""The only socket of the Yahoo source: which hosts, which paths, how much, how long; and a log.

yfinance swallows and rewords what happens on the wire, so every answer is noted here, and errors
are told from the log. Imported by the worker alone, for curl_cffi is slow to import.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import Timeout

from forecaster.sources.yahoo.document import check_chart

DOMAIN = "yahoo.com"
CHART = "/v8/finance/chart/"
# Charts, and what yfinance gets a cookie from. Its search and quote pages are not asked for.
PATHS = (CHART, "/v1/test/getcrumb", "/consent", "/copyConsent", "/v2/collectConsent")
COOKIE_URL = "https://fc.yahoo.com"  # as yfinance writes it
LIMIT_BYTES = 64 << 20  # decoded; twenty years of daily bars are 1 MB
REQUEST_TIMEOUT_S = 10.0
MOST_HOPS = 5
ABORT = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR

Route = Callable[[str], str]


class NotAsked(OSError):  # noqa: N818 - no failure of a system call
    """A request or redirect that leaves Yahoo, or what we ask of it."""


class TooLarge(OSError):  # noqa: N818
    """An answer of more than LIMIT_BYTES."""


@dataclass(frozen=True)
class Exchange:
    """One answer to a question for a chart."""

    status: int
    retry_after: str
    body: bytes


class GuardedSession(Session[Response]):
    """A session that speaks with Yahoo alone. `route` maps a URL to where it is asked."""

    def __init__(self, route: Route) -> None:
        super().__init__(impersonate="chrome")
        self._route = route
        self.deadline = float("inf")  # by time.monotonic()
        self.charts: list[Exchange] = []
        self._cookie_answer: Response | None = None

    @property
    def is_new(self) -> bool:
        """Whether no cookie was asked for since the start or the last `forget`."""
        return self._cookie_answer is None

    def forget(self) -> None:
        """Drop cookies, so that the next question begins like the first."""
        self.cookies.clear()
        self._cookie_answer = None

    def request(self, method: Any, url: str, **options: Any) -> Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As Session's, hop by hop. Raises NotAsked, TooLarge, BadDocument, WrongSymbol."""
        if url == COOKIE_URL and self._cookie_answer is not None:
            return self._cookie_answer  # yfinance without its cache asks before every question
        for _ in range(MOST_HOPS):
            _check(url)
            response = self._once(method, url, options)
            location = response.headers.get("location")
            if not 300 <= response.status_code < 400 or not location:
                break
            url, method = urljoin(url, location), "GET"
            for once in ("params", "data", "json", "headers"):
                options.pop(once, None)
        else:
            raise NotAsked(f"more than {MOST_HOPS} redirects")
        if response.url == COOKIE_URL:
            self._cookie_answer = response
        return response

    def _once(self, method: Any, url: str, options: dict[str, Any]) -> Response:
        """One answer, at most so large and so late."""
        chunks: list[bytes] = []
        size = 0

        def take(chunk: bytes) -> int:
            nonlocal size
            size += len(chunk)
            chunks.append(chunk)
            return len(chunk) if size <= LIMIT_BYTES else ABORT

        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Timeout("the time for this symbol is used up")
        limits = {
            "timeout": min(REQUEST_TIMEOUT_S, left),
            "allow_redirects": False,
            "content_callback": take,
        }
        try:
            response = super().request(method, self._route(url), **{**options, **limits})
        except OSError:
            if size > LIMIT_BYTES:
                raise TooLarge(f"more than {LIMIT_BYTES >> 20} MB") from None
            raise
        response.url, response.content = url, b"".join(chunks)
        self._note(url, response)
        return response

    def _note(self, url: str, response: Response) -> None:
        """Keep an answer about a chart, and refuse one that is not what it says."""
        path = urlsplit(url).path
        if path.startswith(CHART):
            retry_after = response.headers.get("retry-after") or ""
            self.charts.append(Exchange(response.status_code, retry_after, response.content))
            if response.status_code == 200:
                check_chart(response.content, unquote(path.removeprefix(CHART)))


def _check(url: str) -> None:
    """Refuse another host, scheme or page."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not (host == DOMAIN or host.endswith(f".{DOMAIN}")):
        raise NotAsked(f"{parts.scheme}://{host} is not Yahoo")
    if url != COOKIE_URL and not parts.path.startswith(PATHS):
        raise NotAsked(f"{parts.path[:40]} is not a page that we ask for")
