"""Value at risk over time, expected shortfall, variance, and the other scores."""

import numpy as np

from forecaster.frames import PINBALL_LEVELS, RISK_LEVELS
from forecaster.report.calibrated import counted, learners, starred
from forecaster.report.drawing import Chart, Table, axis, days, gauge, level, line, thinned
from forecaster.report.material import Material


def exceedance_charts(found: Material, h: int) -> list[Chart]:
    """One a level: losses beyond the value at risk so far, less what its level promises."""
    return [_exceedances(found, h, part) for part in RISK_LEVELS]


def _exceedances(found: Material, h: int, part: float) -> Chart:
    traces, told, rows = [], [], []
    for model in found.shown(h):
        own = found.scored(model, h)
        hits = (own["pit"] < part).groupby(own["cutoff"].to_numpy()).mean()
        total, at = (hits - part).cumsum().to_numpy(), thinned(len(hits))
        labels = days(hits.index)
        traces.append(line(model, [labels[i] for i in at], total[at], found.place(model, h)))
        told.append(f"{model} {100 * hits.mean():.2f} %")
        rows.append((model, f"{100 * hits.mean():.3f}", f"{total[-1]:+.1f}"))
    return Chart(
        name=f"exceedances-{h}-{round(100 * part)}",
        title=f"Losses beyond the {100 * part:g} % value at risk",
        note="Days so far, a mean over symbols, less those that the level promises; rising: risk"
        f" was said too small. In all: {', '.join(told)}.",
        alt=f"Lines: exceedances of the {100 * part:g} % value at risk less the promised number, by"
        f" date, h = {h}. In all: {', '.join(told)}.",
        traces=traces,
        x=axis(""),
        y=axis("days too many"),
        marks=[level(0)],
        legend=True,
        height=320,
        numbers=Table(
            caption=f"Losses beyond the {100 * part:g} % value at risk, h = {h}",
            columns=("model", "share [%]", "days too many"),
            rows=tuple(rows),
        ),
    )


def risk_table(found: Material, h: int) -> Table:
    """Every model's exceedances, their tests, and FZ0."""
    rows = [row for row in found.summary["calibration"] if row["h"] == h]
    means = {row["model"]: row for row in found.rows(h)}
    tests = [f"{name}_{a}" for a in RISK_LEVELS for name in ("kupiec", "christoffersen")]
    return Table(
        caption=f"Value at risk and expected shortfall, h = {h}",
        columns=(
            "model",
            *(f"below {100 * a:g} % [%]" for a in RISK_LEVELS),
            *(f"{n} {100 * a:g} %" for a in RISK_LEVELS for n in ("Kupiec", "Christoffersen")),
            *(f"FZ0 {100 * a:g} %" for a in RISK_LEVELS),
        ),
        rows=tuple(
            (
                row["model"],
                *(starred(row["shares"][f"below_{a}"]) for a in RISK_LEVELS),
                *(counted(row, test) for test in tests),
                *(f"{means[row['model']][f'fz0_{a}']:.3f}" for a in RISK_LEVELS),
            )
            for row in rows
        ),
        strong=learners(found, rows),
        note="* a HAC test over dates rejects the level at 5 %. Kupiec, Christoffersen: symbols of"
        " which the test on every h-th origin rejects at 5 %. FZ0: joint loss of value at risk and"
        " expected shortfall [nats], lower is better.",
    )


def variance_table(found: Material, h: int) -> Table:
    """QLIKE of every model, drawn from the best one on, and the scores no verdict rests on."""
    rows = found.rows(h)
    qlike = np.array([row["qlike"] for row in rows])
    # One model that is far off would make all other bars invisible.
    most = float(np.quantile(qlike - qlike.min(), 0.9))
    return Table(
        caption=f"QLIKE and other scores, h = {h}",
        columns=(
            *("model", "QLIKE [nats]", "above the best", "drawn"),
            *(f"pinball {100 * a:g} % [bp]" for a in PINBALL_LEVELS),
            *("Brier", "hit [%]", "rank IC"),
        ),
        rows=tuple(
            (
                row["model"],
                f"{row['qlike']:.4f}",
                f"{row['qlike'] - qlike.min():.4f}",
                gauge(row["qlike"] - qlike.min(), most, signed=False),
                *(f"{1e4 * row[f'pinball_{a}']:.2f}" for a in PINBALL_LEVELS),
                f"{row['brier']:.4f}",
                f"{100 * row['hit']:.1f}",
                f"{row['rank_ic']['mean']:+.3f}" if row["rank_ic"] else "",
            )
            for row in rows
        ),
        strong=learners(found, rows),
        wide=("drawn",),
        note="QLIKE: loss of the variance against range variance, lower is better; the longest bars"
        f" are cut. Hit: rises called; the base rate of rises is {100 * rows[0]['up']:.2f} %.",
    )
