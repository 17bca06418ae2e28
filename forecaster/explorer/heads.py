"""Attention maps of a trained learner at an origin. A backtest keeps no networks; a training does.

T bars of the window, H heads.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from forecaster import training
from forecaster.bars import Floats, Panel
from forecaster.errors import DataError, UsageError
from forecaster.explorer.subject import Choice
from forecaster.learner import FittedLearner, WindowMaps, require_maps, tokenise, window_maps
from forecaster.report.drawing import Chart, Table, axis, colour, days, rounded
from forecaster.runs import RunFolder

WORDS = {  # what `backbones.maps` calls its maps
    "first": "first map",
    "second": "second map",
    "difference": "difference",
    "integral": "integral",
    "sum": "difference and integral",
}
MOST_READ = 5  # bars that a table names
HEIGHT, ROW_HEIGHT = 480, 300  # pixels
STRONGEST = 0.995  # quantile of the weights that has the full colour: few bars hold nearly all
CLEAR = "rgba(128,128,128,0)"
WEIGHTS = [[0, CLEAR], [1, "#4477aa"]]
SIGNED = [[0, "#ee6677"], [0.5, CLEAR], [1, "#4477aa"]]
KEPT_MAPS = 64  # origins and networks


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Which map is drawn."""

    network: int
    layer: int
    head: int
    name: str  # of WORDS


class Network:
    """A trained learner, and the bars that it is asked about."""

    def __init__(self, run: RunFolder, panel: Panel) -> None:
        """Raises UsageError or CheckpointError for a run without maps."""
        self.run, self.panel = run, panel
        self.fitted: FittedLearner = training.load(run)
        require_maps(self.fitted)
        self.preset = run.config().presets[0]
        self.until = pd.Timestamp(self.fitted.tokenizer.fitted_until)
        self._members = tokenise(panel, self.fitted.tokenizer)
        self.layers = lru_cache(maxsize=KEPT_MAPS)(self._layers)

    def _layers(self, member: int, bar: int, network: int) -> list[WindowMaps]:
        return window_maps(self.fitted, self._members, (member, bar), network)

    @property
    def sample(self) -> list[WindowMaps]:
        """Layers of some origin: how many layers, heads and which maps there are."""
        bars = max(range(len(self.panel)), key=lambda m: len(self.panel.members[m]))
        return self.layers(bars, len(self.panel.members[bars]) - 1, 0)

    def at(self, choice: Choice, network: int) -> tuple[list[WindowMaps], list[str]]:
        """(layers, labels of the window's bars). Raises DataError or UsageError without any."""
        names = [str(bars.symbol) for bars in self.panel]
        if choice.symbol not in names:
            raise UsageError(f"{choice.symbol} is not among the bars")
        member = names.index(choice.symbol)
        moments = self.panel.members[member].opened_at
        bar = int(np.searchsorted(moments, np.datetime64(choice.cutoff, "us")))
        layers = self.layers(member, bar, network)
        first = bar + 1 - self.fitted.config.context
        return layers, days(pd.DatetimeIndex(moments[first : bar + 1]))


def open_network(run: RunFolder, panel: Panel | None, without_bars: str) -> Network:
    """The learner of a finished training. Raises UsageError where there is nothing to ask of it."""
    run.require_done()
    if panel is None:
        raise UsageError(f"{without_bars}: without them {run.path} cannot be asked of any window")
    return Network(run, panel)


def attention_chart(network: Network, choice: Choice, head: Head) -> Chart:
    """One map as a picture: rows are bars that look, columns bars that are looked at."""
    title = f"{network.preset}: {WORDS[head.name]}, layer {head.layer + 1}, head {head.head + 1}"
    try:
        layers, labels = network.at(choice, head.network)
    except (DataError, UsageError) as error:
        return _empty(title, f"No map: {error}.")
    layer = layers[head.layer]
    map_ = layer.maps[head.name][head.head]
    told = _told(network, choice, layer, head, labels)
    past = np.tril(np.ones_like(map_, dtype=bool))
    most = float(np.quantile(np.abs(map_[past]), STRONGEST)) or 1.0
    signed = bool(map_.min() < 0)
    drawn = [
        [each if j <= i else None for j, each in enumerate(rounded(row, 4))]
        for i, row in enumerate(map_)
    ]
    picture = {
        "type": "heatmap",
        "x": labels,
        "y": labels,
        "zmin": -most * signed,
        "zmax": most,
    } | {
        "z": drawn,
        "colorscale": SIGNED if signed else WEIGHTS,
        "colorbar": {"thickness": 10, "outlinewidth": 0},
        "hovertemplate": "%{y} reads %{x}: %{z}<extra></extra>",
    }
    category = {"type": "category", "nticks": 6}
    return Chart(
        name="attention",
        title=title,
        note=told,
        alt=f"Picture of a map over {len(labels)} bars. {told}",
        traces=[picture],
        x=axis("bar that is read", **category),
        y=axis("bar that reads", autorange="reversed", **category),
        height=HEIGHT,
        numbers=read_table(map_[-1], labels),
    )


def row_chart(network: Network, choice: Choice, head: Head) -> Chart:
    """What the origin's bar reads, all maps of the head that its layer reads through."""
    title = f"What the bar of the origin reads: {WORDS[head.name]}"
    try:
        layers, labels = network.at(choice, head.network)
    except (DataError, UsageError) as error:
        return _empty(title, f"No map: {error}.")
    row = layers[head.layer].maps[head.name][head.head][-1]
    bars = {"type": "bar", "x": labels, "y": rounded(row, 4), "marker": {"color": colour(0)}}
    return Chart(
        name="attended",
        title=title,
        note=f"The last row of the map; it sums to {row.sum():.3f}.",
        alt=f"Bars: weights of {len(labels)} bars in the last row of the map.",
        traces=[bars],
        x=axis("", type="category", nticks=6),
        y=axis("weight"),
        height=ROW_HEIGHT,
    )


def read_table(row: Floats, labels: list[str]) -> Table:
    """The bars that the origin's bar reads most."""
    order = np.argsort(-np.abs(row), kind="stable")[:MOST_READ]
    return Table(
        caption="Read most by the bar of the origin",
        columns=("bar", "bars before", "weight"),
        rows=tuple((labels[i], str(len(labels) - 1 - i), f"{row[i]:+.4f}") for i in order),
    )


def _told(
    network: Network, choice: Choice, layer: WindowMaps, head: Head, labels: list[str]
) -> str:
    heads = "read through" if head.name == layer.read else "do not read through alone"
    said = f"{len(labels)} bars up to {labels[-1]}; a map that heads {heads}. Its strongest half"
    said += " per cent has the full colour."
    if layer.lam is not None:
        said += f" lam {layer.lam[head.head, -1]:.3f} at the last bar."
    if choice.cutoff < network.until:
        said += f" This network has learnt from bars until {network.until:%Y-%m-%d}: it has seen"
        said += " what came after this origin."
    return said


def _empty(title: str, why: str) -> Chart:
    return Chart(
        name="attention", title=title, note=why, alt=why, traces=[], x=axis(""), y=axis("")
    )
