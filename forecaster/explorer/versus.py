"""Two runs in an explorer: their scores on common forecasts, and the settings that differ."""

from typing import Any

from forecaster.display import p_value
from forecaster.report.drawing import Table
from forecaster.side_by_side import pair_name, shown
from forecaster.tables import BASIS_POINTS


def comparison_tables(record: dict[str, Any], h: int) -> list[Table]:
    """Scores of a horizon, then settings."""
    rows = [row for row in record["scores"] if row["h"] == h]
    odd = record["outcomes_differ"]
    scores = Table(
        caption=f"Both runs on the forecasts that both made, h = {h}",
        columns=(
            *("model", "forecasts", "dates", "log score A [nats]", "log score B [nats]"),
            *("B less A", "p", "CRPS A [bp]", "CRPS B [bp]"),
        ),
        rows=tuple(_row(row) for row in rows),
        note=f"A: {record['runs'][0]}; B: {record['runs'][1]}. B less A: over dates, above 0 where"
        " B is better; p two-sided, Diebold-Mariano, of this pair alone."
        + (f" {odd} common rows have other outcomes: their bars differ." if odd else ""),
    )
    differ = [*record["settings"], *record["environment"]]
    settings = Table(
        caption="Settings that differ",
        columns=("setting", "A", "B"),
        rows=tuple((each["key"], shown(each["a"]), shown(each["b"])) for each in differ)
        or (("none", "", ""),),
        wide=("A", "B"),
    )
    return [scores, settings]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        pair_name(row["models"]),
        f"{row['n']:,}",
        f"{row['dates']:,}",
        *(f"{score:.4f}" for score in row["log_score"]),
        f"{row['gain']:+.4f}",
        p_value(row["p"]),
        *(f"{BASIS_POINTS * score:.2f}" for score in row["crps"]),
    )
