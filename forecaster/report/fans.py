"""Fan charts over candles: bands of one model, edges of another, and what came."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from forecaster.bars import Bars, Floats
from forecaster.report.drawing import Chart, Table, axis, colour, days, line, rounded
from forecaster.report.material import Material
from forecaster.report.origins import Chosen, chosen, pair_of

PAST = 40  # bars before the origin
BANDS = (("0.01", "0.99", 0.14), ("0.05", "0.95", 0.22), ("0.2", "0.8", 0.34))  # and opacities


def fan_charts(found: Material) -> list[Chart]:
    """One a chosen origin; none without bars or without two models."""
    pair = pair_of(found)
    if found.panel is None or pair is None:
        return []
    members = {str(bars.symbol): bars for bars in found.panel}
    return [
        _fan(found, each, members[each.symbol], f"fan-{i}")
        for i, each in enumerate(chosen(found, *pair))
    ]


def _fan(found: Material, origin: Chosen, bars: Bars, name: str) -> Chart:
    at = int(np.searchsorted(bars.opened_at, np.datetime64(origin.cutoff, "us")))
    first, last = max(at - PAST, 0), min(at + max(found.horizons), len(bars) - 1)
    labels = days(pd.DatetimeIndex(bars.opened_at[first : last + 1]))
    ended = [h for h in found.horizons if at + h <= last]
    where = [at - first, *(at + h - first for h in ended)]
    x = [labels[i] for i in where]
    own, other = (
        multiples(_rows(found, origin, model), len(x) - 1) * bars.close[at]
        for model in (origin.model, origin.rival)
    )
    traces = [*bands(x, own), *candles(bars, first, last, at - first, labels)]
    traces.append(line(f"{origin.model}, median", x, own["0.5"].to_numpy(), 0))
    traces += outline(origin.rival, x, other, 1)
    told = _told(origin, labels[at - first], bars.close[at], ended)
    return Chart(
        name=name,
        title=f"{origin.symbol}, {labels[at - first]}: {origin.why}",
        note=told,
        alt=f"Candles of {origin.symbol} around {labels[at - first]}, with the bands of"
        f" {origin.model} from then on. {told}",
        traces=traces,
        x=time_axis(labels),
        y=axis("adjusted price"),
        marks=[upright(labels[at - first])],
        legend=True,
        height=380,
        numbers=_numbers(origin, (own, other), bars, [first + i for i in where]),
    )


def _rows(found: Material, origin: Chosen, model: str) -> pd.DataFrame:
    """The stored forecasts of a model from an origin, the nearest first."""
    table = found.predictions
    return table[
        (table["model"] == model)
        & (table["unique_id"] == origin.symbol)
        & (table["cutoff"] == origin.cutoff)
    ].sort_values("h")


def multiples(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    """[1 + n] quantiles as multiples of the origin's close: 1 there, then at each horizon."""
    names = [*(name for low, high, _ in BANDS for name in (low, high)), "0.5"]
    later = np.exp(rows[names].to_numpy(dtype=np.float64)[:n])
    return pd.DataFrame(np.vstack([np.ones(len(names)), later]), columns=names)


def bands(x: list[str], own: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The widest first, each as a closed line."""
    for low, high, opacity in BANDS:
        around = np.concatenate([own[high].to_numpy(), own[low].to_numpy()[::-1]])
        red, green, blue = (int(colour(0)[i : i + 2], 16) for i in (1, 3, 5))
        yield {"type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip"} | {
            "name": f"{100 * (float(high) - float(low)):.0f} %",
            "x": [*x, *x[::-1]],
            "y": rounded(around),
            "line": {"width": 0},
            "fillcolor": f"rgba({red},{green},{blue},{opacity})",
        }


def outline(model: str, x: list[str], edges: pd.DataFrame, i: int) -> list[dict[str, Any]]:
    """The edges of a model's central 90 %, dashed, in the colour of line i."""
    return [
        line(f"{model}, 90 %", x, edges[side].to_numpy(), i, dash="dash")
        | {"showlegend": side == "0.05"}
        for side in ("0.05", "0.95")
    ]


def time_axis(labels: list[str]) -> dict[str, Any]:
    """One place a bar, whatever lies between them."""
    return axis("", type="category", categoryorder="array", categoryarray=labels) | {
        "nticks": 8,
        "rangeslider": {"visible": False},
    }


def candles(
    bars: Bars, first: int, last: int, now: int, labels: list[str]
) -> Iterator[dict[str, Any]]:
    """What was known, and fainter what came; a line where only closes are known."""
    for part, opacity in ((slice(0, now + 1), 1.0), (slice(now + 1, None), 0.8)):
        rows = slice(first, last + 1)
        columns = {n: getattr(bars, n)[rows][part] for n in ("open", "high", "low", "close")}
        if not len(columns["close"]):
            continue
        about = {"x": labels[part], "opacity": opacity, "showlegend": False, "name": ""}
        if any(np.isnan(column).any() for column in columns.values()):
            drawn = {"type": "scatter", "mode": "lines", "y": rounded(columns["close"])}
            yield about | drawn | {"line": {"color": "#888888", "width": 2}}
            continue
        yield (
            about
            | {"type": "candlestick"}
            | {n: rounded(v) for n, v in columns.items()}
            | {
                "increasing": {"line": {"color": "#228833", "width": 1}},
                "decreasing": {"line": {"color": "#cc3311", "width": 1}},
            }
        )


def upright(x: str | float, dash: str = "dot") -> dict[str, Any]:
    """An upright line at x: the origin, or what came."""
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x} | {
        "line": {"width": 1, "dash": dash}
    }


def _told(origin: Chosen, day: str, close: float, horizons: Sequence[int]) -> str:
    """What is drawn, and what the origin meant for the scores."""
    drawn = ", ".join(str(h) for h in horizons)
    return (
        f"Close on {day}: {close:,.2f}. One log score less the other at the shortest horizon:"
        f" {origin.gain:+.3f} nats. Solid: {origin.model}; dashed: {origin.rival}. Forecasts for"
        f" h = {drawn}; between them the edges are drawn straight."
    )


def _numbers(
    origin: Chosen, both: tuple[pd.DataFrame, pd.DataFrame], bars: Bars, at: list[int]
) -> Table:
    """Bands and outcome at every horizon."""
    levels, day = ("0.05", "0.5", "0.95"), bars.label(at[0])

    def prices(values: Floats) -> tuple[str, ...]:
        return tuple(f"{x:,.2f}" for x in values)

    return Table(
        caption=f"{origin.symbol} from {day} on: quantiles of the adjusted close, and what it was",
        columns=(
            "bar",
            *(f"{m} {100 * float(a):g} %" for m in (origin.model, origin.rival) for a in levels),
            "close",
        ),
        rows=tuple(
            (
                bars.label(t),
                *prices(both[0].loc[i + 1, list(levels)].to_numpy(dtype=np.float64)),
                *prices(both[1].loc[i + 1, list(levels)].to_numpy(dtype=np.float64)),
                f"{bars.close[t]:,.2f}",
            )
            for i, t in enumerate(at[1:])
        ),
    )
