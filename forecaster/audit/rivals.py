"""Our baselines on a foreign file's questions: what skill it shows, and whether it can be true.

The score is the mean pinball loss over the file's levels, which is half the CRPS in the limit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from forecaster.audit.columns import Foreign
from forecaster.audit.emitted import Finding
from forecaster.audit.statistics import by_date
from forecaster.bars import Floats, Panel
from forecaster.baselines import BASELINES
from forecaster.errors import DataError
from forecaster.folds import FEWEST_PAST, Schedule, walk_forward
from forecaster.inference import diebold_mariano
from forecaster.protocol import Origins

RIVALS = ("volatility_20", "historical_250", "ewma_student_t", "harx")
REFIT_EVERY = 252  # bars
MOST_SKILL = 0.10  # over the best of our baselines: ranges, leverage and hierarchy reach 0.02


def pinball(y: Floats, q: Floats, levels: Sequence[float]) -> Floats:
    """[n] mean over the levels of (a - 1{y < q}) (y - q)."""
    error, a = y[:, None] - q, np.asarray(levels)
    return (np.where(error < 0, a - 1, a) * error).mean(axis=1)


def rival_quantiles(
    rows: pd.DataFrame, panel: Panel, h: int, levels: Sequence[float]
) -> dict[str, Floats]:
    """[n, Q] of each of our baselines at the rows' cutoffs, refitted as in a backtest; else NaN."""
    out = {name: np.full((len(rows), len(levels)), np.nan) for name in RIVALS}
    first = rows["cutoff"].min().to_datetime64()
    schedule = Schedule(
        test_from=first,
        refit_every=REFIT_EVERY,
        fewest_past=FEWEST_PAST,
        fewest_history=FEWEST_PAST,
    )
    index = pd.MultiIndex.from_arrays([rows["unique_id"], rows["cutoff"]])
    for fold in walk_forward(panel, schedule):
        asked = fold.origins(panel)
        names = np.array([str(symbol) for symbol in panel.symbols], dtype=object)[asked.member]
        labels = pd.DatetimeIndex(asked.labels(panel))
        where = index.get_indexer(pd.MultiIndex.from_arrays([names, labels]))
        wanted = where >= 0
        if not wanted.any():
            continue
        origins = Origins(asked.member[wanted], asked.bar[wanted])
        for name in RIVALS:
            fitted = BASELINES[name].fit(fold.history(panel), (h,))
            told = fitted.forecast(fold.past(panel), origins, (h,))
            out[name][where[wanted]] = told.quantile(levels)[:, 0]
    return out


def skill(file: Foreign, panel: Panel) -> tuple[Finding | None, list[str]]:
    """A finding where the skill cannot be true, and a line a model and rival."""
    if len(file.levels) < 2:
        return None, ["no quantiles: no skill against our baselines"]
    notes, found, h = [], None, file.h
    shortest = file.shortest()
    unique = shortest.drop_duplicates(["unique_id", "cutoff"])
    try:
        told = rival_quantiles(unique, panel, h, file.levels)
    except DataError as error:
        return None, [f"no skill against our baselines: {error}"]
    index = pd.MultiIndex.from_frame(unique[["unique_id", "cutoff"]])
    for model, rows in shortest.groupby("model"):
        at = index.get_indexer(pd.MultiIndex.from_frame(rows[["unique_id", "cutoff"]]))
        y, q = rows["y"].to_numpy(), file.quantiles(rows)
        known = np.isfinite(told[RIVALS[0]][at]).all(axis=1) & np.isfinite(q).all(axis=1)
        if known.sum() < 50:
            notes.append(f"{model}: {int(known.sum())} rows can be compared, too few")
            continue
        rows, y, at = rows.loc[np.asarray(known)], y[known], at[known]
        ours = by_date(rows, pinball(y, q[known], file.levels))
        rivals = {n: by_date(rows, pinball(y, told[n][at], file.levels)) for n in RIVALS}
        best = min(rivals, key=lambda name: rivals[name].mean())
        gain = 1 - ours.mean() / rivals[best].mean()
        _, t, p = diebold_mariano(ours, rivals[best], h)
        sample = f"p = {p:.2g}, n = {len(ours)} dates"
        line = f"{model}: pinball skill {gain:+.1%} over {best} at h = {h} ({sample})"
        notes.append(line)
        if gain > MOST_SKILL and t < -4 and found is None:
            found = Finding(f"{line}; above {MOST_SKILL:.0%} is not plausible")
    return found, notes
