"""Charts of one origin: the fan over candles, densities at a horizon, scores around the day."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.explorer.interpolated import density
from forecaster.explorer.subject import Choice, Subject
from forecaster.frames import QUANTILES
from forecaster.report.drawing import Chart, Table, axis, days, level, line
from forecaster.report.fans import (
    PAST,
    bands,
    candles,
    multiples,
    outline,
    time_axis,
    upright,
)

AROUND = 30  # origins on either side
FAN_HEIGHT, HEIGHT = 420, 340  # pixels
LEVELS = [str(level) for level in QUANTILES]


@dataclass(frozen=True, eq=False)
class Stage:
    """Where a fan stands: a label a bar, the candles that may be seen, the unit of its prices."""

    labels: dict[pd.Timestamp, str]
    seen: list[dict[str, Any]]  # traces
    close: float | None  # at the origin; None without bars


def stage(subject: Subject, choice: Choice, ahead: pd.DatetimeIndex) -> Stage:
    """Bars before the origin, and as far as the targets `ahead` of it."""
    bars = subject.bars(choice.symbol)
    if bars is None:
        moments = ahead.union(pd.DatetimeIndex([choice.cutoff]))
        return Stage(dict(zip(moments, days(moments), strict=True)), [], None)
    at = int(np.searchsorted(bars.opened_at, np.datetime64(choice.cutoff, "us")))
    first, last = max(at - PAST, 0), min(at + max(subject.horizons), len(bars) - 1)
    moments = pd.DatetimeIndex(bars.opened_at[first : last + 1]).union(ahead)
    labels = days(moments)
    shown = last if choice.revealed else at
    seen = candles(bars, first, shown, at - first, labels[: shown - first + 1])
    return Stage(dict(zip(moments, labels, strict=True)), list(seen), float(bars.close[at]))


def fan_chart(subject: Subject, choice: Choice) -> Chart:
    """Candles up to the origin, bands of the first model and edges of the others from there."""
    own = subject.forecasts(choice)
    ahead = pd.DatetimeIndex(sorted({moment for _, _, rows in own for moment in rows["ds"]}))
    scene, traces = stage(subject, choice, ahead), []
    for i, name, rows in own:
        x = [scene.labels[moment] for moment in (choice.cutoff, *rows["ds"])]
        edges = multiples(rows, len(rows)) * (scene.close or 1.0)
        if i == own[0][0]:
            traces += [*bands(x, edges), line(f"{name}, median", x, edges["0.5"].to_numpy(), i)]
        else:
            traces += outline(name, x, edges, i)
    traces += scene.seen
    if scene.close is None and choice.revealed and own:
        came = own[0][2].dropna(subset=["y"])
        x = [scene.labels[moment] for moment in came["ds"]]
        traces.append(line("what came", x, np.exp(came["y"].to_numpy(dtype=np.float64)), 6))
    day = subject.day(choice.cutoff)
    return Chart(
        name="fan",
        title=f"{choice.symbol} from {day} on",
        note=_fan_note(subject, choice, scene.close),
        alt=f"Candles of {choice.symbol} before {day} and forecasts from then on by"
        f" {', '.join(choice.models)}.",
        traces=traces,
        x=time_axis(list(scene.labels.values())),
        y=axis("multiple of the close" if scene.close is None else "adjusted price"),
        marks=[upright(scene.labels[choice.cutoff])],
        height=FAN_HEIGHT,
        legend=True,
        numbers=quantile_table(subject, choice),
    )


def _fan_note(subject: Subject, choice: Choice, close: float | None) -> str:
    said = f"No candles: {subject.first.without_bars}." if close is None else f"Close {close:,.2f}."
    said += (
        " Filled: bands of 98, 90 and 60 % of the first model; dashed: edges of the others' 90 %;"
    )
    said += " between horizons they are drawn straight."
    return said + ("" if choice.revealed else " What came is hidden.")


def quantile_table(subject: Subject, choice: Choice) -> Table:
    """Quantiles of the log return of every chosen model and horizon, and the outcome."""
    levels = ("0.05", "0.2", "0.5", "0.8", "0.95")
    rows = []
    for _, name, own in subject.forecasts(choice):
        values = own[["h", *levels, "y"]].to_numpy(dtype=np.float64)
        for h, *quantiles, y in values:
            came = f"{100 * y:+.2f}" if choice.revealed and np.isfinite(y) else ""
            rows.append((name, f"{h:.0f}", *(f"{100 * q:+.2f}" for q in quantiles), came))
    return Table(
        caption="Quantiles of the log return [%]",
        columns=("model", "h", *(f"{100 * float(a):g} %" for a in levels), "came"),
        rows=tuple(rows),
    )


def density_chart(subject: Subject, choice: Choice) -> Chart:
    """Each chosen model's density of the log return at the chosen horizon."""
    traces, left_out, came = [], [], None
    for i, name, own in subject.forecasts(choice):
        row = own[own["h"] == choice.h]
        if len(row) and pd.notna(row["y"].iloc[0]):
            came = 100 * float(row["y"].iloc[0])
        drawn = density(100 * row[LEVELS].to_numpy(dtype=np.float64)[0]) if len(row) else None
        if drawn is None:
            left_out.append(name)
        else:
            traces.append(line(name, list(np.round(drawn[0], 4)), drawn[1], i))
    told = "Through the 13 stored quantiles, from 1 to 99 %; the mass between two of them is exact."
    if left_out:
        told += f" Not drawn, for want of distinct quantiles: {', '.join(left_out)}."
    marks = [upright(0.0)]
    if choice.revealed and came is not None:
        marks.append(upright(came, "solid"))
        told += f" Solid line: what came, {came:+.2f} %."
    return Chart(
        name="density",
        title=f"Density {choice.h} bar{'s' if choice.h > 1 else ''} ahead",
        note=told,
        alt=f"Densities of the log return at h = {choice.h} by {', '.join(choice.models)}. {told}",
        traces=traces,
        x=axis("log return [%]"),
        y=axis("density [1/%]", rangemode="tozero"),
        marks=marks,
        legend=True,
        height=HEIGHT,
    )


def scores_chart(subject: Subject, choice: Choice) -> Chart:
    """Log scores of the origins around; where outcomes are hidden, of those known by the origin."""
    place = subject.nearest(choice.symbol, choice.cutoff)
    near = subject.cutoffs(choice.symbol)[max(place - AROUND, 0) : place + AROUND + 1]
    traces = []
    for i, name in enumerate(choice.models):
        rows = subject.rows("scores", name, choice.symbol)
        at = (rows["h"] == choice.h).to_numpy() & rows["cutoff"].isin(near).to_numpy()
        if not choice.revealed:
            at &= (rows["ds"] <= choice.cutoff).to_numpy()
        rows = rows.loc[at, ["cutoff", "log_score"]]
        drawn = line(name, days(pd.Index(rows["cutoff"])), rows["log_score"].to_numpy(), i)
        traces.append(drawn | {"mode": "lines+markers", "marker": {"size": 4}})
    labels = days(near)
    told = "Higher is better; one point an origin."
    if not choice.revealed:
        told += " Outcomes after the origin are hidden, and so are their scores."
    return Chart(
        name="scores",
        title=f"Log scores around, h = {choice.h}",
        note=told,
        alt=f"Lines: log scores of {', '.join(choice.models)} around the origin. {told}",
        traces=traces,
        x=time_axis(labels),
        y=axis("log score [nats]"),
        marks=[level(0), upright(subject.day(choice.cutoff))],
        legend=True,
        height=HEIGHT,
        numbers=score_table(subject, choice) if choice.revealed else None,
    )


def score_table(subject: Subject, choice: Choice) -> Table:
    """What this origin's outcome meant for each chosen model."""
    rows = []
    for name in choice.models:
        own = subject.rows("scores", name, choice.symbol)
        at = (own["cutoff"] == choice.cutoff).to_numpy() & (own["h"] == choice.h).to_numpy()
        columns = ["log_score", "crps", "pit", "p_up", "y"]
        for score, crps, pit, rise, y in own[columns].to_numpy()[at]:
            numbers = (f"{score:+.3f}", f"{1e4 * crps:.1f}", f"{pit:.3f}", f"{100 * rise:.1f}")
            rows.append((name, *numbers, f"{100 * y:+.2f}"))
    return Table(
        caption="Scores of this origin",
        columns=("model", "log score [nats]", "CRPS [bp]", "PIT", "rise [%]", "came [%]"),
        rows=tuple(rows),
    )
