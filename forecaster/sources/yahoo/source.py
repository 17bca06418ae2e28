"""Yahoo Finance as a source: one symbol a call, asked again where that can help."""

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from forecaster.errors import UsageError
from forecaster.exchanges import calendar_name
from forecaster.provenance import Provenance
from forecaster.sources.protocol import Delivery
from forecaster.sources.yahoo.failures import Failure, explain
from forecaster.sources.yahoo.patience import Clock, Patience
from forecaster.sources.yahoo.reach import SETTLED_AFTER, first_day, refuse
from forecaster.sources.yahoo.worker import Abandoned, call
from forecaster.symbols import Symbol

if TYPE_CHECKING:
    from forecaster.sources.yahoo.assemble import Question
    from forecaster.sources.yahoo.client import Answer
    from forecaster.sources.yahoo.session import GuardedSession

PACKAGES = ("yfinance", "curl_cffi")  # of the extra
TRY_TIMEOUT_S = 60.0  # on the wire, for one try of one symbol
GRACE_S = 5.0  # for imports and parsing


class Yahoo:
    """The source. `route` says where a URL of Yahoo is asked; no check depends on it."""

    name = "yahoo"
    settled_after = SETTLED_AFTER

    def __init__(self, clock: Clock | None = None, route: Callable[[str], str] = str) -> None:
        self.clock = clock or Clock()
        self._route = route
        self._patience = Patience(self.clock)
        self._session: GuardedSession | None = None

    def symbols(self) -> tuple[Symbol, ...]:
        """Nobody's choice but the user's. Raises UsageError."""
        raise UsageError("source yahoo has no symbols of its own: name some, as in AAPL ^GSPC")

    def now(self) -> datetime:
        """The present, in UTC."""
        return self.clock.now()

    def check(self, interval: str, start: date | None) -> None:
        """Raises UsageError for what Yahoo never has, and where a package is missing."""
        for package in PACKAGES:
            if find_spec(package) is None:
                remedy = "pip install 'forecaster-lab[yahoo]'"
                raise UsageError(f"source yahoo needs {package}: {remedy}")
        refuse(interval, start, self.now())

    def first_day(self, interval: str, start: date | None, end: date | None) -> date:
        """The first day to ask for. Raises UsageError for what Yahoo does not have any more."""
        return first_day(interval, start, end, self.now())

    def calendar(self, told: Provenance) -> str:
        """The calendar of the exchange whose code Yahoo gave; empty for one that we do not know."""
        return calendar_name(told.exchange)

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """Printed bars of complete sessions, with the events that adjust them.

        Raises ProviderError where Yahoo does not answer or answers with something else.
        """
        self.check(interval, start)
        first = self.first_day(interval, start, end)
        from forecaster.sources.yahoo.assemble import Question, assemble

        question = Question(symbol, interval, first, end, self.now())
        return assemble(question, self._answered(question))

    def _answered(self, question: "Question") -> "Answer":
        """The answer, after as many tries as it takes. Raises the error of the last one."""
        tries = self._patience.tries
        for attempt in range(tries):
            self._patience.wait_for_turn()
            got = self._asked(question, again=attempt > 0)
            if not isinstance(got, Failure):
                self._patience.succeeded()
                return got
            last = attempt + 1 == tries or not got.retry
            if got.rate_limited or not last:
                self._patience.failed(got, attempt)
            if last:
                if got.general:
                    self._patience.gave_up()
                raise got.error
        raise AssertionError("every symbol has at least one try")

    def _asked(self, question: "Question", *, again: bool) -> "Answer | Failure":
        """One try, in a thread that nobody has to wait for."""
        try:
            return call(lambda: self._work(question, again), TRY_TIMEOUT_S + GRACE_S)
        except Abandoned as error:
            self._session = None  # the thread may still use it
            return explain(question.symbol, error)

    def _work(self, question: "Question", again: bool) -> "Answer | Failure":
        """The worker's part: the only one that imports yfinance and curl_cffi."""
        from forecaster.sources.yahoo.client import ask
        from forecaster.sources.yahoo.session import GuardedSession

        if self._session is None:
            self._session = GuardedSession(self._route)
        self._session.deadline = time.monotonic() + TRY_TIMEOUT_S
        # Always up to now: prices of the past are divided by every split since.
        end = question.now.date() + timedelta(days=1)
        if again:
            self._session.forget()
        return ask(self._session, question.symbol, question.interval, f"{question.start}", f"{end}")
