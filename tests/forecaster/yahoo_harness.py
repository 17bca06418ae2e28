"""A fetch from the fake Yahoo into a store, under a clock that never really sleeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fake_yahoo import NOW, FakeYahoo, Scenario, serving

from forecaster.fetching import FetchRecord, FetchReport, FetchRequest, fetch
from forecaster.sources import registry
from forecaster.sources.yahoo import Clock, Yahoo
from forecaster.store import Store


@dataclass
class Desk:
    """Everything that a test of the source needs."""

    fake: FakeYahoo
    root: Path
    now: datetime = NOW
    slept: list[float] = field(default_factory=list)
    passed: float = 0.0  # seconds of the clock that does not run by itself

    def clock(self) -> Clock:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.passed += seconds

        return Clock(
            now=lambda: self.now, monotonic=lambda: self.passed, sleep=sleep, chance=lambda: 0.5
        )

    def has(self, symbol: str, scenario: Scenario) -> None:
        self.fake.scenarios[symbol] = scenario

    def fetch(self, *symbols: str, **options: Any) -> FetchReport:
        request = FetchRequest(symbols=symbols, source="yahoo", store=self.root, **options)
        return fetch(request)

    def record(self, symbol: str, **options: Any) -> FetchRecord:
        return self.fetch(symbol, **options).records[0]

    def digest(self, symbol: str, interval: str = "1d") -> str:
        return self.store.digest([symbol], interval)

    @property
    def store(self) -> Store:
        return Store(self.root)


@contextmanager
def desk(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with serving(FakeYahoo()) as fake:
        made = Desk(fake, root)
        patch.setattr(registry, "Yahoo", lambda: Yahoo(made.clock(), fake.route))
        yield made
