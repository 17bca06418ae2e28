"""The record behind summary.json and the printed tables."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from forecaster import inference
from forecaster.backtest import Plan, records
from forecaster.baselines import BASELINES, NAIVE_NAMES
from forecaster.folds import day_of
from forecaster.inference import Losses
from forecaster.runs import RunFolder
from forecaster.summary.comparisons import comparisons, corrected, plain
from forecaster.summary.rows import Digest, ScoredRows, digest, joined

ECONOMETRIC_NAMES = tuple(name for name in BASELINES if name not in NAIVE_NAMES)
# What a learner's network corrects, by its tokens: at h = 1 this row shows what the network adds;
# beyond, the learner is a pool, and its distance from this row is the pool's.
PRIORS = {"prior": "harx"}
OTHER_PRIOR = "range_student_t"


def summarise(plan: Plan, run: RunFolder) -> dict[str, Any]:
    """All scores of all models, and all comparisons of the learners: nothing is chosen."""
    names, horizons = [each.name for each in plan.forecasters], plan.config.horizons
    cells, rows = records(plan, run), ScoredRows(plan, run)
    kept = {name: digest(rows.of(name), horizons) for name in names}
    losses = {h: joined(list(kept.values()), h) for h in horizons}
    best = {h: inference.best_of(each, _among(names, NAIVE_NAMES)) for h, each in losses.items()}
    asked = {h: _asked(plan, each, best[h]) for h, each in losses.items()}
    wanted = {name for pairs in asked.values() for pair in pairs for name in pair}
    frame = rows.compared(sorted(wanted)) if wanted else pd.DataFrame()
    found = corrected(
        [pair for h, each in losses.items() for pair in comparisons(each, frame, asked[h])]
    )
    return {
        "run_id": plan.run_id,
        "symbols": list(plan.panel.symbols),
        "interval": plan.panel.interval,
        "folds": len(plan.folds),
        "test_from": day_of(plan.folds[0].test_from),
        "test_until": day_of(plan.folds[-1].test_until),
        "horizons": list(plan.config.horizons),
        "vault": plan.config.vault,
        "best_naive": {str(h): name for h, name in best.items()},
        "rows": [
            _row(kept[name].means[h], inference.compare(losses[h], name, best[h]))
            for h in losses
            for name in names
        ],
        "seconds": _seconds(cells, names),
        "notes": _notes(plan, cells, kept[names[0]]),
        "verdicts": [each.sentence() for each in found if each.printed],
        "comparisons": [each.record() for each in found],
        "sets": [_sets(each, names, best[h]) for h, each in losses.items()],
        "calibration": [
            {"model": name, "h": h} | kept[name].calibration[h] for h in horizons for name in names
        ],
        "by_symbol": [row for name in sorted(names) for row in kept[name].by_symbol],
    }


def _among(names: Sequence[str], group: Sequence[str]) -> list[str]:
    return [name for name in names if name in group]


def _asked(plan: Plan, losses: Losses, best_naive: str) -> dict[tuple[str, str], bool]:
    """(learner, rival) -> whether it is a printed verdict: the best of each group is.

    Beside those, a learner stands against its own prior and against GJR-GARCH.
    """
    names = [each.name for each in plan.forecasters]
    econometric = _among(names, ECONOMETRIC_NAMES)
    printed = [best_naive] + ([inference.best_of(losses, econometric)] if econometric else [])
    prior = PRIORS.get(plan.config.learner.tokens, OTHER_PRIOR)
    more = [name for name in (prior, "gjr_skew_t") if name in names and name not in printed]
    learners = [name for name in names if name not in BASELINES]
    return {(m, r): r in printed for m in learners for r in (*printed, *more)}


def _row(found: dict[str, Any], skill: inference.Skill) -> dict[str, Any]:
    """Every mean of `scores.summarise` but the PIT's, under the names of the printed table."""
    means = {k: v for k, v in found.items() if k not in {"model", "h", "n"} and "pit_" not in k}
    return {
        "model": skill.model,
        "h": skill.h,
        "n": int(found["n"]),
        "dates": skill.n_dates,
        "skill": _number(skill.crps_skill),
        "skill_low": _number(skill.low),
        "skill_high": _number(skill.high),
        "p": _number(skill.p),
        "log_score_gain": skill.log_score_gain,
        "log_score_p": _number(skill.log_score_p),
    } | means


def _sets(losses: Losses, names: Sequence[str], best_naive: str) -> dict[str, Any]:
    """Model confidence sets at one horizon, and whether anything is better than a benchmark."""
    econometric = _among(names, ECONOMETRIC_NAMES)
    bench = inference.best_of(losses, econometric) if econometric else best_naive
    asked = [bench, *(name for name in names if name not in BASELINES)]
    found: dict[str, Any] = {"h": losses.h}
    for score, values in (("crps", losses.crps), ("log_score", losses.log_loss)):
        kept = inference.confidence_set(values, losses.h)
        found[score] = {
            "confidence_set": plain(kept) if kept else None,
            "spa": {name: inference.superior(values, name, losses.h) for name in asked},
        }
    return found


def _number(x: float) -> float | None:
    """JSON has no NaN: too few dates for a test is null."""
    return x if math.isfinite(x) else None


def _notes(plan: Plan, cells: Sequence[dict[str, Any]], any_model: Digest) -> list[str]:
    """Failed fits and what stood in for them, and symbols that are in no row."""
    scored = {row["unique_id"] for row in any_model.by_symbol}
    absent = [str(s) for s in plan.panel.symbols if s not in scored]
    without = [f"{s}: no forecast of it could be scored in the test" for s in absent]
    return without + sorted(
        {f"{c['model']}, fold {c['fold']}: {n}" for c in cells for n in c["notes"]}
    )


def _seconds(cells: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """Fit and forecast time of each model, all folds together, as if on one core."""
    return {
        name: round(
            sum(c["fit_seconds"] + c["forecast_seconds"] for c in cells if c["model"] == name), 2
        )
        for name in names
    }
