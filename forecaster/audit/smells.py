"""What forecasts look like that have seen the future. All at a file's shortest horizon.

Thresholds stand far above what an honest forecast of market returns reaches, and each asks for a t
of FEWEST_T over dates besides: one good week is no smell.
"""

import numpy as np
import pandas as pd
from scipy import stats

from forecaster.audit.alignment import at_row
from forecaster.audit.columns import KEY, Foreign
from forecaster.audit.emitted import Finding
from forecaster.audit.statistics import partial, ranks, student_t
from forecaster.bars import Floats

FEWEST_T = 5.0
MOST_EQUAL = 0.005  # share of rows in which the forecast is the outcome
MOST_IC = 0.25  # rank correlation with the return ahead; what is published for a bar lies below 0.1
MOST_HITS = 0.07  # hit rate above the base rate
LEAST_ERROR = 0.9  # mean absolute error over that of "no change"
MOST_AFTERWARDS = 0.1  # rank correlation with the return after the target
MOST_BAND = 0.35  # partial rank correlation of a band's width with the size of the move
MOST_UNIFORM = 1e-4  # p of a PIT histogram this flat
PAST = 20  # outcomes whose mean size is the volatility that was known


def equal(file: Foreign) -> Finding | None:
    """The forecast is the outcome."""
    for _, rows in file.shortest().groupby("model"):
        y, p = rows["y"].to_numpy(), rows["point"].to_numpy()
        same = (np.abs(p - y) <= 1e-9 * np.abs(y)) & (y != 0)
        if same.mean() > MOST_EQUAL and same.sum() >= 5:
            return at_row(f"the forecast equals y in {same.mean():.1%} of rows", rows[same])
    return None


def correlation(file: Foreign) -> Finding | None:
    """The forecast moves with the return ahead."""
    for model, rows in file.shortest().groupby("model"):
        terms = ranks(rows["point"].to_numpy()) * ranks(rows["y"].to_numpy())
        t = student_t(rows, terms)
        if terms.mean() > MOST_IC and t > FEWEST_T:
            return Finding(
                f"{model}: rank correlation {terms.mean():.2f} with the return ahead (t = {t:.0f},"
                f" n = {len(rows)}); above {MOST_IC} is not plausible",
                date=_first(rows),
            )
    return None


def direction(file: Foreign) -> Finding | None:
    """The sign is right more often than the base rate allows."""
    for model, rows in file.shortest().groupby("model"):
        y, p = rows["y"].to_numpy(), rows["point"].to_numpy()
        kept = (y != 0) & (p != 0)
        if kept.sum() < 50:
            continue
        up = float((y[kept] > 0).mean())
        base, hits = max(up, 1 - up), np.sign(y[kept]) == np.sign(p[kept])
        t = student_t(rows[kept], hits - base)
        if hits.mean() - base > MOST_HITS and t > FEWEST_T:
            p_value = stats.t.sf(t, rows["cutoff"].nunique() - 1)
            return Finding(
                f"{model}: {hits.mean():.1%} of signs are right, base rate {base:.1%}"
                f" (p = {p_value:.0e}, n = {kept.sum()})",
                date=_first(rows),
            )
    return None


def errors(file: Foreign) -> Finding | None:
    """Errors are smaller than what moved."""
    for model, rows in file.shortest().groupby("model"):
        y, p = rows["y"].to_numpy(), rows["point"].to_numpy()
        ratio = float(np.abs(y - p).mean() / max(np.abs(y).mean(), 1e-300))
        t = student_t(rows, np.abs(y) - np.abs(y - p))
        if ratio < LEAST_ERROR and t > FEWEST_T:
            return Finding(
                f"{model}: mean absolute error is {ratio:.2f} of that of no change (t = {t:.0f})",
                date=_first(rows),
            )
    return None


def afterwards(file: Foreign) -> Finding | None:
    """The forecast moves with the return after its target, which no target holds."""
    for model, rows in file.shortest().groupby("model"):
        after = rows.groupby("unique_id")["y"].shift(-file.h).to_numpy()
        known = np.isfinite(after)
        if known.sum() < 50:
            continue
        p = ranks(rows["point"].to_numpy()[known])
        terms = p * ranks(after[known])
        t = student_t(rows[known], terms)
        if terms.mean() > MOST_AFTERWARDS and t > FEWEST_T:
            return Finding(
                f"{model}: rank correlation {terms.mean():.2f} with the return after the target"
                f" (t = {t:.0f}): smoothed with the future",
                date=_first(rows),
            )
    return None


def bands(file: Foreign) -> Finding | None:
    """Bands are wide where the move was large, beyond what past moves told."""
    if len(file.levels) < 2:
        return None
    for model, rows in file.shortest().groupby("model"):
        q = file.quantiles(rows)
        size = rows["y"].abs()
        past = size.groupby(rows["unique_id"]).transform(
            lambda s: s.shift(file.h).rolling(PAST).mean()
        )
        width = q[:, -1] - q[:, 0]
        known = past.notna().to_numpy() & np.isfinite(width)
        if known.sum() < 50:
            continue
        r, terms = partial(width[known], size.to_numpy()[known], past.to_numpy()[known])
        t = student_t(rows[known], terms)
        if r > MOST_BAND and t > FEWEST_T:
            return Finding(
                f"{model}: bands know the size of the move: partial rank correlation {r:.2f}"
                f" given the last {PAST} (t = {t:.0f}); above {MOST_BAND} is not plausible",
                date=_first(rows),
            )
    return None


def histogram(file: Foreign, rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """(counts, expected) of outcomes between neighbouring quantiles."""
    q, y = file.quantiles(rows), rows["y"].to_numpy()
    bins = (y[:, None] > q).sum(axis=1)
    share = np.diff(np.concatenate(([0.0], file.levels, [1.0])))
    return np.bincount(bins, minlength=len(share)).astype(np.float64), share * len(rows)


def too_calibrated(file: Foreign) -> Finding | None:
    """A PIT histogram flatter than chance allows: calibrated on these very outcomes."""
    if len(file.levels) < 4:
        return None
    for model, rows in file.shortest().groupby("model"):
        for by in ([("all", rows)], list(rows.groupby("unique_id"))):
            counts = [histogram(file, part) for _, part in by if len(part) >= 100]
            value = sum(float(((c - e) ** 2 / e).sum()) for c, e in counts)
            freedom = len(file.levels) * len(counts)
            p = stats.chi2.cdf(value, freedom) if freedom else 1.0
            if p < MOST_UNIFORM:
                return Finding(
                    f"{model}: the PIT histogram is flatter than chance (chi2 = {value:.2f} at"
                    f" {freedom} degrees, p = {p:.0e}): calibrated on these outcomes",
                    date=_first(rows),
                )
    return None


def miscalibrated(file: Foreign) -> Finding | None:
    """A fault, no smell: central bands cover less or more than they say."""
    if len(file.levels) < 2:
        return None
    low, high = min(file.levels), max(file.levels)
    for model, rows in file.shortest().groupby("model"):
        q, y = file.quantiles(rows), rows["y"].to_numpy()
        inside = (y >= q[:, 0]) & (y <= q[:, -1])
        t = student_t(rows, inside - (high - low))
        if abs(inside.mean() - (high - low)) > 0.05 and abs(t) > FEWEST_T:
            return Finding(
                f"{model}: the {low:g} to {high:g} band covers {inside.mean():.1%} (t = {t:.0f})",
                date=_first(rows),
            )
    return None


def changed(file: Foreign, earlier: Foreign) -> Finding | None:
    """Append stability: the rows of an earlier file are in the later one, as they were."""
    levels = [level for level in earlier.levels if level in file.levels]
    columns = ["point", *levels]
    both = earlier.frame.merge(file.frame, on=KEY, how="left", suffixes=(None, "_later"))
    later = both[[f"{c}_later" for c in columns]].to_numpy(dtype=np.float64)
    before = both[columns].to_numpy(dtype=np.float64)
    since = both["unique_id"].isin(file.frame["unique_id"]) & both["model"].isin(
        file.frame["model"]
    )
    gone = since & both["point_later"].isna()
    if gone.any():
        return at_row("rows of the earlier file are gone", both[gone])
    moved = np.abs(later - before) > 1e-12 + 1e-9 * np.abs(before)
    rows = both.loc[np.asarray(moved.any(axis=1))]
    if not len(rows):
        return None
    size = float(np.nanmax(np.abs(later - before)))
    return at_row(f"a forecast changed once later bars were there, by up to {size:.2g}", rows)


def _first(rows: pd.DataFrame) -> str:
    return f"{rows['cutoff'].min():%Y-%m-%d}"
