"""Faults of a predictions file: times, rows, quantiles, outcomes. Each names its first row."""

import numpy as np
import pandas as pd

from forecaster.audit.columns import KEY, Foreign
from forecaster.audit.emitted import Finding
from forecaster.audit.target import came, places
from forecaster.bars import Bars, Panel

SHIFTS = (-3, -2, -1, 1, 2, 3)  # bars by which an outcome may have been displaced
MOST_ODD = 0.01  # share of outcomes that may differ from the bars: revisions, roundings


def at_row(what: str, rows: pd.DataFrame) -> Finding:
    """The first of some rows in time."""
    row = rows.sort_values("cutoff").iloc[0]
    who = f"{row['model']}: {what} ({len(rows)} rows)"
    return Finding(
        who, str(row["unique_id"]), f"{row['cutoff']:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    )


def times(file: Foreign, panel: Panel | None) -> Finding | None:
    """ds after cutoff, h as many bars after it as it says."""
    frame = file.frame
    early = frame[frame["ds"] <= frame["cutoff"]]
    if len(early):
        return at_row("ds is not after cutoff", early)
    for name, rows in frame.groupby("unique_id"):
        bars = _bars_of(panel, str(name))
        labels = bars.opened_at if bars else np.unique(rows[["cutoff", "ds"]].to_numpy().ravel())
        labels = labels.astype("datetime64[us]")
        cutoff, ds = (rows[c].to_numpy().astype("datetime64[us]") for c in ("cutoff", "ds"))
        ahead = np.searchsorted(labels, ds) - np.searchsorted(labels, cutoff)
        known = ds <= labels[-1]
        odd = (ahead != rows["h"]) if bars else (ahead > rows["h"])
        if (odd & known).any():
            first = int(np.argmax((odd & known).to_numpy()))
            what = f"h = {rows['h'].iloc[first]}, but ds is {ahead[first]} bars after the cutoff"
            return at_row(what, rows[odd & known])
    return None


def keys(file: Foreign) -> Finding | None:
    """No key twice, no forecast missing, no infinity."""
    frame = file.frame
    twice = frame[frame.duplicated(KEY)]
    if len(twice):
        return at_row("the key is there twice", twice)
    numbers = frame[["point", *file.levels]].to_numpy(dtype=np.float64)
    broken = frame.loc[~np.asarray(np.isfinite(numbers).all(axis=1))]
    return at_row("a forecast is missing or infinite", broken) if len(broken) else None


def crossing(file: Foreign) -> Finding | None:
    """Quantiles ascend."""
    if len(file.levels) < 2:
        return None
    bad = np.asarray((np.diff(file.quantiles(file.frame), axis=1) < 0).any(axis=1))
    crossed = file.frame.loc[bad]
    return at_row("quantiles cross", crossed) if len(crossed) else None


def same_rows(file: Foreign) -> Finding | None:
    """Every model answers the same questions; and what one lacks is not where moves were large."""
    frame = file.frame
    counts = frame.groupby("model").size()
    if len(counts) < 2:
        return None
    asked = frame.drop_duplicates(KEY[1:])
    lack = {}
    for model, rows in frame.groupby("model"):
        have = pd.MultiIndex.from_frame(rows[KEY[1:]])
        lack[model] = asked[~pd.MultiIndex.from_frame(asked[KEY[1:]]).isin(have)].assign(
            model=model
        )
    worst = max(lack, key=lambda model: len(lack[model]))
    if not len(lack[worst]):
        return None
    return at_row(f"{len(lack[worst])} of {len(asked)} questions unanswered", lack[worst])


def dropped_where_it_hurts(file: Foreign, panel: Panel | None) -> Finding | None:
    """Questions that a model leaves out are no wilder than those that it answers."""
    frame = file.frame[(file.frame["h"] == file.h) & file.frame["y"].notna()]
    asked = _all_questions(frame, panel, file.h)
    size = asked["y"].abs() / asked.groupby("unique_id")["y"].transform(lambda y: y.abs().mean())
    for model, rows in frame.groupby("model"):
        index = pd.MultiIndex.from_frame(asked[["unique_id", "cutoff"]])
        there = index.isin(pd.MultiIndex.from_frame(rows[["unique_id", "cutoff"]]))
        if (~there).sum() < 5 or there.sum() < 5:
            continue
        out, kept = size[~there], size[there]
        spread = np.sqrt(out.var() / len(out) + kept.var() / len(kept))
        t = float((out.mean() - kept.mean()) / max(spread, 1e-12))
        if t > 4:
            what = f"rows are missing where moves are {out.mean() / kept.mean():.1f} times as large"
            return at_row(f"{what} (t = {t:.1f})", asked[~there].assign(model=model))
    return None


def _all_questions(frame: pd.DataFrame, panel: Panel | None, h: int) -> pd.DataFrame:
    """Every (unique_id, cutoff) with its outcome: of all models, and of the bars in their span."""
    asked = frame.drop_duplicates(["unique_id", "cutoff"])[["unique_id", "cutoff", "y"]]
    if panel is None:
        return asked.reset_index(drop=True)
    parts = [asked]
    for name, rows in asked.groupby("unique_id"):
        bars = _bars_of(panel, str(name))
        if bars is not None:
            at = np.arange(len(bars) - h)
            inside = (bars.opened_at[at] >= rows["cutoff"].min()) & (
                bars.opened_at[at] <= rows["cutoff"].max()
            )
            at = at[inside]
            y = came(bars, at, np.full(len(at), h))
            parts.append(pd.DataFrame({"unique_id": name, "cutoff": bars.opened_at[at], "y": y}))
    every = pd.concat(parts, ignore_index=True)
    return every.drop_duplicates(["unique_id", "cutoff"]).reset_index(drop=True)


def outcomes(file: Foreign, panel: Panel | None) -> Finding | None:
    """y is what the bars say came; where it is not, of which other bars it is."""
    frame = file.frame[file.frame["y"].notna()].drop_duplicates(["unique_id", "cutoff", "h"])
    for bars in panel or ():
        rows = frame[frame["unique_id"] == str(bars.symbol)]
        at, there = places(bars, rows["cutoff"])
        if len(rows) and not there.all():
            return at_row("no bar has this cutoff", rows[~there])
        steps, y = rows["h"].to_numpy(), rows["y"].to_numpy()
        odd = _differs(y, came(bars, at, steps))
        if odd.mean() <= MOST_ODD if len(odd) else True:
            continue
        for shift in SHIFTS:
            if _differs(y, came(bars, at + shift, steps)).mean() <= MOST_ODD:
                what = f"y is what came {abs(shift)} bars {'later' if shift > 0 else 'earlier'}"
                return at_row(f"{what} than its cutoff says", rows)
        return at_row("y is not what the bars say", rows[odd])
    return None


def survivors(file: Foreign, panel: Panel | None) -> Finding | None:
    """Symbols whose bars end inside the test are in the file too."""
    there, first, last = (
        set(file.frame["unique_id"]),
        *(getattr(file.frame["cutoff"], f)() for f in ("min", "max")),
    )
    for bars in panel or ():
        lives = bars.opened_at[0] < first < bars.opened_at[-1] < last
        if lives and str(bars.symbol) not in there:
            what = "a symbol whose bars end inside the test is not in the file: survivors only"
            return Finding(what, str(bars.symbol), bars.label(len(bars) - 1))
    return None


def _differs(y: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Beyond rounding; what the bars do not know is no difference."""
    simple = np.expm1(want)  # returns may be simple ones
    off = np.minimum(np.abs(y - want), np.abs(y - simple)) > 1e-6 + 1e-4 * np.abs(want)
    return off & np.isfinite(want)


def _bars_of(panel: Panel | None, name: str) -> Bars | None:
    return next((bars for bars in panel or () if str(bars.symbol) == name), None)
