"""When to ask again: back-off with jitter, and one cool-down for all symbols after HTTP 429."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from forecaster.sources.yahoo.failures import Failure

MOST_TRIES = 5
FIRST_WAIT_S = 1.0
FIRST_COOL_DOWN_S = 8.0
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Clock:
    """Time, chance and sleep; tests bring their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


@dataclass
class Patience:
    """How often and how soon; shared by all symbols of a run.

    After a symbol whose tries are used up, the next ones have one try each until one succeeds.
    """

    clock: Clock
    _free_at: float = 0.0  # by the clock's monotonic
    _given_up: bool = field(default=False)

    @property
    def tries(self) -> int:
        """How often the next symbol is asked for."""
        return 1 if self._given_up else MOST_TRIES

    def wait_for_turn(self) -> None:
        """Sleep until the shared cool-down is over."""
        left = self._free_at - self.clock.monotonic()
        if left > 0:
            self.clock.sleep(left)

    def failed(self, failure: Failure, attempt: int) -> None:
        """Set when the next question of anybody may be asked; `attempt` counts from 0."""
        first = FIRST_COOL_DOWN_S if failure.rate_limited else FIRST_WAIT_S
        longest = min(LONGEST_WAIT_S, first * 2**attempt)
        wait = longest * (1 + self.clock.chance()) / 2
        asked = failure.retry_after
        if asked.isascii() and asked.isdecimal():
            wait = max(wait, min(float(asked[:6]), LONGEST_WAIT_S))
        self._free_at = max(self._free_at, self.clock.monotonic() + wait)

    def gave_up(self) -> None:
        """A symbol's tries are used up."""
        self._given_up = True

    def succeeded(self) -> None:
        """Yahoo answers."""
        self._given_up = False
