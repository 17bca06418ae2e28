"""The origin's bar as the learner reads it: its five tokens, each in words.

A backtest keeps no tokeniser. The bins of its fields are quantiles of the bars that the fold learnt
from and of nothing else, so they are cut again here, the same ones.
"""

from dataclasses import dataclass, field

import numpy as np

from forecaster import backtest
from forecaster.bars import Bars
from forecaster.explorer.subject import Choice, Subject
from forecaster.features import GEOMETRY, WARM_UP, Features, features
from forecaster.folds import Fold
from forecaster.report.drawing import Table
from forecaster.tokens.edges import field_edges

Edges = tuple[tuple[float, ...], ...]
NOTHING = "not known"


@dataclass(frozen=True, eq=False)
class Reader:
    """Bars of a run as tokens; what is costly is computed once."""

    subject: Subject
    known: dict[str, Features] = field(default_factory=dict)
    edges: dict[int, Edges] = field(default_factory=dict)  # by fold
    folds: list[Fold] = field(default_factory=list)

    def features_of(self, bars: Bars) -> Features:
        """Causal: row t is of the bars up to it, whatever came later."""
        name = str(bars.symbol)
        if name not in self.known:
            self.known[name] = features(bars)
        return self.known[name]

    def edges_of(self, fold: int) -> Edges:
        """The bins of every field as the learners of a fold have them."""
        panel, config = self.subject.first.panel, self.subject.first.config
        if panel is None:
            return ()
        if not self.folds:
            self.folds.extend(backtest.plan(config, panel, (), "").folds)
        if fold not in self.edges:
            until = next(each for each in self.folds if each.index == fold).train_until
            parts = [
                self.features_of(bars).geometry[: len(bars.until(until))][WARM_UP:]
                for bars in panel
            ]
            columns = np.concatenate(parts).T
            self.edges[fold] = tuple(field_edges(x, config.learner.field_bins) for x in columns)
        return self.edges[fold]


def token_table(reader: Reader, choice: Choice) -> Table:
    """Each field of the bar at the origin: what it did, its token, and that token's bin."""
    caption = f"The bar of {reader.subject.day(choice.cutoff)} as tokens"
    columns = ("field", "the bar", "token", "its bin")
    subject, why = reader.subject, ""
    bars = subject.bars(choice.symbol)
    if bars is None:
        why = f"Not told: {subject.first.without_bars}."
    elif subject.first.config.learner.tokens == "levels":
        why = "Not told: tokens=levels codes a bar by its window, not by itself."
    if bars is None or why:
        return Table(caption=caption, columns=columns, rows=(), note=why)
    known = reader.features_of(bars)
    t = int(np.searchsorted(bars.opened_at, np.datetime64(choice.cutoff, "us")))
    values, scale = known.geometry[t], float(known.scale[t - 1])
    rows = tuple(
        (name, said(name, float(x), scale), *coded(float(x), edges))
        for name, x, edges in zip(
            GEOMETRY, values, reader.edges_of(fold_of(subject, choice)), strict=True
        )
    )
    return Table(
        caption=caption,
        columns=columns,
        rows=rows,
        wide=("the bar", "its bin"),
        note=f"Units of scale: one is {100 * scale:.2f} %, what was known of the size of a move"
        " before this bar. Bins hold equal shares of the bars that the fold has learnt from.",
    )


def fold_of(subject: Subject, choice: Choice) -> int:
    """Which fold's learners forecast from the origin."""
    mine = subject.rows("predictions", next(iter(subject.models)), choice.symbol)
    return int(mine["fold"].to_numpy()[int(mine["cutoff"].searchsorted(choice.cutoff))])


def said(name: str, value: float, scale: float) -> str:
    """A field of a bar in words; `value` in units of scale, or a log ratio for the activity."""
    if not np.isfinite(value):
        return NOTHING
    if name == "activity":
        return f"traded {np.exp(value):.2f} times its mean value of 66 bars"
    side = "above" if value >= 0 else "below"
    move = 100 * abs(np.expm1(-value * scale if name == "lower_wick" else value * scale))
    match name:
        case "close_return":
            words = f"closed {move:.2f} % {side} the close before"
        case "gap":
            words = f"opened {move:.2f} % {side} the close before"
        case "upper_wick":
            words = f"went {move:.2f} % above its body"
        case _:
            words = f"went {move:.2f} % below its body"
    return f"{words} ({value:+.2f} scales)"


def coded(value: float, edges: tuple[float, ...]) -> tuple[str, str]:
    """(the token of all there are, its bin): a value on an edge belongs to the bin above it."""
    if not np.isfinite(value):
        return "missing", ""
    token = int(np.searchsorted(edges, value, side="right"))
    low = f"{edges[token - 1]:+.2f}" if token else ""
    high = f"{edges[token]:+.2f}" if token < len(edges) else ""
    bounds = f"{low} to {high}" if low and high else f"below {high}" if high else f"{low} or more"
    return f"{token} of 0-{len(edges)}", bounds
