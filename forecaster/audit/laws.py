"""Laws as values: a stage, what must hold of it, how often it is tried, and how it is tried.

A law of the future: whatever the bars after a cut become, all that was known by the cut stays, byte
for byte; and something after it moves, or the stage does not read its bars at all.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecaster.audit.emitted import Emitted, Finding, first_difference, moment_text
from forecaster.audit.poison import FUTURES, poisoned
from forecaster.audit.subject import Subject
from forecaster.bars import Panel

Emit = Callable[[Subject, Panel], list[Emitted]]
STIRRING = ("noise", "times 100", "crash")  # futures that whoever reads prices must feel


@dataclass(frozen=True)
class Law:
    """One row of the audit's table."""

    stage: str
    id: str  # of the property: P1 .. P16, or a placebo
    states: str  # what must hold
    examples: int
    check: Callable[[Subject, int], Finding | None]  # (subject, examples)


@dataclass(frozen=True)
class Check:
    """What came of a law."""

    stage: str
    law: str
    states: str
    examples: int
    seconds: float
    finding: Finding | None
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        found = self.finding
        return {
            "stage": self.stage,
            "law": self.law,
            "states": self.states,
            "examples": self.examples,
            "seconds": round(self.seconds, 2),
            "holds": found is None,
            "finding": None if found is None else str(found),
            "symbol": None if found is None else found.symbol or None,
            "date": None if found is None else found.date or None,
        }


def tried(law: Law, subject: Subject) -> Check:
    """Check one law."""
    began = time.perf_counter()
    found = law.check(subject, law.examples)
    spent = time.perf_counter() - began
    return Check(law.stage, law.id, law.states, law.examples, spent, found)


def blind_to_the_future(
    emit: Emit, seed: int, *, from_fold: bool = False, stirring: tuple[str, ...] = STIRRING
) -> Callable[..., Any]:
    """The law of the future over a stage's account.

    Cuts fall anywhere, half of them about the fold's borders; `from_fold` keeps them from the
    fold's first origin on, for a stage that says nothing earlier; `stirring` are the futures that
    must move something.
    """

    def check(subject: Subject, examples: int) -> Finding | None:
        before = emit(subject, subject.panel)
        stirred = False
        for i in range(examples):
            rng = np.random.default_rng((seed, i))
            cut = drawn_cut(subject, rng, from_fold=from_fold)
            kind = FUTURES[i % len(FUTURES)]
            after = emit(subject, poisoned(subject.panel, cut, kind, seed + i))
            found = first_difference(before, after, cut)
            if found is not None:
                how = f"{found.what} when the bars after {moment_text(cut)} become: {kind}"
                return Finding(how, found.symbol, found.date)
            stirred |= kind in stirring and _moved(before, after, cut)
        if examples and not stirred:
            return Finding("no future moves any later row: it does not read the bars it is given")
        return None

    return check


def drawn_cut(subject: Subject, rng: np.random.Generator, *, from_fold: bool) -> np.datetime64:
    """A moment at which some bar closed, with bars after it."""
    clock = subject.panel.clock
    border = int(np.searchsorted(clock, subject.fold.test_from))
    until = int(np.searchsorted(clock, subject.fold.test_until)) if from_fold else len(clock) - 1
    first = border if from_fold else min(subject.fold.fewest_past, border)
    if rng.random() < 0.5:
        at = border + int(rng.integers(0 if from_fold else -3, 4))
    else:
        at = int(rng.integers(first, max(until, first + 1)))
    return clock[min(max(at, 0), len(clock) - 2)]


def _moved(before: Sequence[Emitted], after: Sequence[Emitted], cut: np.datetime64) -> bool:
    """Whether anything known after the cut differs."""
    trimmed = [[_after(e, cut) for e in side] for side in (before, after)]
    return first_difference(trimmed[0], trimmed[1], np.datetime64("9999-01-01")) is not None


def _after(one: Emitted, cut: np.datetime64) -> Emitted:
    rows = one.known_at > cut
    return Emitted(one.part, one.symbol, one.known_at[rows], one.values[rows])
