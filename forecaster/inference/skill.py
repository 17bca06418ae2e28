"""How much better, how sure, and in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from forecaster.errors import UsageError
from forecaster.inference.losses import Losses, losses_at
from forecaster.inference.mean_tests import (
    SIZE,
    detectable,
    diebold_mariano,
    equal,
    fewest,
    fieller,
)

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
    # Least effects that this test finds with 80 % power at 5 %: minimum detectable effects.
    detectable_skill: float
    detectable_gain: float  # nats


def skill(scores: pa.Table, model: str, reference: str, h: int) -> Skill:
    """`compare` on a table of scores. Raises DataError where models stand on different rows."""
    return compare(losses_at(scores, h), model, reference)


def compare(losses: Losses, model: str, reference: str) -> Skill:
    """CRPS skill of a model over a reference, with p and an interval that agree.

    The interval is Fieller's: all skills s for which the same test, on the loss differences
    a - (1 - s) b, does not reject. So it excludes 0 exactly where p < 5 %, and needs no seed and
    no block length, which a bootstrap does.
    """
    h = losses.h
    (a, c), (b, d) = losses.of(model), losses.of(reference)
    p = log_score_p = low = high = least_skill = least_gain = math.nan
    scale = max(float(b.mean()), TINY)
    if len(a) >= fewest(h):
        p, log_score_p = diebold_mariano(a, b, h)[2], diebold_mariano(c, d, h)[2]
        low, high = fieller(a, b, h)
        least_skill, least_gain = detectable(a, b, h) / scale, detectable(c, d, h)
    cutoffs = losses.crps.index
    return Skill(
        model=model,
        reference=reference,
        h=h,
        n_dates=len(a),
        first=f"{cutoffs[0]:%Y-%m-%d}",
        last=f"{cutoffs[-1]:%Y-%m-%d}",
        crps_skill=0.0 if equal(a, b) else float(1 - a.mean() / scale),
        low=low,
        high=high,
        p=p,
        log_score_gain=float((d - c).mean()),
        log_score_p=log_score_p,
        detectable_skill=least_skill,
        detectable_gain=least_gain,
    )


def best_naive(scores: pa.Table, names: Sequence[str], h: int) -> str:
    """`best_of` on a table of scores."""
    return best_of(losses_at(scores, h), names)


def best_of(losses: Losses, names: Sequence[str]) -> str:
    """Of the named models the one with the least mean CRPS.

    Chosen on the very rows that are compared: that favours the reference, never the challenger.
    """
    means = losses.crps.mean()
    known = [name for name in names if name in means]
    if not known:
        raise UsageError(f"none of {', '.join(names)} has scores: nothing to compare with")
    return min(known, key=lambda name: (means[name], name))


def verdict(found: Skill) -> str:
    """One plain sentence, with n; where no edge is shown, with what could have been seen."""
    rival, gain = f"{found.reference} at h={found.h}", f"CRPS skill {_percent(found.crps_skill)}"
    sample = f"n = {found.n_dates:,} dates, {found.first} to {found.last}"
    if math.isnan(found.p):
        return f"too few dates to judge {found.model} against {rival}: {gain}, {sample}"
    interval = f"[{_percent(found.low)}, {_percent(found.high)}]"
    score = f"log score {found.log_score_gain:+.4f} nats, {p_text(found.log_score_p)}"
    evidence = f"{gain} {interval}, {p_text(found.p)}; {score}; {sample}"
    if found.p >= SIZE:
        seen = f"{found.detectable_skill:.2%} and {found.detectable_gain:.4f} nats"
        return (
            f"no edge shown for {found.model} over {rival}: {evidence};"
            f" the test sees effects above {seen}"
        )
    agree = found.log_score_p < SIZE and (found.log_score_gain > 0) == (found.crps_skill > 0)
    how = "beats" if found.crps_skill > 0 else "is worse than"
    return f"{found.model} {how} {rival}{'' if agree else ' in CRPS alone'}: {evidence}"


def p_text(p: float) -> str:
    """In a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _percent(share: float) -> str:
    return f"{round(share, 4) + 0.0:+.2%}"  # + 0.0: no minus before a zero
