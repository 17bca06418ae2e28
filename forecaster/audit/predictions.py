"""The audit of a predictions file, ours or anyone's: faults, calibration, smells, skill."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecaster.audit import alignment, smells
from forecaster.audit.columns import Foreign, read_foreign
from forecaster.audit.emitted import Finding
from forecaster.audit.laws import Check
from forecaster.audit.rivals import skill
from forecaster.audit.target import in_log_returns
from forecaster.bars import Panel

SEES = (
    "times and outcomes out of place, forecasts that know the next return, its sign, its size or"
    " the one after it, bands fitted to the outcomes, rows left out, revisions; not a weak leak"
    " below its thresholds, nor what was chosen with the test in sight"
)
Look = Callable[[], Finding | None]


def audit_predictions(
    path: Path, *, bars: Panel | None = None, against: Path | None = None
) -> dict[str, Any]:
    """Every look at a file; the record that `--json` prints. Nothing is written."""
    began, spent = time.perf_counter(), time.process_time()
    raw = read_foreign(path)
    file = in_log_returns(raw, bars)
    notes = [f"{len(raw.frame)} rows, models {', '.join(sorted(raw.frame['model'].unique()))}"]
    notes += file.notes
    checks = [_looked(*each, len(raw.frame)) for each in _faults(raw, file)]
    leaks = [_looked(*each, len(raw.frame)) for each in _smells(raw, file, bars)]
    if against is not None:
        earlier = read_foreign(against)
        stays = "rows of the earlier file are as they were"
        look = ("append", "P11", stays, lambda: smells.changed(raw, earlier))
        leaks.append(_looked(*look, len(earlier.frame)))
    if bars is not None:
        lines: list[str] = []

        def compare() -> Finding | None:
            found, said = skill(file, bars)
            lines.extend(said)
            return found

        leaks.append(_looked("skill", "skill", "it can be true", compare, len(file.frame)))
        notes += lines
    notes += [f"fault, {check.stage}: {check.finding}" for check in checks if check.finding]
    return {
        "kind": "predictions",
        "checks": [check.as_json() for check in (*checks, *leaks)],
        "notes": notes,
        "sees": SEES,
        "leaks": [f"{check.stage}: {check.finding}" for check in leaks if check.finding],
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
    }


def _faults(raw: Foreign, file: Foreign) -> list[tuple[str, str, str, Look]]:
    """What is wrong without being knowledge of the future."""
    return [
        ("rows", "key", "no key twice, no forecast missing", lambda: alignment.keys(raw)),
        ("rows", "same", "all models answer the same questions", lambda: alignment.same_rows(raw)),
        ("quantiles", "order", "quantiles ascend", lambda: alignment.crossing(raw)),
        ("calibration", "cover", "bands cover what they say", lambda: smells.miscalibrated(file)),
    ]


def _smells(raw: Foreign, file: Foreign, bars: Panel | None) -> list[tuple[str, str, str, Look]]:
    """What is knowledge of the future, or lets it in."""
    wild = "missing rows are no wilder than the others"
    return [
        ("times", "P9", "ds is h bars after cutoff", lambda: alignment.times(raw, bars)),
        ("outcomes", "P12", "y is what came", lambda: alignment.outcomes(file, bars)),
        ("symbols", "P14", "those that end are there", lambda: alignment.survivors(raw, bars)),
        ("rows", "P12", wild, lambda: alignment.dropped_where_it_hurts(file, bars)),
        ("forecasts", "equal", "no forecast is the outcome", lambda: smells.equal(file)),
        ("forecasts", "ic", "the next return is not known", lambda: smells.correlation(file)),
        ("forecasts", "sign", "its sign is not known", lambda: smells.direction(file)),
        ("forecasts", "error", "errors are as large as moves", lambda: smells.errors(file)),
        ("forecasts", "after", "nor the return after it", lambda: smells.afterwards(file)),
        ("bands", "size", "its size is not known", lambda: smells.bands(file)),
        ("bands", "pit", "not fitted to the outcomes", lambda: smells.too_calibrated(file)),
    ]


def _looked(stage: str, law: str, states: str, look: Look, rows: int) -> Check:
    began = time.perf_counter()
    found = look()
    return Check(stage, law, states, rows, time.perf_counter() - began, found)
