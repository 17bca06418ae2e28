"""A learner's gain by year, volatility at the origin, and symbol, as tables with bars."""

from typing import Any

from forecaster.display import p_value
from forecaster.report.drawing import Cell, Table, gauge
from forecaster.report.material import Material

LABELS = {"year": "year", "volatility": "volatility", "unique_id": "symbol"}


def group_tables(found: Material, h: int) -> list[Table]:
    """One a comparison, from the parts that the summary has."""
    return [_table(pair) for pair in found.comparisons(h)]


def _table(pair: dict[str, Any]) -> Table:
    parts = pair["parts"]
    gains = [part["log_score_gain"] for part in parts]
    largest = max((abs(gain) for gain in gains), default=0.0)
    signed = min(gains, default=0.0) < 0
    ahead = ", ".join(
        f"{won} of {of} {LABELS[by]}{'s' if by != 'volatility' else ' terciles'}"
        for by, (won, of) in pair["ahead"].items()
    )
    return Table(
        caption=f"{pair['model']} less {pair['reference']}, h = {pair['h']}: ahead in {ahead}",
        columns=("group", "by", "dates", "log score [nats]", "gain", "p", "CRPS skill [%]"),
        rows=tuple(_row(part, largest, signed) for part in parts),
        wide=("gain",),
    )


def _row(part: dict[str, Any], largest: float, signed: bool) -> tuple[Cell, ...]:
    return (
        part["group"],
        LABELS[part["by"]],
        f"{part['dates']:,}",
        f"{part['log_score_gain']:+.4f}",
        gauge(part["log_score_gain"], largest, signed=signed),
        p_value(part["log_score_p"]),
        f"{100 * part['crps_skill']:+.2f}",
    )
