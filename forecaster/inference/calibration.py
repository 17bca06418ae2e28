"""Do the stated probabilities come true: PIT, coverage, value at risk, and signals across symbols.

Shares over dates have HAC standard errors. Likelihood-ratio tests want independent forecasts, so
that they are made a symbol, on every h-th origin, and counted over symbols.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from forecaster.bars import Floats
from forecaster.frames import RISK_LEVELS
from forecaster.inference.mean_tests import SIZE, fewest, standard_errors
from forecaster.scores import COVERAGES, PIT_BINS

EDGE = 1e-12  # a PIT of 0 or 1 is an outcome beyond the forecast's last sample
FEWEST_SYMBOLS = 20  # of a date, for ranks over symbols to mean something


def kupiec(hits: NDArray[np.bool_], level: float) -> float:
    """P-value of "hits [n] have probability `level`" against another one.

    Source: Kupiec, Techniques for verifying the accuracy of risk models (J. Derivatives 1995).
    """
    return float(special.chdtrc(1, max(_kupiec_ratio(hits, level), 0.0)))


def christoffersen(hits: NDArray[np.bool_], level: float) -> float:
    """P-value of "hits [n] have probability `level` whatever came before" (conditional coverage).

    Source: Christoffersen, Evaluating interval forecasts (Int. Economic Review 1998).
    """
    before, now = hits[:-1], hits[1:]
    stay = _likelihood(now.sum(), len(now), now.mean())
    move = sum(
        _likelihood(now[which].sum(), which.sum(), now[which].mean())
        for which in (before, ~before)
        if which.any()
    )
    ratio = _kupiec_ratio(hits, level) + 2 * (move - stay)
    return float(special.chdtrc(2, max(ratio, 0.0)))


def berkowitz(pit: Floats) -> float:
    """P-value of "the PITs [n] are uniform and independent": normal scores as an AR(1).

    Source: Berkowitz, Testing density forecasts (J. Business and Economic Statistics 2001), the
    likelihood ratio of mean 0, variance 1, no memory, conditional on the first.
    """
    z = special.ndtri(np.clip(pit, EDGE, 1 - EDGE))
    now, before = z[1:], z[:-1]
    spread = before - before.mean()
    slope = spread @ now / max(spread @ spread, EDGE)
    error = now - now.mean() - slope * spread
    variance = max(float(error @ error) / len(now), EDGE)
    ratio = now @ now - len(now) * (1 + np.log(variance))
    return float(special.chdtrc(3, max(ratio, 0.0)))


def calibration(rows: pd.DataFrame, h: int) -> dict[str, Any]:
    """All of it for the rows of one model at one horizon, as JSON can hold it."""
    levels = [*(f"coverage_{c}" for c in COVERAGES), *(f"below_{a}" for a in RISK_LEVELS)]
    wanted = np.array([*(c / 100 for c in COVERAGES), *RISK_LEVELS])
    shares, errors, n = _shares(rows, h)
    k = len(wanted)
    tested = n >= fewest(h)
    t = np.abs(shares[:k] - wanted) / np.maximum(errors[:k], EDGE)
    p = 2 * stats.t.sf(t, n - 1)
    # Simultaneous over the bins: each at 5 % / 10.
    band = stats.t.ppf(1 - SIZE / 2 / PIT_BINS, n - 1) * errors[k:]
    pit = shares[k:]
    return {
        "dates": n,
        "shares": {
            name: {"share": float(s), "p": float(q) if tested else None}
            for name, s, q in zip(levels, shares[:k], p, strict=True)
        },
        "pit": [float(x) for x in pit],
        "pit_band": [float(x) for x in band] if tested else None,
        "pit_outside": int((np.abs(pit - 1 / PIT_BINS) > band).sum()) if tested else None,
        "rejected": _rejected(rows, h),
    }


def rank_correlation(rows: pd.DataFrame, h: int) -> dict[str, float] | None:
    """Mean over dates of Spearman's correlation, over symbols, of medians with outcomes.

    Of dates with at least 20 symbols; None for too few of them, and where a model's medians are
    all the same.
    """
    sizes = rows.groupby("cutoff")["y"].transform("size")
    rows = rows[sizes >= FEWEST_SYMBOLS]
    if rows["cutoff"].nunique() < fewest(h):
        return None
    ranks = rows.groupby("cutoff")[["median", "y"]].rank()
    centred = ranks - ranks.groupby(rows["cutoff"]).transform("mean")
    products = pd.DataFrame(
        {
            "cross": centred["median"] * centred["y"],
            "square": centred["median"] ** 2,
            "other": centred["y"] ** 2,
        }
    )
    sums = products.groupby(rows["cutoff"]).sum()
    scale = np.sqrt(sums["square"].to_numpy() * sums["other"].to_numpy())
    values = sums["cross"].to_numpy()[scale > 0] / scale[scale > 0]
    if len(values) < fewest(h):
        return None
    error = standard_errors(values[:, None], h)[0]
    p = 2 * stats.t.sf(abs(values.mean()) / max(error, EDGE), len(values) - 1)
    return {"mean": float(values.mean()), "p": float(p), "dates": len(values)}


def _shares(rows: pd.DataFrame, h: int) -> tuple[Floats, Floats, int]:
    """Shares over dates, their errors, dates: coverages, exceedances, bins of the PIT."""
    pit = rows["pit"].to_numpy()
    decile = np.minimum((pit * PIT_BINS).astype(int), PIT_BINS - 1)
    columns = [np.abs(pit - 0.5) <= c / 200 for c in COVERAGES]
    columns += [pit < a for a in RISK_LEVELS]
    columns += [decile == i for i in range(PIT_BINS)]
    events = pd.DataFrame(np.stack(columns, axis=1).astype(np.float64))
    values = events.groupby(rows["cutoff"].to_numpy()).mean().to_numpy()
    return values.mean(axis=0), standard_errors(values, h), len(values)


def _rejected(rows: pd.DataFrame, h: int) -> dict[str, int]:
    """How many symbols each likelihood-ratio test rejects at 5 %, and of how many."""
    names = ["berkowitz", *(f"{t}_{a}" for a in RISK_LEVELS for t in ("kupiec", "christoffersen"))]
    counts = dict.fromkeys(["symbols", *names], 0)
    every, cutoff = rows["pit"].to_numpy(), rows["cutoff"].to_numpy()
    for own in rows.groupby("unique_id", observed=True).indices.values():
        pit = every[own[np.argsort(cutoff[own])]][::h]
        if len(pit) < fewest(1):
            continue
        p = [berkowitz(pit)]
        p += [test(pit < a, a) for a in RISK_LEVELS for test in (kupiec, christoffersen)]
        counts["symbols"] += 1
        for name, each in zip(names, p, strict=True):
            counts[name] += each < SIZE
    return counts


def _kupiec_ratio(hits: NDArray[np.bool_], level: float) -> float:
    x, n = hits.sum(), len(hits)
    return float(2 * (_likelihood(x, n, x / n) - _likelihood(x, n, level)))


def _likelihood(hits: float, n: float, p: float) -> float:
    """Of so many hits of n with probability p, in nats; 0 ln 0 is 0."""
    out = 0.0
    if hits:
        out += hits * np.log(p)
    if n > hits:
        out += (n - hits) * np.log1p(-p)
    return out
