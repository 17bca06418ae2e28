"""Is the difference real: Diebold-Mariano with overlap in mind, skill with an interval, a verdict.

Scores of one date are averaged over symbols first: symbols move together, dates are the sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats
from statsmodels.stats.sandwich_covariance import S_hac_simple
from statsmodels.tsa.stattools import diebold_mariano_test

from forecaster.bars import Floats
from forecaster.errors import DataError, UsageError, suggestion
from forecaster.scores import check_rows

SIZE = 0.05  # two-sided
# Below these a HAC variance means nothing: 30 dates, and three horizons' worth of them.
MIN_DATES, MIN_SPANS = 30, 3
ROUNDING = 1e-9  # one distribution by two formulas differs by 1e-13 or so; no edge is this small
TINY = 1e-300  # a reference that is never wrong leaves a skill of minus infinity, not a crash


@dataclass(frozen=True)
class Skill:
    """CRPS skill of a model over a reference at one horizon, and the log-score side of it."""

    model: str
    reference: str
    h: int  # bars
    n_dates: int
    first: str  # cutoff dates, ISO
    last: str
    crps_skill: float  # 1 - mean CRPS / mean CRPS of the reference; above 0 is better
    low: float  # 95 % interval; excludes 0 exactly where p < 0.05
    high: float
    p: float  # Diebold-Mariano, two-sided; 1 for a model against itself; NaN for too few dates
    log_score_gain: float  # mean difference in nats a forecast; above 0 is better
    log_score_p: float


def per_date(scores: pa.Table, column: str, h: int) -> pd.DataFrame:
    """Mean of a score over symbols: one row a cutoff in order, one column a model.

    Raises DataError where models are scored on different rows.
    """
    check_rows(scores)
    frame = scores.select(["model", "cutoff", "h", column]).to_pandas()
    frame = frame[frame["h"] == h]
    if frame.empty:
        raise DataError(f"no scores at h={h}")
    return frame.pivot_table(index="cutoff", columns="model", values=column, aggfunc="mean")


def hac_lags(n: int, h: int) -> int:
    """Lags of the Bartlett kernel for n dates and forecasts h bars ahead.

    Errors overlap over h - 1 dates, and Bartlett weights fall to nothing at the last lag: with
    h - 1 lags two thirds of the variance is seen, and 8 to 10 % are rejected at 5 %. Hence twice
    that, and at least 1.3 sqrt(n) (Lazarus, Lewis, Stock and Watson, JBES 2018). Symbols that miss
    days stretch h bars over more than h dates of the common clock; the margin covers that too.
    """
    return min(max(2 * (h - 1), math.ceil(1.3 * math.sqrt(n))), n - 1)


def diebold_mariano(loss_a: Floats, loss_b: Floats, h: int) -> tuple[float, float, float]:
    """Losses [n] a date -> (mean of a - b, statistic, two-sided p): a is better where negative.

    Long-run variance and Harvey's correction by statsmodels, then fixed-b critical values
    (`_fixed_b`) for the many lags. Equal losses give (0, 0, 1). Raises DataError for too few dates.
    """
    a, b = np.asarray(loss_a, dtype=np.float64), np.asarray(loss_b, dtype=np.float64)
    n = len(a)
    if n < _fewest(h):
        raise DataError(f"{n} dates at h={h}: a test wants {_fewest(h)} or more")
    difference = a - b
    mean = float(difference.mean())
    if _equal(a, b):
        return 0.0, 0.0, 1.0
    if np.ptp(difference) == 0:
        return mean, math.copysign(math.inf, mean), 0.0
    lags = hac_lags(n, h)
    criterion = cast(Any, lambda _, loss: loss)  # the two "forecasts" are losses already
    found = diebold_mariano_test(
        np.zeros(n), a, b, lags=lags, criterion=criterion, harvey_adj=True, horizon=h
    )
    statistic = float(found.statistic) / _fixed_b(n, lags)
    return mean, statistic, float(2 * stats.t.sf(abs(statistic), n - 1))


def skill(scores: pa.Table, model: str, reference: str, h: int) -> Skill:
    """CRPS skill of a model over a reference, with p and an interval that agree.

    The interval is Fieller's: all skills s for which the same test, on the loss differences
    a - (1 - s) b, does not reject. So it excludes 0 exactly where p < 5 %, and needs no seed and
    no block length, which a bootstrap does.
    """
    crps, log_score = (per_date(scores, column, h) for column in ("crps", "log_score"))
    for name in (model, reference):
        if name not in crps:
            raise UsageError(f"model {name!r} has no scores{suggestion(name, map(str, crps))}")
    a, b = crps[model].to_numpy(), crps[reference].to_numpy()
    c, d = log_score[model].to_numpy(), log_score[reference].to_numpy()
    p = log_score_p = low = high = math.nan
    if len(a) >= _fewest(h):
        p, log_score_p = diebold_mariano(a, b, h)[2], diebold_mariano(-c, -d, h)[2]
        low, high = _fieller(a, b, h)
    return Skill(
        model=model,
        reference=reference,
        h=h,
        n_dates=len(a),
        first=f"{crps.index[0]:%Y-%m-%d}",
        last=f"{crps.index[-1]:%Y-%m-%d}",
        crps_skill=0.0 if _equal(a, b) else float(1 - a.mean() / max(b.mean(), TINY)),
        low=low,
        high=high,
        p=p,
        log_score_gain=float((c - d).mean()),
        log_score_p=log_score_p,
    )


def best_naive(scores: pa.Table, names: Sequence[str], h: int) -> str:
    """Of the named models the one with the least mean CRPS at h.

    Chosen on the very rows that are compared: that favours the reference, never the challenger.
    """
    means = per_date(scores, "crps", h).mean()
    known = [name for name in names if name in means]
    if not known:
        raise UsageError(f"none of {', '.join(names)} has scores: nothing to compare with")
    return min(known, key=lambda name: (means[name], name))


def verdict(found: Skill) -> str:
    """One plain sentence, with n."""
    rival, gain = f"{found.reference} at h={found.h}", f"CRPS skill {_percent(found.crps_skill)}"
    sample = f"n = {found.n_dates:,} dates, {found.first} to {found.last}"
    if math.isnan(found.p):
        return f"too few dates to judge {found.model} against {rival}: {gain}, {sample}"
    interval = f"[{_percent(found.low)}, {_percent(found.high)}]"
    score = f"log score {found.log_score_gain:+.4f} nats, {_p(found.log_score_p)}"
    evidence = f"{gain} {interval}, {_p(found.p)}; {score}; {sample}"
    if found.p >= SIZE:
        return f"no edge shown for {found.model} over {rival}: {evidence}"
    agree = found.log_score_p < SIZE and (found.log_score_gain > 0) == (found.crps_skill > 0)
    how = "beats" if found.crps_skill > 0 else "is worse than"
    return f"{found.model} {how} {rival}{'' if agree else ' in CRPS alone'}: {evidence}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _percent(share: float) -> str:
    return f"{round(share, 4) + 0.0:+.2%}"  # + 0.0: no minus before a zero


def _fewest(h: int) -> int:
    return max(MIN_DATES, MIN_SPANS * h)


def _equal(a: Floats, b: Floats) -> bool:
    """Whether losses differ by rounding alone, which has a side and so can look significant."""
    return bool(np.abs(a - b).max() <= ROUNDING * np.abs(b).max())


def _fixed_b(n: int, lags: int) -> float:
    """How much wider the 5 % critical value is than the normal's at a bandwidth of b = share of n.

    Source: Kiefer and Vogelsang, Econometric Theory 21 (2005), table 1, Bartlett, 97.5 %.
    """
    b = (lags + 1) / n
    return (1.9600 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3) / 1.9600


def _fieller(a: Floats, b: Floats, h: int) -> tuple[float, float]:
    """95 % interval of 1 - mean(a) / mean(b): ratios r with |mean(a - r b)| <= c se(a - r b)."""
    n, lags = len(a), hac_lags(len(a), h)
    if _equal(a, b):
        return 0.0, 0.0
    losses = np.stack((a, b), axis=1)
    mean = losses.mean(axis=0)
    covariance = S_hac_simple(losses - mean, nlags=lags) / n**2
    harvey = math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    c = float(stats.t.ppf(1 - SIZE / 2, n - 1)) * _fixed_b(n, lags) / harvey
    # (mean_a - r mean_b)^2 - c^2 (V_aa - 2 r V_ab + r^2 V_bb) <= 0
    square, middle, constant = (
        float(mean[i] * mean[j] - c**2 * covariance[i, j]) for i, j in ((1, 1), (0, 1), (0, 0))
    )
    root = math.sqrt(max(middle**2 - square * constant, 0.0))
    if square <= 0:  # the reference's own mean is not distinguishable from zero
        return -math.inf, math.inf
    return 1 - (middle + root) / square, 1 - (middle - root) / square
