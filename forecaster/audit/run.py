"""The audit of a run: every law on the user's own configuration and bars, then the placebos."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forecaster.audit.bar_stages import bar_laws
from forecaster.audit.fold_stages import fold_laws
from forecaster.audit.laws import Check, Law, tried
from forecaster.audit.model_stages import model_laws
from forecaster.audit.network_stages import network_laws
from forecaster.audit.placebos import BARS, STEPS, SYMBOLS, placebo_laws
from forecaster.audit.run_stages import run_laws
from forecaster.audit.subject import Subject, reduced
from forecaster.backtest import Plan
from forecaster.bars import Panel

SEES = (
    "whatever lets a bar after the cut change a number before it, stage by stage from the stored"
    " bars on; not what whoever wrote their prices and factors had seen, nor what was chosen by"
    " people who had seen the test years, nor a universe of survivors"
)


@dataclass(frozen=True)
class Effort:
    """How often laws are tried."""

    examples: int
    markets: int = 1  # of each placebo


def laws_of(subject: Subject, effort: Effort, say: Callable[[str], None]) -> list[Law]:
    """In the order in which a bar becomes a score: the first failure is nearest its cause.

    `say` hears what laws found that hold.
    """
    examples = effort.examples
    return [
        *bar_laws(examples),
        *fold_laws(examples),
        *network_laws(examples),
        *model_laws(subject.forecasters, examples),
        *run_laws(examples),
        *placebo_laws(effort.markets, say),
    ]


def audit_run(
    whole: Plan,
    stored: Panel,
    effort: Effort,
    on_check: Callable[[Check, int], None] | None = None,
) -> dict[str, Any]:
    """Every law tried on a plan; the record that `--json` prints. Nothing is written.

    `stored` are the plan's bars as they were before they were adjusted.
    """
    began, spent = time.perf_counter(), time.process_time()
    subject, about = reduced(whole, stored)
    notes: list[str] = []
    laws = laws_of(subject, effort, notes.append)
    checks = []
    for law in laws:
        check = tried(law, subject)
        checks.append(check)
        if on_check:
            on_check(check, len(laws))
    failed = [check for check in checks if check.finding is not None]
    return {
        "kind": "run",
        "reduced": about,
        "checks": [check.as_json() for check in checks],
        "notes": [_reduction(about, len(laws)), *notes],
        "sees": SEES,
        "leaks": [f"{check.stage}: {check.finding}" for check in failed],
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
    }


def _reduction(about: dict[str, Any], laws: int) -> str:
    """What was reduced, in words."""
    return (
        f"{laws} laws on fold {about['fold']} of {about['of_folds']}, reduced: {about['bars']} of"
        f" {about['of_bars']} bars, {about['origins']} origins, networks of"
        f" {about['learner_steps']} of {about['of_learner_steps'] or 'all'} steps and"
        f" {about['learner_seeds']} of {about['of_learner_seeds']} seeds; placebos:"
        f" {SYMBOLS} symbols, {BARS} bars, {STEPS} steps, one seed"
    )
