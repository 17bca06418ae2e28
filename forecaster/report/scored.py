"""The table that the page opens with: every model at a horizon, baselines first."""

from typing import Any

from forecaster.display import p_value
from forecaster.report.calibrated import learners
from forecaster.report.drawing import Table
from forecaster.report.material import Material
from forecaster.tables import BASIS_POINTS, in_sets, percent

COVER = (50, 80, 95)


def score_table(found: Material, h: int) -> Table:
    """As the terminal shows it, with the intervals of skill beside."""
    rows = found.rows(h)
    best = found.summary["best_naive"][str(h)]
    return Table(
        caption=f"h = {h}: {rows[0]['n']:,} forecasts on {rows[0]['dates']:,} dates",
        columns=(
            *("model", "log score [nats]", "CRPS [bp]", "CRPS skill [%]", "95 % interval", "p"),
            *("log score less best naive", "p (log score)", "90 % set"),
            *(f"coverage {c} % [%]" for c in COVER),
        ),
        rows=tuple(_row(found, row, best) for row in rows),
        strong=learners(found, rows),
        note=f"Skill and differences: over dates, against {best}, the best naive row; p two-sided,"
        " Diebold-Mariano; intervals by Fieller. 90 % set: the model confidence set holds the row,"
        " by log score (L), by CRPS (C). Scores and coverage: means over forecasts.",
    )


def _row(found: Material, row: dict[str, Any], best: str) -> tuple[str, ...]:
    own = row["model"] == best
    interval = "" if row["skill_low"] is None else _interval(row)
    return (
        row["model"],
        f"{row['log_score']:.4f}",
        f"{BASIS_POINTS * row['crps']:.2f}",
        "best naive" if own else percent(row["skill"]),
        "" if own else interval,
        "" if own else p_value(row["p"]),
        "" if own else f"{row['log_score_gain']:+.4f}",
        "" if own else p_value(row["log_score_p"]),
        in_sets(found.summary, row),
        *(f"{100 * row[f'coverage_{c}']:.1f}" for c in COVER),
    )


def _interval(row: dict[str, Any]) -> str:
    return f"{100 * row['skill_low']:+.2f} to {100 * row['skill_high']:+.2f}"
