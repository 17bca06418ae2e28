"""Sampled candle paths beside what came: closes of all of them, and the first one whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.bars import Bars, Floats
from forecaster.report.drawing import Chart, Table, axis, colour, days, line, rounded
from forecaster.report.fans import PAST, candles, time_axis, upright
from forecaster.report.material import Material

MOST_LEARNERS = 2  # whose paths are drawn, the first ones
RULE = (
    "Nobody picked these: the first origin of the last fold of each symbol that has one there, the"
    " first six by name; all paths that the run drew there, by its own seed; the first two"
    " learners. The first bar of a path is drawn from the forecast, the later ones follow one"
    " network, in turn of the first four, as forecaster predict --paths has it. No score rests on"
    " paths."
)


@dataclass(frozen=True, eq=False)
class Scene:
    """The paths of one learner from one origin, and the bars around it."""

    model: str
    bars: Bars
    at: int  # bar of the origin
    paths: dict[int, pd.DataFrame]  # SAMPLES rows by number of the path, the nearest first

    @property
    def steps(self) -> int:
        """Bars of a path."""
        return len(next(iter(self.paths.values())))

    @property
    def first(self) -> int:
        """The first bar that is drawn."""
        return max(self.at - PAST, 0)

    @property
    def last(self) -> int:
        """The last bar that came, of those that paths reach."""
        return min(self.at + self.steps, len(self.bars) - 1)

    @property
    def labels(self) -> list[str]:
        """Of the bars drawn, those ahead as the paths have them."""
        ahead = pd.DatetimeIndex(next(iter(self.paths.values()))["ds"])
        return days(pd.DatetimeIndex(self.bars.opened_at[self.first : self.at + 1]).append(ahead))


def path_charts(found: Material) -> list[Chart]:
    """Two a learner and symbol; none without bars."""
    if found.panel is None:
        return []
    members = {str(bars.symbol): bars for bars in found.panel}
    charts = []
    drew = [model for model in found.learners if model in set(found.paths["model"])]
    for i, model in enumerate(drew[:MOST_LEARNERS]):
        rows = found.paths[found.paths["model"] == model]
        for j, (symbol, own) in enumerate(rows.groupby("unique_id")):
            bars = members[str(symbol)]
            at = int(np.searchsorted(bars.opened_at, np.datetime64(own["cutoff"].iloc[0], "us")))
            numbered = {int(str(p)): each.sort_values("h") for p, each in own.groupby("path")}
            scene = Scene(model, bars, at, numbered)
            charts += [_closes(scene, f"paths-{i}-{j}"), _first_whole(scene, f"candles-{i}-{j}")]
    return charts


def without_paths(found: Material) -> list[str]:
    """Which learners have none, and why."""
    told = {each["model"]: each["without_paths"] for each in found.cells if "without_paths" in each}
    drawn = set(found.paths["model"])
    return [
        f"{model}: {told.get(model) or 'this run kept none'}"
        for model in found.learners
        if model not in drawn
    ]


def _closes(scene: Scene, name: str) -> Chart:
    """Candles of what was known and of what came, with the closes of every path."""
    labels, now, close = scene.labels, scene.at - scene.first, scene.bars.close[scene.at]
    traces: list[dict[str, Any]] = []
    for i, rows in scene.paths.items():
        y = np.concatenate(([close], rows["close"].to_numpy()))
        traces.append(
            line(f"{len(scene.paths)} paths, closes", labels[now:], y, 0, width=1.5)
            | {"opacity": 0.75, "showlegend": i == 0, "legendgroup": "paths"}
        )
    traces += candles(scene.bars, scene.first, scene.last, now, labels)  # over the paths
    told, day = in_words(scene), labels[now]
    return Chart(
        name=name,
        title=f"{scene.bars.symbol}, {day}: {len(scene.paths)} paths of {scene.model}",
        note=told,
        alt=f"Candles of {scene.bars.symbol} around {day} and closes of {len(scene.paths)} sampled"
        f" paths from then on. {told}",
        traces=traces,
        x=time_axis(labels),
        y=axis("adjusted price"),
        marks=[upright(day)],
        legend=True,
        height=340,
        numbers=_numbers(scene),
    )


def _first_whole(scene: Scene, name: str) -> Chart:
    """The same candles up to the origin, then those of path 0."""
    labels, now = scene.labels, scene.at - scene.first
    traces = [*candles(scene.bars, scene.first, scene.at, now, labels)]
    traces.append(_whole(scene.paths[0], labels[now + 1 :]))
    day = labels[now]
    told = "Path 0, the first by number, with its opens, highs and lows: what came is not in here."
    return Chart(
        name=name,
        title=f"{scene.bars.symbol}, {day}: path 0 as candles",
        note=told,
        alt=f"Candles of {scene.bars.symbol} up to {day}, and from there those of one sampled path"
        f" of {scene.model}. {told}",
        traces=traces,
        x=time_axis(labels),
        y=axis("adjusted price"),
        marks=[upright(day)],
        height=340,
    )


def _whole(rows: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """A path as candles; as a line where the symbol has closes only."""
    about = {"x": labels, "name": "", "showlegend": False}
    if rows[["open", "high", "low"]].isna().to_numpy().any():
        drawn = {"type": "scatter", "mode": "lines", "y": rounded(rows["close"].to_numpy())}
        return about | drawn | {"line": {"color": colour(0), "width": 2}}
    prices = {n: rounded(rows[n].to_numpy()) for n in ("open", "high", "low", "close")}
    return (
        about
        | {"type": "candlestick", "increasing": {"line": {"color": colour(0), "width": 1}}}
        | {"decreasing": {"line": {"color": colour(1), "width": 1}}}
        | prices
    )


def in_words(scene: Scene) -> str:
    """Where paths end, and where the market did."""
    ends = np.array([rows["close"].iloc[-1] for rows in scene.paths.values()])
    close = scene.bars.close[scene.at]
    moves = 100 * (ends / close - 1)
    text = (
        f"Close {close:,.2f}; after {scene.steps} bars the paths are {moves.min():+.1f} % to"
        f" {moves.max():+.1f} % away"
    )
    came = scene.last - scene.at
    if came == 0:
        return f"{text}; nothing has come yet."
    move = 100 * (scene.bars.close[scene.last] / close - 1)
    return f"{text}; after {came} bars the market was {move:+.1f} %."


def _numbers(scene: Scene) -> Table:
    """Every path and what came: closes on the way, highest and lowest price."""
    at = sorted({1, -(-scene.steps // 4), -(-scene.steps // 2), scene.steps})

    def row(name: str, close: Floats, high: Floats, low: Floats) -> tuple[str, ...]:
        closes = (f"{close[h - 1]:,.2f}" if h <= len(close) else "" for h in at)
        top, bottom = np.fmax(high, close).max(), np.fmin(low, close).min()
        return (name, *closes, f"{top:,.2f}", f"{bottom:,.2f}")

    rows = [
        row(f"path {i}", *(each[n].to_numpy(dtype=np.float64) for n in ("close", "high", "low")))
        for i, each in scene.paths.items()
    ]
    ahead = slice(scene.at + 1, scene.last + 1)
    if scene.last > scene.at:
        bars = scene.bars
        rows.append(row("what came", bars.close[ahead], bars.high[ahead], bars.low[ahead]))
    return Table(
        caption=f"{scene.model}, paths of {scene.bars.symbol} from {scene.bars.label(scene.at)}",
        columns=("path", *(f"close, bar {h}" for h in at), "highest", "lowest"),
        rows=tuple(rows),
    )
