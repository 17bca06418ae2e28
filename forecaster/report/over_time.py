"""Where in time a learner's gain is earned: cumulative differences of log scores."""

import numpy as np
import pandas as pd

from forecaster import inference
from forecaster.bars import Floats
from forecaster.report.drawing import Chart, Table, axis, days, level, line, rounded, thinned
from forecaster.report.material import Material

FEW = 10  # dates of which the share in the whole is told


def charts_over_time(found: Material, h: int) -> list[Chart]:
    """One a comparison: the sum over dates so far of the mean difference over symbols [nats]."""
    return [
        _chart(found, pair["model"], pair["reference"], f"over-time-{h}-{i}", h)
        for i, pair in enumerate(found.comparisons(h))
    ]


def difference(found: Material, model: str, rival: str, h: int) -> pd.Series:
    """[dates] the model's log score less the rival's, a mean over symbols a date."""
    own, other = (
        inference.mean_per_date(found.scored(name, h), "log_score", h)[name]
        for name in (model, rival)
    )
    return own - other


def _chart(found: Material, model: str, rival: str, name: str, h: int) -> Chart:
    gains = difference(found, model, rival, h)
    total = gains.cumsum().to_numpy()
    labels, at = days(gains.index), thinned(len(gains))
    x = [labels[i] for i in at]
    even = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False} | {
        "x": [labels[0], labels[-1]],
        "y": rounded(np.array([total[0], total[-1]])),
        "line": {"color": "#999999", "width": 1, "dash": "dot"},
    }
    told = in_words(gains)
    return Chart(
        name=name,
        title=f"{model} less {rival}",
        note=told,
        alt=f"Line: cumulative log score of {model} less that of {rival} by date, h = {h}. {told}",
        traces=[even, line(model, x, total[at], 0)],
        x=axis(""),
        y=axis("nats, summed over dates"),
        marks=[level(0)],
        numbers=_numbers(gains, f"{model} less {rival}, h = {h}"),
    )


def in_words(gains: pd.Series) -> str:
    """Where the sum ends, what a few dates make of it, and its longest time under water."""
    total, labels = gains.cumsum().to_numpy(), days(gains.index)
    start, stop = longest_wait(total)
    text = f"{total[-1]:+.2f} nats over {len(gains):,} dates"
    if len(gains) > 2 * FEW and total[-1]:
        best = np.sort(gains.to_numpy())
        few = best[-FEW:] if total[-1] > 0 else best[:FEW]
        side = "best" if total[-1] > 0 else "worst"
        text += f"; without its {FEW} {side} dates {total[-1] - few.sum():+.2f}"
    if stop > start:
        text += f"; longest without a new high: {labels[start]} to {labels[stop]}"
    return f"{text}."


def longest_wait(total: Floats) -> tuple[int, int]:
    """(first, last) of the longest stretch in which a sum stays below its high; it starts at 0."""
    high = np.maximum.accumulate(np.maximum(total, 0.0))
    under = np.concatenate(([0], (total < high).astype(np.int8), [0]))
    starts, stops = np.flatnonzero(np.diff(under) == 1), np.flatnonzero(np.diff(under) == -1)
    if not len(starts):
        return 0, 0
    longest = int((stops - starts).argmax())
    return int(starts[longest]), int(stops[longest] - 1)


def _numbers(gains: pd.Series, pair: str) -> Table:
    """The sum at the end of every year."""
    years = pd.DatetimeIndex(gains.index).year
    ends = pd.DataFrame({"gain": gains.to_numpy(), "year": years}).groupby("year")["gain"]
    sums = ends.sum()
    rows = zip(sums.index, ends.size(), sums, sums.cumsum(), strict=True)
    return Table(
        caption=f"{pair}: log score by year, summed over dates [nats]",
        columns=("year", "dates", "in the year", "so far"),
        rows=tuple((str(y), f"{n}", f"{s:+.3f}", f"{c:+.3f}") for y, n, s, c in rows),
    )
