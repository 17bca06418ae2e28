"""What a backtest found, as one JSON record: every model beside the naive ones, in words too."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from forecaster import inference, scores
from forecaster.backtest import Plan, records
from forecaster.baselines import BASELINES, NAIVE_NAMES
from forecaster.folds import day_of
from forecaster.runs import RunFolder

ECONOMETRIC_NAMES = tuple(name for name in BASELINES if name not in NAIVE_NAMES)


def summarise(plan: Plan, run: RunFolder, table: pa.Table) -> dict[str, Any]:
    """The record behind summary.json and the printed table."""
    names = [each.name for each in plan.forecasters]
    naive = [name for name in names if name in NAIVE_NAMES]
    cells = records(plan, run)
    means = {(row["model"], row["h"]): row for row in _rows_of(scores.summarise(table))}
    rows, verdicts, best = [], [], {}
    for h in plan.config.horizons:
        best[h] = inference.best_naive(table, naive, h)
        for name in names:
            rows.append(_row(means[name, h], inference.skill(table, name, best[h], h)))
        for name in names:
            if name not in BASELINES:
                verdicts += _verdicts(table, name, _rivals(table, names, best[h], h), h)
    return {
        "run_id": plan.run_id,
        "symbols": list(plan.panel.symbols),
        "interval": plan.panel.interval,
        "folds": len(plan.folds),
        "test_from": day_of(plan.folds[0].test_from),
        "test_until": day_of(plan.folds[-1].test_until),
        "horizons": list(plan.config.horizons),
        "best_naive": {str(h): name for h, name in best.items()},
        "rows": rows,
        "seconds": _seconds(cells, names),
        "notes": _notes(plan, cells, table),
        "verdicts": verdicts,
        "by_symbol": _by_symbol(table),
    }


def _row(found: dict[str, Any], skill: inference.Skill) -> dict[str, Any]:
    """One line of the table: mean scores over all rows, skill and p-value over dates."""
    coverage = {f"coverage_{c}": float(found[f"coverage_{c}"]) for c in (50, 80, 95)}
    return {
        "model": skill.model,
        "h": skill.h,
        "n": int(found["n"]),
        "dates": skill.n_dates,
        "log_score": float(found["log_score"]),
        "crps": float(found["crps"]),
        "skill": _number(skill.crps_skill),
        "skill_low": _number(skill.low),
        "skill_high": _number(skill.high),
        "p": _number(skill.p),
        "log_score_gain": skill.log_score_gain,
        "log_score_p": _number(skill.log_score_p),
    } | coverage


def _number(x: float) -> float | None:
    """JSON has no NaN: too few dates for a test is null."""
    return x if math.isfinite(x) else None


def _notes(plan: Plan, cells: Sequence[dict[str, Any]], table: pa.Table) -> list[str]:
    """Failed fits and what stood in for them, and symbols that are in no row."""
    scored = set(table["unique_id"].unique().to_pylist())
    absent = [str(s) for s in plan.panel.symbols if s not in scored]
    without = [f"{s}: no forecast of it could be scored in the test" for s in absent]
    return without + sorted(
        {f"{c['model']}, fold {c['fold']}: {n}" for c in cells for n in c["notes"]}
    )


def _rivals(table: pa.Table, names: Sequence[str], best_naive: str, h: int) -> list[str]:
    """The best naive baseline, and the best econometric one where some ran."""
    econometric = [name for name in names if name in ECONOMETRIC_NAMES]
    return [best_naive] + ([inference.best_naive(table, econometric, h)] if econometric else [])


def _verdicts(table: pa.Table, name: str, rivals: Sequence[str], h: int) -> list[str]:
    return [inference.verdict(inference.skill(table, name, rival, h)) for rival in rivals]


def _seconds(cells: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """Fit and forecast time of each model, all folds together, as if on one core."""
    return {
        name: round(
            sum(c["fit_seconds"] + c["forecast_seconds"] for c in cells if c["model"] == name), 2
        )
        for name in names
    }


def _by_symbol(table: pa.Table) -> list[dict[str, Any]]:
    """Mean scores a model, symbol and horizon: a mean over symbols hides one."""
    frame = scores.summarise(table, by=("model", "unique_id", "h"))
    columns = ["model", "unique_id", "h", "n", "log_score", "crps"]
    return [{name: row[name] for name in columns} for row in _rows_of(frame)]


def _rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain records, numpy's numbers as Python's."""
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
