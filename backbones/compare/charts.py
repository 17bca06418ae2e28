"""The charts of a study, as plotly takes them: traces that name their arm, and titles of axes.

Names are escaped here, for plotly reads a few tags in text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import Any

from .curves import Curve
from .running import Results
from .summary import ArmRuns, ArmSummary

POINTS = 200  # of a line at most: losses are averaged over so many blocks of steps
COLOURS = (  # Paul Tol's "bright" and two of his "vibrant": told apart by colour-blind eyes
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#999999",
    "#ee7733",
    "#009988",
)
DASHES = ("solid", "dash", "dot")  # by turns of the colours
BAND = "33"  # opacity of a band, as the last two digits of a colour


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart; `note` is the sentence below it."""

    name: str  # of the element
    title: str
    note: str
    traces: list[dict[str, Any]]
    x: dict[str, Any]
    y: dict[str, Any]


def charts_of(
    results: Results, arms: Sequence[ArmRuns], found: Sequence[ArmSummary]
) -> list[Chart]:
    """Differences where there are some, curves, scores against time, and rates where tried."""
    charts = [differences(found)] if len(found) > 1 and found[0].nats.n > 1 else []
    charts += [losses(arms), against_seconds(arms)]
    return [*charts, rates(results)] if results.trials else charts


def differences(found: Sequence[ArmSummary]) -> Chart:
    """A dot and an interval an arm, the reference at zero."""
    traces = []
    for i, arm in enumerate(found):
        if arm.difference is not None:
            error = {"type": "data", "array": [arm.difference.half], "thickness": 2}
            marks = {"mode": "markers", "marker": {"size": 10, "color": colour(i)}}
            point = {"x": [arm.difference.mean], "y": [escape(arm.name)], "error_x": error}
            traces.append(trace(arm.name) | marks | point)
    return Chart(
        name="differences",
        title=f"Difference to {found[0].name}",
        note="Paired by seed, 95 % intervals; left of zero is better.",
        traces=traces,
        x={"title": {"text": "nats a character"}, "rangemode": "tozero", "zerolinewidth": 2},
        y={"autorange": "reversed", "automargin": True, "type": "category"},
    )


def losses(arms: Sequence[ArmRuns]) -> Chart:
    """Training losses, averaged over seeds within the seeds' band, and scores of every run."""
    traces = []
    for i, each in enumerate(arms):
        steps = blocks(each.curves[0].steps)
        seeds = [blocks(curve.losses) for curve in each.curves]
        at_once = list(zip(*seeds, strict=True))
        none = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        if len(seeds) > 1:
            filled = {"fill": "tonexty", "fillcolor": colour(i) + BAND}
            same = trace(each.arm.name) | none | {"x": steps}
            traces.append(same | {"y": [min(values) for values in at_once]})
            traces.append(same | {"y": [max(values) for values in at_once]} | filled)
        mean = {"x": steps, "y": [fmean(values) for values in at_once]}
        traces.append(trace(each.arm.name) | mean | {"mode": "lines", "line": line(i)})
        for curve in each.curves:
            traces.append(trace(each.arm.name) | marked(i) | {"x": curve.scored, "y": curve.scores})
    return Chart(
        name="losses",
        title="Loss and scores on the way",
        note="Lines: training loss [nats a token], mean over seeds, in blocks of steps; bands: "
        "lowest to highest seed; points: score of each seed [nats a character].",
        traces=traces,
        x={"title": {"text": "steps"}},
        y={"title": {"text": "nats"}},
    )


def against_seconds(arms: Sequence[ArmRuns]) -> Chart:
    """Mean scores against mean seconds of training."""
    traces = []
    for i, each in enumerate(arms):
        spent = [seconds_at_scores(curve) for curve in each.curves]
        x = [fmean(values) for values in zip(*spent, strict=True)]
        y = [fmean(values) for values in zip(*(c.scores for c in each.curves), strict=True)]
        drawn = {"mode": "lines+markers", "line": line(i), "marker": {"color": colour(i)}}
        traces.append(trace(each.arm.name) | drawn | {"x": x, "y": y})
    return Chart(
        name="seconds",
        title="Scores against time",
        note="Means over seeds; seconds of training steps on this machine, whatever else it did.",
        traces=traces,
        x={"title": {"text": "seconds"}, "rangemode": "tozero"},
        y={"title": {"text": "nats a character"}},
    )


def rates(results: Results) -> Chart:
    """Scores of the short trials by factor, the chosen one in a ring."""
    traces, chosen = [], {run.task.arm: run.task.factor for run in results.runs}
    for i, arm in enumerate(results.arms):
        tried = [t for t in results.trials if t.task.arm == arm.name and t.nats is not None]
        rings = [16 if t.task.factor == chosen[arm.name] else 7 for t in tried]
        points = {"x": [t.task.factor for t in tried], "y": [t.nats for t in tried]}
        marker = {"size": rings, "symbol": "circle-open", "color": colour(i)}
        drawn = {"mode": "lines+markers", "line": line(i), "marker": marker}
        traces.append(trace(arm.name) | drawn | points)
    diverged = sum(trial.nats is None for trial in results.trials)
    return Chart(
        name="rates",
        title="Trials of learning rates",
        note="Short trials, on the last tenth of the training part; the large ring is the rate "
        "chosen, by the finals where there were some. "
        + (f"{diverged} trials diverged and are not shown." if diverged else ""),
        traces=traces,
        x={"title": {"text": "of the recipe's rate"}, "type": "log"}
        | {
            "tickvals": list(results.study.rates),
            "ticktext": [f"{r:g}" for r in results.study.rates],
        },
        y={"title": {"text": "nats a character"}},
    )


def trace(arm: str) -> dict[str, Any]:
    """What all traces of an arm share; `meta` is what its switch looks for."""
    return {"type": "scatter", "name": escape(arm), "meta": arm}


def marked(i: int) -> dict[str, Any]:
    """Points of arm i."""
    return {"mode": "markers", "marker": {"size": 7, "symbol": "diamond", "color": colour(i)}}


def line(i: int) -> dict[str, Any]:
    """The line of arm i."""
    return {"color": colour(i), "width": 2, "dash": DASHES[i // len(COLOURS) % len(DASHES)]}


def colour(i: int) -> str:
    """The colour of arm i."""
    return COLOURS[i % len(COLOURS)]


def blocks(values: Sequence[float]) -> list[float]:
    """Means over at most POINTS stretches of equal length, the last one perhaps shorter."""
    size = -(-len(values) // POINTS)
    return [fmean(values[i : i + size]) for i in range(0, len(values), size)]


def seconds_at_scores(curve: Curve) -> list[float]:
    """Seconds in steps at each score."""
    spent = dict(zip(curve.steps, curve.seconds, strict=True))
    return [spent[step] for step in curve.scored]
