"""Where a run's time goes: CPU-seconds of a process by stage.

A stage inside another is taken out of the outer one, so that stages add up. CPU-seconds are those
of an idle machine's wall: what other processes take does not count. Several workers' seconds are
added, so that a run of two jobs takes about half of the sum.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

Stage = Literal[
    "reading",
    "features and tokens",
    "econometric fits",
    "training",
    "forecasting",
    "scoring",
    "writing",
    "summary",
    "report",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
Account = dict[Stage, float]
# Accounts, each with its open stages, the innermost last: seconds go to the last of the last.
_ACCOUNTS: list[tuple[Account, list[Stage]]] = [({}, [])]
_SINCE = [0.0]  # when the innermost was last booked


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """What is done inside is booked under `name`."""
    _book()
    begun = _ACCOUNTS[-1][1]
    begun.append(name)
    try:
        yield
    finally:
        _book()
        begun.pop()


@contextmanager
def account() -> Iterator[Account]:
    """An account of its own for what is done inside: the outer one gets nothing of it."""
    _book()
    own: Account = {}
    _ACCOUNTS.append((own, []))
    try:
        yield own
    finally:
        _book()
        _ACCOUNTS.pop()


def added(accounts: Sequence[Mapping[Stage, float]]) -> Account:
    """Seconds of all accounts, stages in the order of a run."""
    total: Account = {name: sum(each.get(name, 0.0) for each in accounts) for name in STAGES}
    return {name: round(seconds, 3) for name, seconds in total.items()}


def told(seconds: Mapping[Stage, float], workers: str) -> str:
    """One line: each stage's CPU-seconds and its share."""
    whole = sum(seconds.values())
    shares = [
        f"{name} {spent:.1f} ({spent / max(whole, 1e-9):.0%})"
        for name, spent in seconds.items()
        if spent > 0
    ]
    return f"CPU-seconds by stage, {workers}: {', '.join(shares)}; {whole:.1f} in all"


def record(seconds: Mapping[Stage, float], wall: float) -> dict[str, Any]:
    """As a run folder keeps it."""
    return {"unit": "CPU-seconds, summed over workers", "wall": round(wall, 3)} | {
        "stages": dict(seconds)
    }


def _book() -> None:
    """What has passed since the last booking, to the innermost stage of the last account."""
    now = time.process_time()
    spent, begun = _ACCOUNTS[-1]
    if begun:
        spent[begun[-1]] = spent.get(begun[-1], 0.0) + now - _SINCE[0]
    _SINCE[0] = now
