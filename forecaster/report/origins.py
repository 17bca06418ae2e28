"""Which origins are drawn: a rule chooses them, nobody picks them by hand."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from forecaster.report.material import Material

RULE = (
    "The last origin of which every horizon has come true; and by the log score of the one model"
    " less that of the other at the shortest horizon, the origins with the highest, the middle and"
    " the lowest difference. Ties go to the earlier cutoff, then to the name of the symbol."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """An origin, why it is shown, and by whose forecasts."""

    why: str
    symbol: str
    cutoff: pd.Timestamp
    gain: float  # nats at the shortest horizon
    model: str
    rival: str


def pair_of(found: Material) -> tuple[str, str] | None:
    """Whose forecasts are drawn: the first learner and the strongest of its rivals by CRPS."""
    h = found.horizons[0]
    pairs = found.comparisons(h)
    if not pairs:
        shown = found.shown(h)
        return (shown[-1], shown[0]) if len(shown) > 1 else None
    crps = {row["model"]: row["crps"] for row in found.rows(h)}
    own = [each for each in pairs if each["model"] == pairs[0]["model"]]
    return own[0]["model"], min(own, key=lambda each: crps[each["reference"]])["reference"]


def chosen(found: Material, model: str, rival: str) -> list[Chosen]:
    """The origins of the rule, those that coincide once."""
    h, key = found.horizons[0], ["cutoff", "unique_id"]
    scores = found.scores[found.scores["model"].isin([model, rival])]
    table = scores[scores["h"] == h].pivot_table(index=key, columns="model", values="log_score")
    gains = (table[model] - table[rival]).sort_index()
    ordered = gains.sort_values(kind="stable")
    ended = scores[(scores["h"] == max(found.horizons)) & (scores["model"] == model)]
    picks: list[tuple[str, Any]] = [
        ("highest difference", gains.idxmax()),
        ("middle difference", ordered.index[(len(ordered) - 1) // 2]),
        ("lowest difference", gains.idxmin()),
    ]
    if len(ended):
        last = ended[ended["cutoff"] == ended["cutoff"].max()]["unique_id"].min()
        picks.insert(0, ("last origin that came true", (ended["cutoff"].max(), last)))
    return [
        Chosen(
            why=why,
            symbol=symbol,
            cutoff=cutoff,
            model=model,
            rival=rival,
            gain=float(gains[cutoff, symbol]),
        )
        for why, (cutoff, symbol) in {place: (why, place) for why, place in picks}.values()
    ]
