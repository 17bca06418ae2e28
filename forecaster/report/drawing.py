"""What a page is drawn from: tables with drawn cells, and charts as plotly takes them.

Text for plotly is escaped by whoever makes it, for plotly reads a few tags in text; text for the
page is escaped by the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecaster.bars import Floats

MOST_POINTS = 400  # of a line
COLOURS = (  # Paul Tol's "bright": told apart by colour-blind eyes
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#999999",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A drawn stretch of a cell, in per cent of its width; `kind` is its class."""

    left: float
    width: float
    kind: str


Cell = str | tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under a caption; the first cell heads its row, `strong` rows are a learner's."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    strong: frozenset[int] = frozenset()
    note: str = ""
    wide: tuple[str, ...] = ()  # columns whose cells are drawn or hold sentences


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart, in words as well: `alt` says what it shows, `numbers` repeats it."""

    name: str  # of the element
    title: str
    note: str
    alt: str
    traces: list[dict[str, Any]]
    x: dict[str, Any]
    y: dict[str, Any]
    numbers: Table | None = None
    height: int = 260  # pixels
    marks: list[dict[str, Any]] = field(default_factory=list)  # plotly's shapes
    legend: bool = False


def colour(i: int) -> str:
    """The colour of line i."""
    return COLOURS[i % len(COLOURS)]


def line(name: str, x: Sequence[Any], y: Floats, i: int, **more: Any) -> dict[str, Any]:
    """A trace; the name is escaped."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": list(x),
        "y": rounded(y),
        "line": {"color": colour(i), "width": 2} | more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis of a chart."""
    return {"title": {"text": title}} | more


def level(y: float, dash: str = "solid") -> dict[str, Any]:
    """A line across at y; the page gives it the colour of quiet text."""
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y} | {
        "line": {"width": 1, "dash": dash}
    }


def thinned(n: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Which of n points are drawn: first and last, and at equal steps at most `most` in all."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def rounded(values: Floats, digits: int = 6) -> list[float]:
    """Significant digits that a chart can show; fewer bytes."""
    return [float(f"{x:.{digits}g}") for x in np.asarray(values, dtype=np.float64)]


def days(index: pd.Index) -> list[str]:
    """Labels of moments: days, with a time where one of them is not midnight."""
    moments = pd.DatetimeIndex(index)
    midnight = bool((moments == moments.normalize()).all())
    return list(moments.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M"))


def gauge(value: float, largest: float, *, signed: bool) -> tuple[Bar, ...]:
    """A bar as long as its value: from the left, or from the middle where signs differ."""
    share = min(abs(value) / largest, 1.0) if largest else 0.0
    kind = "loss" if value < 0 else "gain"
    if not signed:
        return (Bar(left=0, width=round(100 * share, 1), kind=kind),)
    half = round(50 * share, 1)
    return (Bar(left=50 - half if value < 0 else 50, width=half, kind=kind),)
