"""Each network of a learner by itself, beside all of them together: how far its seeds spread."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from forecaster import inference
from forecaster.protocol import PRIOR, TOGETHER
from forecaster.report.drawing import Chart, Table, axis, colour, rounded
from forecaster.report.material import Material
from forecaster.report.words import ahead

SCORED = "scored"  # the learner's own row: beyond the next bar, in its pool
MOST_FOLDS = 12  # that are drawn one by one: the last ones
WHOLE = "all folds"


@dataclass(frozen=True, eq=False)
class Kept:
    """What one learner's parts scored at one horizon: nats, a mean over symbols a date."""

    model: str
    h: int
    scores: pd.DataFrame  # [dates, parts]: PRIOR, TOGETHER, SCORED, and a column a network
    fold: pd.Series  # [dates]

    @property
    def networks(self) -> list[str]:
        """Columns of single networks, by number."""
        return sorted(set(map(str, self.scores)) - {PRIOR, TOGETHER, SCORED}, key=int)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """[dates, parts] over the prior alone."""
        return self.scores.sub(self.scores[PRIOR], axis=0)

    @property
    def pooled(self) -> bool:
        """Whether the learner's row is more than its networks."""
        return float((self.scores[SCORED] - self.scores[TOGETHER]).abs().max()) > 1e-6

    def by_fold(self) -> dict[str, pd.Series]:
        """Mean gains of every part: of all dates, then of each fold's."""
        means = self.gains.groupby(self.fold).mean()
        return {WHOLE: self.gains.mean()} | {f"fold {i}": row for i, row in means.iterrows()}


def kept_of(found: Material, model: str, h: int) -> Kept | None:
    """None where some fold of the learner kept no scores of its networks."""
    rows = found.networks[(found.networks["model"] == model) & (found.networks["h"] == h)]
    scored = found.scored(model, h)
    if rows.empty or set(rows["fold"]) != set(scored["fold"]):
        return None
    scores = rows.pivot_table(index="cutoff", columns="part", values="log_score")
    own = inference.mean_per_date(scored, "log_score", h)[model]
    fold = rows.groupby("cutoff")["fold"].first()
    return Kept(model, h, scores.assign(**{SCORED: own}), fold)


def spread_charts(found: Material, h: int) -> list[Chart]:
    """One a learner that kept what its networks score."""
    kept = [kept_of(found, model, h) for model in found.learners]
    return [_spread(each, f"spread-{h}-{i}") for i, each in enumerate(kept) if each is not None]


def _spread(kept: Kept, name: str) -> Chart:
    means = kept.by_fold()
    shown = [WHOLE, *list(means)[1:][-MOST_FOLDS:]][::-1]  # drawn from below
    count = len(kept.networks)
    dots = {"type": "scatter", "mode": "markers", "name": numbered(count)} | {
        "x": rounded(np.concatenate([means[row][kept.networks].to_numpy() for row in shown])),
        "y": [row for row in shown for _ in kept.networks],
        "marker": {"color": colour(0), "size": 8, "opacity": 0.55},
    }
    together = {"type": "scatter", "mode": "markers", "name": "averaged", "y": shown} | {
        "x": rounded(np.array([means[row][TOGETHER] for row in shown])),
        "marker": {"color": colour(1), "size": 20, "symbol": "line-ns-open", "line": {"width": 3}},
    }
    traces = [dots, together] if count > 1 else [dots]
    told = in_words(kept)
    return Chart(
        name=name,
        title=f"{kept.model}: gain over the prior alone",
        note=told,
        alt=f"Dots: {numbered(count)}: gain of {kept.model} over its prior alone, h = {kept.h}, of"
        f" all folds and of each. {told}",
        traces=traces,
        x=axis("nats a forecast over no network"),
        y=axis("", type="category", categoryorder="array", categoryarray=shown),
        marks=[upright_level()],
        legend=True,
        height=150 + 30 * len(shown),
        numbers=_numbers(kept, means),
    )


def upright_level() -> dict[str, Any]:
    """A line at a gain of nothing."""
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0} | {
        "line": {"width": 1, "dash": "solid"}
    }


def numbered(count: int) -> str:
    """So many networks in a legend."""
    return f"{count} networks, each alone" if count > 1 else "its one network"


def in_words(kept: Kept) -> str:
    """Worst to best of the networks, and what their average makes of them."""
    means = kept.gains.mean()
    alone = means[kept.networks]
    above = int((alone > means[TOGETHER]).sum())
    text = f"{ahead(kept.h)}, its one network gains {alone.mean():+.4f} nats over the prior alone"
    if len(alone) > 1:
        text = (
            f"{ahead(kept.h)}, one network gains {alone.min():+.4f} to {alone.max():+.4f} nats over"
            f" the prior alone, {alone.mean():+.4f} on average; the average of all {len(alone)}"
            f" {means[TOGETHER]:+.4f}, {above} of {len(alone)} alone more than that"
        )
    if kept.pooled:
        text += f"; in the pool with classical densities, as scored, {means[SCORED]:+.4f}"
    return f"{text}."


def _numbers(kept: Kept, means: dict[str, pd.Series]) -> Table:
    """Worst, median and best network, and all together, by fold."""
    sizes = {WHOLE: len(kept.fold)} | {f"fold {i}": n for i, n in kept.fold.value_counts().items()}
    return Table(
        caption=f"{kept.model}, h = {kept.h}, {numbered(len(kept.networks))}: gain over the prior"
        " alone [nats]",
        columns=("folds", "dates", "worst", "median", "best", "averaged", "as scored"),
        rows=tuple(
            (
                row,
                f"{sizes[row]:,}",
                *(f"{own[kept.networks].quantile(q):+.4f}" for q in (0.0, 0.5, 1.0)),
                f"{own[TOGETHER]:+.4f}",
                f"{own[SCORED]:+.4f}",
            )
            for row, own in means.items()
        ),
    )
