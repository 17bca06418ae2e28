"""Laws as values: a stage, what must hold of it, how often it is tried, and how it is tried.

A law of the future: whatever the bars after a cut become, all that was known by the cut stays, byte
for byte; and something after it moves, or the stage does not read its bars at all.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from forecaster.audit.emitted import MOST_EVER, Emitted, Finding, first_difference, moment_text
from forecaster.audit.poison import FUTURES, poisoned, restored
from forecaster.audit.subject import Subject
from forecaster.bars import Panel

Emit = Callable[[Subject, Panel], list[Emitted]]
REWRITTEN = {"noise", "times 100", "crash"}  # the same rows with other prices: who reads them moves
Cuts = Literal["any", "fold", "after"]  # anywhere, in the fold's test, from its start to the end


@dataclass(frozen=True)
class Beginning:
    """The bars that a stage begins with, another future of them, and how far apart is the same."""

    bars: Callable[[Subject], Panel]
    future: Callable[[Panel, np.datetime64, str, int], Panel]  # (bars, cut, kind, seed)
    tolerance: float = 0.0  # a part of each number


ADJUSTED = Beginning(lambda subject: subject.panel, poisoned)
# Where adjustment multiplies a symbol's past by a number, quotients of prices may round.
STORED = Beginning(lambda subject: subject.stored, restored, 1e-9)


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
    emit: Emit,
    seed: int,
    *,
    cuts: Cuts = "any",
    futures: tuple[str, ...] = FUTURES,
    each_part: bool = False,
    begin: Beginning = ADJUSTED,
) -> Callable[[Subject, int], Finding | None]:
    """The law of the future over a stage's account, and that later rows do move.

    With `each_part`, those of every part. Half of the cuts fall about the fold's first origin, the
    rest anywhere in `cuts`.
    """

    def check(subject: Subject, examples: int) -> Finding | None:
        panel = begin.bars(subject)
        before = emit(subject, panel)
        still = {one.part for one in before}
        parts = len(still)
        for i in range(examples):
            rng = np.random.default_rng((seed, i))
            cut = drawn_cut(subject, rng, cuts)
            kind = futures[i % len(futures)]
            after = emit(subject, begin.future(panel, cut, kind, seed + i))
            found = first_difference(before, after, cut, begin.tolerance)
            if found is not None:
                how = f"{found.what} when the bars after {moment_text(cut)} become: {kind}"
                return Finding(how, found.symbol, found.date)
            if kind in REWRITTEN or not REWRITTEN & set(futures):
                still -= _moved(before, after, cut)
        if still and (each_part or len(still) == parts):
            return Finding(f"no future moves a later row of {min(still)}: its bars are not read")
        return None

    return check


def drawn_cut(subject: Subject, rng: np.random.Generator, cuts: Cuts = "any") -> np.datetime64:
    """A moment at which some bar closed, with bars after it."""
    clock = subject.panel.clock
    border, until = (
        int(np.searchsorted(clock, each))
        for each in (subject.fold.test_from, subject.fold.test_until)
    )
    first, last = {
        "any": (min(subject.fold.fewest_past, border), len(clock) - 2),
        "fold": (border, until),
        "after": (border, len(clock) - 2),
    }[cuts]
    if rng.random() < 0.5:
        at = border + int(rng.integers(-3 if cuts == "any" else 0, 4))
    else:
        at = int(rng.integers(first, max(last, first + 1)))
    return clock[min(max(at, 0), len(clock) - 2)]


def _moved(before: Sequence[Emitted], after: Sequence[Emitted], cut: np.datetime64) -> set[str]:
    """The parts of which anything known after the cut differs."""
    others = {(e.part, e.symbol): e for e in after}
    moved = set()
    for one in before:
        other = others.get((one.part, one.symbol))
        later = [_after(one, cut)], [] if other is None else [_after(other, cut)]
        if first_difference(*later, MOST_EVER) is not None:
            moved.add(one.part)
    return moved


def _after(one: Emitted, cut: np.datetime64) -> Emitted:
    rows = one.known_at > cut
    return Emitted(one.part, one.symbol, one.known_at[rows], one.values[rows])
