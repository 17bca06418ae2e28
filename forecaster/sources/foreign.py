"""A source of the user's own, named by where it is: `--source my_module:MySource`.

Its class has `symbols` and `fetch` as in protocol.py, and takes --path where one is given. With the
further methods of `Remote` it is asked for no more than what is not stored yet. Whatever it raises
becomes one line, and what it hands over is checked.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from forecaster.bars import Bars
from forecaster.errors import DataError, ForecasterError, ProviderError, UsageError, printable
from forecaster.provenance import Provenance
from forecaster.sessions import exchange_calendar
from forecaster.sources.protocol import Delivery
from forecaster.symbols import Symbol

Right = TypeVar("Right")
PLACE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,80}")


REMOTE = ("settled_after", "now", "check", "first_day", "calendar")  # what it adds to a Source


def foreign(name: str, path: Path | None) -> "Foreign":
    """The source that `name` names. UsageError where there is none, ProviderError where it fails.

    Raises UsageError for one that has some of what `Remote` adds, and not all.
    """
    made = _made(name, path)
    with _one_line(name, "making it"):
        lacking = [each for each in REMOTE if not hasattr(made, each)]
    if not lacking:
        return ForeignRemote(name, made)
    if len(lacking) < len(REMOTE):
        raise UsageError(
            f"source {name}: it lacks {', '.join(lacking)} of a remote source; add them, or leave"
            f" out all of {', '.join(REMOTE)}"
        )
    return Foreign(name, made)


class Foreign:
    """The user's source behind ours; `name` is where it is, so that bars can be fetched again."""

    def __init__(self, name: str, made: Any) -> None:
        self.name, self._source = name, made

    def symbols(self) -> tuple[Symbol, ...]:
        """What the user's source brings by default. Raises ProviderError where it fails."""
        with _one_line(self.name, "symbols()"):
            return tuple(Symbol(each) for each in self._source.symbols())

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """Its bars. ProviderError where it fails, DataError where they are not what was asked."""
        with _one_line(self.name, f"fetch of {symbol}"):
            got = self._source.fetch(symbol, interval, start, end)
        whole = isinstance(got, Delivery) and isinstance(got.provenance, Provenance)
        if not whole or not isinstance(got.bars, Bars):
            found = type(got).__name__
            raise DataError(
                f"source {self.name}: fetch of {symbol} returned {found}, not a Delivery of Bars"
            )
        if (got.bars.symbol, got.bars.interval) != (symbol, interval) or len(got.bars) == 0:
            found = f"{len(got.bars)} bars of {got.bars.symbol} at {got.bars.interval}"
            raise DataError(
                f"source {self.name}: asked for {symbol} at {interval}, got {found}: mend its fetch"
            )
        told = replace(got.provenance, source=self.name, fetched_at=self._moment(got.provenance))
        if not _known(got.exchange):
            raise DataError(
                f"source {self.name}: exchange {got.exchange!r} is unknown to exchange_calendars,"
                " which calls New York XNYS; mend its fetch, or leave the exchange empty"
            )
        return replace(got, provenance=told)

    def _moment(self, told: Provenance) -> str:
        """When it says that it fetched, as we write it. DataError for no time."""
        try:
            return told.moment.isoformat(timespec="seconds")
        except (TypeError, ValueError):
            raise DataError(
                f"source {self.name}: fetched_at {told.fetched_at!r} is no time as ISO 8601 has it,"
                " as 2024-05-06T22:00:00+00:00; mend its fetch"
            ) from None


class ForeignRemote(Foreign):
    """One that is asked for the gap alone, as protocol.Remote says."""

    def __init__(self, name: str, made: Any) -> None:
        super().__init__(name, made)
        self.settled_after = self._right("settled_after", made.settled_after, timedelta)

    def now(self) -> datetime:
        """The present by its clock, in UTC. DataError for a time without a zone."""
        with _one_line(self.name, "now()"):
            found = self._source.now()
        if self._right("now()", found, datetime).tzinfo is None:
            raise DataError(f"source {self.name}: now() gave a time without a zone: give it in UTC")
        return found.astimezone(UTC)

    def check(self, interval: str, start: date | None) -> None:
        """Raises what it raises for what it can never be asked."""
        with _one_line(self.name, "check"):
            self._source.check(interval, start)

    def first_day(self, interval: str, start: date | None, end: date | None) -> date:
        """The first day that it would be asked for."""
        with _one_line(self.name, "first_day"):
            found = self._source.first_day(interval, start, end)
        return self._right("first_day", found, date)

    def calendar(self, told: Provenance) -> str:
        """Whose sessions its bars are. DataError for an exchange that nobody knows."""
        with _one_line(self.name, "calendar"):
            found = self._source.calendar(told)
        if not _known(found):
            raise DataError(f"source {self.name}: calendar gave {found!r}: an exchange, or empty")
        return found

    def _right(self, what: str, found: Any, kind: type[Right]) -> Right:
        """`found`, if it is of its kind. DataError otherwise."""
        if not isinstance(found, kind):
            raise DataError(
                f"source {self.name}: {what} gave {type(found).__name__}, not {kind.__name__}"
            )
        return found


def _known(exchange: Any) -> bool:
    """Whether the name of an exchange is empty, or one that sessions are known of."""
    try:
        return exchange == "" or (isinstance(exchange, str) and bool(exchange_calendar(exchange)))
    except UsageError:
        return False


def _made(name: str, path: Path | None) -> Any:
    """An object of the class that `name` names. Raises UsageError where it names none."""
    if not PLACE.fullmatch(name):
        shown = printable(name)[:60]
        raise UsageError(f"source {shown!r}: wanted MODULE:CLASS, for example my_module:MySource")
    where, _, what = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file of the user's shadows no module
    try:
        with _one_line(name, "its import"):
            module = importlib.import_module(where)
    except ProviderError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and (cause.name or "") in {
            where,
            where.split(".")[0],
        }:
            raise UsageError(
                f"source {name}: there is no module {where} here or among what is installed"
            ) from None
        raise
    maker = getattr(module, what, None)
    if not all(callable(getattr(maker, each, None)) for each in ("symbols", "fetch")):
        raise UsageError(f"source {name}: {where} has no class {what} with symbols and fetch")
    with _one_line(name, "making it"):
        return maker() if path is None else maker(path)  # type: ignore[misc]


@contextmanager
def _one_line(name: str, doing: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one line; our own errors pass."""
    try:
        yield
    except ForecasterError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:120]
        raise ProviderError(
            f"source {name}: {doing} raised {type(error).__name__}: {said}; --debug shows where"
        ) from error
