"""The scaling of backtests as one page that needs nothing else: drawn lines and the same numbers.

Both axes are logarithmic, so that what is linear has slope one; a grey line shows that slope.
"""

import math
from collections.abc import Sequence
from html import escape

from forecaster.bench.results import machine, point_cells
from forecaster.bench.whole import Point

WIDTH, HEIGHT, MARGIN = 300.0, 220.0, 44.0
HEADS = ("axis", "symbols", "folds", "context", "CPU s", "wall s", "MiB", "largest stage")
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
figure{display:inline-block;margin:0 1rem 1rem 0}figcaption{font-weight:600}
table{border-collapse:collapse}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ccc}
svg{background:#fafafa}.line{stroke:#4477aa;stroke-width:2;fill:none}.one{stroke:#bbb;fill:none}
.dot{fill:#4477aa}text{font-size:11px;fill:#333}"""


def page_of(points: Sequence[Point]) -> str:
    """HTML, whole."""
    axes = tuple(dict.fromkeys(point.axis for point in points))
    figures = "".join(
        _figure([point for point in points if point.axis == axis], axis, what)
        for what in ("cpu_seconds", "peak_mb")
        for axis in axes
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in point_cells(point)) + "</tr>"
        for point in points
    )
    where = ", ".join(machine().values())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Scaling of backtests</title>'
        f"<style>{STYLE}</style><h1>Time and memory of whole backtests</h1>"
        "<p>Each point is one backtest of made-up bars in a process of its own: every baseline and"
        " one network, report not counted. CPU-seconds are those of an idle machine's wall; memory"
        " is the most that the process held, interpreter and packages included. Grey: what twice"
        f" as much costs where cost is linear. {escape(where)}.</p>{figures}"
        f"<table><tr>{head}</tr>{rows}</table></html>\n"
    )


def _figure(points: Sequence[Point], axis: str, what: str) -> str:
    """One line; the numbers stand beside the dots."""
    x = [float(getattr(point, axis)) for point in points]
    y = [max(float(getattr(point, what)), 1e-3) for point in points]
    across, up = _Scale(x, WIDTH), _Scale([*y, y[0] * x[-1] / x[0]], HEIGHT)
    places = [(across(a), HEIGHT - up(b)) for a, b in zip(x, y, strict=True)]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    last = HEIGHT - up(y[0] * x[-1] / x[0])
    marks = "".join(
        f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="4"/>'
        f'<text x="{a:.1f}" y="{b - 8:.1f}" text-anchor="middle">{value:,.4g}</text>'
        f'<text x="{a:.1f}" y="{HEIGHT - 8:.1f}" text-anchor="middle">{at:g}</text>'
        for (a, b), at, value in zip(places, x, y, strict=True)
    )
    unit = "CPU-seconds" if what == "cpu_seconds" else "MiB"
    title = f"{unit} by {axis}"
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg role="img" aria-label="{escape(title)}" width="{WIDTH:.0f}" height="{HEIGHT:.0f}">'
        f'<line class="one" x1="{places[0][0]:.1f}" y1="{places[0][1]:.1f}"'
        f' x2="{places[-1][0]:.1f}" y2="{last:.1f}"/>'
        f'<polyline class="line" points="{line}"/>{marks}</svg></figure>'
    )


class _Scale:
    """Logarithms of values between the margins of a length."""

    def __init__(self, values: Sequence[float], length: float) -> None:
        self._low, high = math.log(min(values)), math.log(max(values))
        self._span, self._length = max(high - self._low, 1e-9), length

    def __call__(self, value: float) -> float:
        share = (math.log(value) - self._low) / self._span
        return MARGIN + share * (self._length - 2 * MARGIN)
