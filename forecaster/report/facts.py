"""The run itself: folds, bars, notes, seconds, and how to have it again."""

import shlex
from typing import Any

import numpy as np
import pandas as pd

from forecaster.bars import Bars, duration
from forecaster.config import RunConfig
from forecaster.report.drawing import Bar, Cell, Table, days, gauge
from forecaster.report.material import Material


def fold_table(found: Material) -> Table:
    """What every fold learnt from and was tested on, drawn on one line of time."""
    h = found.horizons[0]
    own = found.scored(found.shown(h)[-1], h)
    begin = min(pd.Timestamp(each["first"]) for each in found.data["symbols"].values())
    end = max(pd.Timestamp(each["last"]) for each in found.data["symbols"].values())
    rows, longest = [], max(found.horizons)
    step = pd.Timedelta(duration(found.summary["interval"]))
    for fold, members in own.groupby("fold"):
        first, last = members["cutoff"].min(), members["cutoff"].max()
        # Daily bars come five a week; the drawn length of a purge is a guess, its count is not.
        purge = longest * step * (1.4 if step == pd.Timedelta(days=1) else 1)
        spans = ((begin, first - purge, "train"), (first - purge, first, "purge"))
        drawn = tuple(_span(*span, begin, end) for span in (*spans, (first, last, "test")))
        shown = days(pd.DatetimeIndex([begin, first, last]))
        origins = len(members[["unique_id", "cutoff"]].drop_duplicates())
        rows.append((str(fold), shown[0], shown[1], shown[2], f"{origins:,}", drawn))
    return Table(
        caption=f"{len(rows)} folds",
        columns=("fold", "learns from", "until before", "tested until", "forecasts", "drawn"),
        rows=tuple(rows),
        wide=("drawn",),
        note="Every fold learns from all bars closed before its first origin. Targets of h bars"
        f" that end later are left out of its fit: the last {longest} bars teach less than all"
        " horizons (purge). No bar is held out for validation.",
    )


def _span(
    start: pd.Timestamp, stop: pd.Timestamp, kind: str, begin: pd.Timestamp, end: pd.Timestamp
) -> Bar:
    whole = max((end - begin) / pd.Timedelta(days=1), 1e-9)
    left, right = ((t - begin) / pd.Timedelta(days=1) / whole * 100 for t in (start, stop))
    return Bar(left=round(max(left, 0), 2), width=round(max(right - left, 0.3), 2), kind=kind)


def bar_table(found: Material) -> Table:
    """What the run was made from, a line a symbol; more where the bars are at hand."""
    columns: tuple[str, ...] = ("symbol", "bars", "first", "last")
    known = found.data["symbols"]
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            f"{each['bars']:,}",
            *days(pd.DatetimeIndex([each["first"], each["last"]])),
        )
        for name, each in known.items()
    ]
    if found.panel is not None:
        members = {str(bars.symbol): bars for bars in found.panel}
        columns += (
            *("longest gap", "closes only", "volume 0", "volume unknown"),
            *("close unchanged", "largest move"),
        )
        rows = [(*row, *_oddities(members[str(row[0])])) for row in rows]
    return Table(
        caption="Bars",
        columns=columns,
        rows=tuple(rows),
        note="Bars that break a rule of a legal bar are refused when they are read, never mended."
        " Moves are of adjusted closes from bar to bar.",
    )


def _oddities(bars: Bars) -> tuple[str, ...]:
    """Counts of what is legal and odd; the largest gap and move with the bar they end in."""
    if len(bars) < 2:
        return ("",) * 6
    steps, moves = np.diff(bars.opened_at), np.diff(np.log(bars.close))
    gap, jump = int(steps.argmax()), int(np.abs(moves).argmax())
    length = steps[gap] / np.timedelta64(1, "D")
    return (
        f"{length:g} days, to {bars.label(gap + 1)}",
        f"{int(np.isnan(bars.open).sum()):,}",
        f"{int((bars.volume == 0).sum()):,}",
        f"{int(np.isnan(bars.volume).sum()):,}",
        f"{int((moves == 0).sum()):,}",
        f"{100 * np.expm1(moves[jump]):+.1f} % on {bars.label(jump + 1)}",
    )


def seconds_table(found: Material) -> Table | None:
    """Fit and forecast time of each model over all folds; None where the cells are gone."""
    spent = {
        model: [
            sum(cell[stage] for cell in found.cells if cell["model"] == model)
            for stage in ("fit_seconds", "forecast_seconds")
        ]
        for model in found.models
    }
    whole = {model: sum(each) for model, each in spent.items()}
    if not found.cells or not max(whole.values()):
        return None
    total, largest = sum(whole.values()), max(whole.values())
    return Table(
        caption=f"Seconds of every model, all folds together, as on one core: {total:,.0f} in all",
        columns=("model", "fit [s]", "forecast [s]", "both [s]", "drawn"),
        rows=tuple(
            (
                model,
                *(f"{seconds:.1f}" for seconds in each),
                f"{whole[model]:.1f}",
                gauge(whole[model], largest, signed=False),
            )
            for model, each in spent.items()
        ),
        wide=("drawn",),
    )


def environment_table(found: Material) -> Table:
    """Versions, and hashes that tell whether another run is this one."""
    known, config = found.environment, found.config
    rows = [
        ("run", found.summary["run_id"]),
        ("started", known["started_at"]),
        ("forecaster", known["forecaster"]),
        ("Python", known["python"]),
        ("platform", known["platform"]),
        *sorted(known["packages"].items()),
        ("seed", f"{config.seed}; networks a learner, averaged: {config.learner.seeds}"),
        ("configuration, sha256", config.digest),
        ("bars, sha256", found.data["digest"]),
        *((f"{name}, sha256", digest) for name, digest in found.hashes.items()),
    ]
    return Table(
        caption="What the numbers may depend on",
        columns=("what", "value"),
        rows=tuple(rows),
        wide=("value",),
    )


def command_again(config: RunConfig) -> str:
    """The line that makes the same run on the same bars: every setting that is no default."""
    plain = RunConfig()
    changed = [
        (f"learner.{name}", value, getattr(plain.learner, name)) for name, value in config.learner
    ]
    changed += [(name, value, getattr(plain, name)) for name, value in config if name != "learner"]
    settings = [f"{name}={_toml(value)}" for name, value, usual in changed if value != usual]
    return shlex.join(["forecaster", "backtest", *(w for s in settings for w in ("--set", s))])


def _toml(value: Any) -> str:
    """A setting as `--set` reads it: plain words as they are."""
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def command_typed(found: Material) -> str | None:
    """The command line that the run was started by, where it was one."""
    words = found.environment["argv"]
    return shlex.join(["forecaster", *words]) if words[:1] == ["backtest"] else None
