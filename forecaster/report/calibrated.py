"""Do stated probabilities come true: PIT histograms, reliability of quantiles, coverage."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from forecaster import inference
from forecaster.bars import Floats
from forecaster.frames import QUANTILES
from forecaster.report.drawing import Chart, Table, axis, colour, level, line, rounded
from forecaster.report.material import Material
from forecaster.scores import COVERAGES, PIT_BINS

LEVELS = np.array(QUANTILES)
WHISKER = "#888888"  # seen on white, on black, and on a bar


def pit_charts(found: Material, h: int) -> list[Chart]:
    """A histogram a shown model, with the band that uniform PITs stay in, all bins together."""
    shown = found.shown(h)
    known = {row["model"]: row for row in found.summary["calibration"] if row["h"] == h}
    top = 1.15 * max(max(known[model]["pit"]) for model in shown)
    return [
        _pit_chart(known[model], f"pit-{h}-{i}", found.place(model, h), max(top, 0.15))
        for i, model in enumerate(shown)
    ]


def _pit_chart(row: dict[str, Any], name: str, i: int, top: float) -> Chart:
    middles = (np.arange(PIT_BINS) + 0.5) / PIT_BINS
    bars = {"type": "bar", "x": rounded(middles), "y": rounded(np.array(row["pit"]))} | {
        "marker": {"color": colour(i)},
        "width": 0.9 / PIT_BINS,
        "hovertemplate": "%{y:.4f}<extra></extra>",
    }
    band, outside = row["pit_band"], row["pit_outside"]
    told = (
        f"{outside} of {PIT_BINS} bins outside the simultaneous 95 % band."
        if band
        else "Too few dates for a band."
    )
    return Chart(
        name=name,
        title=row["model"],
        note=told,
        alt=f"Histogram of {row['model']}'s PITs in {PIT_BINS} bins, h = {row['h']}. {told}",
        traces=[bars, *([_limits(band)] if band else [])],
        x=axis("PIT", range=[0, 1]),
        y=axis("share", range=[0, round(top, 4)]),
        marks=[level(1 / PIT_BINS, "dot")],
        height=200,
        numbers=Table(
            caption=f"{row['model']}, h = {row['h']}: shares of PITs",
            columns=("bin", "share", "band"),
            rows=tuple(
                (
                    f"{i / PIT_BINS:.1f}-{(i + 1) / PIT_BINS:.1f}",
                    f"{share:.4f}",
                    f"{1 / PIT_BINS:.1f} +- {band[i]:.4f}" if band else "",
                )
                for i, share in enumerate(row["pit"])
            ),
        ),
    )


def _limits(band: list[float]) -> dict[str, Any]:
    """What each bin's share stays in by chance: whiskers around a tenth."""
    whiskers = {"type": "data", "array": rounded(np.array(band)), "thickness": 1.5, "width": 5}
    return {"type": "scatter", "mode": "markers", "marker": {"size": 1, "color": WHISKER}} | {
        "x": rounded((np.arange(PIT_BINS) + 0.5) / PIT_BINS),
        "y": [1 / PIT_BINS] * PIT_BINS,
        "error_y": whiskers | {"color": WHISKER},
        "hoverinfo": "skip",
    }


def reliability_chart(found: Material, h: int) -> Chart:
    """Share of outcomes below each stored quantile less its level, a line a shown model."""
    shown = found.shown(h)
    kept = {model: reliability(found.scored(model, h)) for model in shown}
    traces = []
    for i, (model, (shares, half)) in enumerate(kept.items()):
        place = found.place(model, h)
        drawn = line(model, rounded(LEVELS), 100 * (shares - LEVELS), place)
        drawn |= {"mode": "lines+markers", "marker": {"size": 5, "color": colour(place)}}
        # Intervals of all lines would hide each other: the last one's, a learner's, are drawn.
        if half is not None and i == len(kept) - 1:
            array = rounded(100 * half)
            drawn |= {"error_y": {"type": "data", "array": array, "thickness": 1, "width": 2}}
        traces.append(drawn)
    last, (shares, half) = list(kept.items())[-1]
    told = "Too few dates for intervals."
    if half is not None:
        off = int((np.abs(shares - LEVELS) > half).sum())
        told = (
            f"{last}: {off} of {len(LEVELS)} quantiles are further from their level than their own"
            " 95 % interval (HAC over dates), which the bars show."
        )
    return Chart(
        name=f"reliability-{h}",
        title="Reliability of quantiles",
        note=f"Above 0: more outcomes lie below the quantile than it says. {told}",
        alt=f"Lines: observed share less level of {len(LEVELS)} quantiles, h = {h}. {told}",
        traces=traces,
        x=axis("level of the quantile", range=[-0.02, 1.02]),
        y=axis("share less level [%]"),
        marks=[level(0)],
        legend=True,
        height=340,
        numbers=Table(
            caption=f"Share of outcomes below each quantile [%], h = {h}",
            columns=("model", *(f"{100 * a:g}" for a in LEVELS)),
            rows=tuple((m, *(f"{100 * x:.2f}" for x in kept[m][0])) for m in shown),
        ),
    )


def reliability(rows: pd.DataFrame) -> tuple[Floats, Floats | None]:
    """([levels] share of outcomes at or below each quantile, half a 95 % interval) over dates.

    No interval where there are too few dates for one.
    """
    h, pit = int(rows["h"].iloc[0]), rows["pit"].to_numpy()
    below = pd.DataFrame((pit[:, None] <= LEVELS).astype(np.float64))
    values = below.groupby(rows["cutoff"].to_numpy()).mean().to_numpy()
    if len(values) < inference.fewest(h):
        return values.mean(axis=0), None
    wide = float(stats.t.ppf(1 - inference.SIZE / 2, len(values) - 1))
    return values.mean(axis=0), wide * inference.standard_errors(values, h)


def coverage_table(found: Material, h: int) -> Table:
    """Every model's coverage of central intervals, and what tests say of its PITs."""
    rows = [row for row in found.summary["calibration"] if row["h"] == h]
    return Table(
        caption=f"Coverage over dates [%], h = {h}",
        columns=("model", *(f"{c} %" for c in COVERAGES), "PIT bins outside", "Berkowitz rejects"),
        rows=tuple(
            (
                row["model"],
                *(starred(row["shares"][f"coverage_{c}"]) for c in COVERAGES),
                "" if row["pit_outside"] is None else f"{row['pit_outside']} of {PIT_BINS}",
                counted(row, "berkowitz"),
            )
            for row in rows
        ),
        strong=learners(found, rows),
        note="* a HAC test over dates rejects the level at 5 %. PIT: a simultaneous 95 % band."
        " Berkowitz: symbols of which a test on every h-th origin rejects at 5 %.",
    )


def starred(share: dict[str, Any]) -> str:
    """A share in per cent, starred where its test rejects."""
    star = "*" if share["p"] is not None and share["p"] < inference.SIZE else ""
    return f"{100 * share['share']:.2f}{star}"


def counted(row: dict[str, Any], test: str) -> str:
    """Of how many symbols a test rejects."""
    return f"{row['rejected'][test]} of {row['rejected']['symbols']}"


def learners(found: Material, rows: list[dict[str, Any]]) -> frozenset[int]:
    """Which of the rows are a learner's."""
    names = {each["model"] for each in found.summary["comparisons"]}
    return frozenset(i for i, row in enumerate(rows) if row["model"] in names)
