"""What a backtest looks like in a terminal: its plan, its tables, and how long it will take."""

from typing import Any

from rich.table import Table
from rich.text import Text

from forecaster.backtest import Cell, Plan
from forecaster.baselines import BASELINES
from forecaster.display import p_value, print_line, print_table
from forecaster.folds import day_of

BASIS_POINTS = 1e4
# Seconds a cell takes on an idle core of 2026, for the forecast of the remaining time.
COSTS = {
    "historical_1000": 0.2,
    "garch_student_t": 0.3,
    "gjr_skew_t": 0.7,
    "harx_own": 1.0,
    "harx_pooled": 0.6,
    "harx": 1.1,
    "egarch_skew_t": 0.7,
    "filtered_historical": 0.6,
    "har_empirical": 0.2,
    "boosted_quantiles": 0.9,
    "pool_garch_har": 2.5,
    "pool_classical": 6.5,
}
CHEAP = 0.1  # every other baseline
LEARNER_COST = 1.6  # a seed of 100 steps, one layer
FEW_STEPS = 100  # of a learner that takes as many as its history bears: the least


def score_table(summary: dict[str, Any], h: int) -> Table:
    """Every model at one horizon, the naive ones first."""
    rows = [row for row in summary["rows"] if row["h"] == h]
    best = summary["best_naive"][str(h)]
    title = f"h = {h}: {rows[0]['n']} forecasts on {rows[0]['dates']} dates"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = (
        f"Skill: CRPS over dates against {best}, the best naive; p two-sided, Diebold-Mariano.\n"
        "90 % set: may be the best by log score (L), by CRPS (C). Scores, coverage: over forecasts."
    )
    table.add_column("model")
    for name in (
        "log score\n[nats]",
        "CRPS\n[bp]",
        "skill\n[%]",
        "p",
        "90 %\nset",
        "coverage\n50/80/95 %",
        "seconds",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        own = row["model"] == best
        cover = "/".join(f"{100 * row[f'coverage_{c}']:.1f}" for c in (50, 80, 95))
        table.add_row(
            Text(row["model"]),
            f"{row['log_score']:.4f}",
            f"{BASIS_POINTS * row['crps']:.2f}",
            "best naive" if own else percent(row["skill"]),
            "" if own else p_value(row["p"]),
            in_sets(summary, row),
            cover,
            f"{summary['seconds'][row['model']]:.1f}",
            style="bold" if row["model"] not in BASELINES else "",
        )
    return table


def print_summary(summary: dict[str, Any], run: str) -> None:
    """Tables, notes, verdicts and where the run is, on stdout."""
    for h in summary["horizons"]:
        print_table(score_table(summary, h))
    for note in summary["notes"]:
        print_line(f"note: {note}")
    if summary["verdicts"]:
        print_line(f"{len(summary['verdicts'])} verdicts, each at 5 %, Holm's p over all of them:")
    for verdict in summary["verdicts"]:
        print_line(verdict)
    for line in ledger_lines(summary):
        print_line(line)
    print_line(f"run: {run}")


def ledger_lines(summary: dict[str, Any]) -> list[str]:
    """How many configurations these test bars have seen, and what is left of the wins then."""
    found, lines = summary.get("ledger", {}), []
    if "configurations" in found:
        n = found["configurations"]
        lines.append(
            f"ledger {found['path']}: configurations scored on these test bars: {n};"
            f" wins at 5 %: {found['wins']}, after Holm {found['wins_after_holm']},"
            f" after Holm times {n}: {found['wins_after_trials']}"
        )
    if summary["vault"] == "open":
        lines.append(f"vault: open; configurations that opened it: {found.get('openings', 1)}")
    if summary["vault"] == "locked":
        lines.append(f"vault: locked; nothing after {summary['test_until']} was looked at")
    if "note" in found:
        lines.append(f"ledger {found['path']}: {found['note']}")
    return lines


def print_plan(plan: Plan) -> None:
    """Train and test spans of every fold."""
    names = ", ".join(each.name for each in plan.forecasters)
    table = Table(title=f"{len(plan.folds)} folds of {names}", title_justify="left")
    for name in ("fold", "train until", "test from", "test until", "origins"):
        table.add_column(name, justify="right")
    for fold in plan.folds:
        days = (fold.train_until, fold.test_from, fold.test_until)
        shown = [day_of(day) for day in days]
        table.add_row(str(fold.index), *shown, str(len(fold.origins(plan.panel))))
    print_table(table)


def cost(cell: Cell, plan: Plan) -> float:
    """About how many seconds a cell takes, on its own."""
    if cell.forecaster.name in BASELINES:
        return COSTS.get(cell.forecaster.name, CHEAP)
    learner = plan.config.learner
    return LEARNER_COST * learner.seeds * (learner.steps or FEW_STEPS) / 100


def in_sets(summary: dict[str, Any], row: dict[str, Any]) -> str:
    """L and C where the model confidence sets by log score and by CRPS hold it."""
    found = next(each for each in summary["sets"] if each["h"] == row["h"])
    return "".join(
        letter if row["model"] in (found[score]["confidence_set"] or {"kept": ()})["kept"] else " "
        for letter, score in (("L", "log_score"), ("C", "crps"))
    ).rstrip()


def percent(share: float | None) -> str:
    """A share of one in per cent; None is a skill over a reference that is never wrong."""
    return "undefined" if share is None else f"{100 * share:+.2f}"
