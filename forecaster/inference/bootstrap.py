"""Which models could be the best, and is any better than a benchmark: resampling by `arch`.

n dates, k models. Blocks keep the memory of overlapping forecasts; the seed is fixed, so that the
same losses give the same answers.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from arch.bootstrap import MCS, SPA, StationaryBootstrap, optimal_block_length

from forecaster.bars import Floats
from forecaster.inference.losses import Losses
from forecaster.inference.mean_tests import (
    SIZE,
    caution,
    equal,
    fewest,
    standard_errors,
)

REPS = 1000
SEED = 0
MCS_SIZE = 0.1  # a 90 % confidence set
MOST_ROWS = 1000  # what is resampled; SPA takes time with the square of it
FEWEST_BLOCKS = 8


@dataclass(frozen=True)
class ConfidenceSet:
    """Models of which, with 90 % confidence, one is the best; and each model's p-value."""

    kept: tuple[str, ...]  # best first
    p: dict[str, float]  # kept where at least 10 %
    block: int  # mean block length in dates


@dataclass(frozen=True)
class Intervals:
    """95 % percentile intervals of a model's gains over a rival."""

    block: int  # mean block length in dates
    crps_skill: tuple[float, float]
    log_score_gain: tuple[float, float]  # nats a forecast


def block_length(losses: pd.DataFrame, h: int) -> int:
    """Mean block in dates: what `arch` finds best for the differences to the mean, at least 2 h.

    A block of h sees half of what forecasts of h bars share; never so long that fewer than eight
    blocks are left. Source of the first: Politis and White (Econometric Reviews 2004, corrected).
    """
    values = losses.to_numpy()
    differences = values - values.mean(axis=1, keepdims=True)
    moving = differences[:, np.ptp(differences, axis=0) > 0]
    best = optimal_block_length(moving)["stationary"].max() if moving.size else 1.0
    return max(1, min(max(2 * h, math.ceil(best)), len(values) // FEWEST_BLOCKS))


def confidence_set(losses: pd.DataFrame, h: int) -> ConfidenceSet | None:
    """The Model Confidence Set at 90 % of losses [n, k]; None for too few dates or one model.

    A model equal to an earlier one is kept or not as that is. Source: Hansen, Lunde and Nason,
    The model confidence set (Econometrica 2011), range statistic.
    """
    names, twins = [str(name) for name in losses], _twins(losses)
    distinct = losses[sorted(set(twins.values()), key=names.index)]
    if len(losses) < fewest(h) or distinct.shape[1] < 2:
        return None
    block = block_length(distinct, h)
    values, size = grouped(distinct.to_numpy(), block)
    values = _cautious(values, caution(len(losses), h, 2 * block))
    found = MCS(values, MCS_SIZE, REPS, size, seed=SEED)
    found.compute()
    column = {name: i for i, name in enumerate(distinct)}
    p = {name: float(found.pvalues["Pvalue"][column[twins[name]]]) for name in names}
    means = losses.mean()
    kept = sorted((m for m in p if p[m] >= MCS_SIZE), key=lambda m: (means[m], m))
    return ConfidenceSet(tuple(kept), p, block)


def superior(losses: pd.DataFrame, benchmark: str, h: int) -> float | None:
    """p of "no other model is better than the benchmark"; small where one is. None for few dates.

    Hansen's test for superior predictive ability (JBES 2005), consistent p-value. The differences
    are divided by their HAC standard errors first: `arch` leaves the statistic unstudentised,
    so that one erratic model would hide all others.
    """
    base = losses[benchmark].to_numpy()
    rivals = [losses[m].to_numpy() for m in losses if m != benchmark]
    gains = [base - other for other in rivals if not equal(other, base)]
    if len(losses) < fewest(h) or not gains:
        return None
    gain = np.stack(gains, axis=1)
    gain = gain / np.maximum(standard_errors(gain, h) * math.sqrt(len(gain)), np.finfo(float).tiny)
    block = block_length(losses, h)
    values, size = grouped(gain, block)
    values = _cautious(values, caution(len(losses), h, 2 * block))
    found = SPA(np.zeros(len(values)), -values, size, REPS, seed=SEED)
    found.compute()
    return float(found.pvalues["consistent"])


def intervals(losses: Losses, model: str, rival: str) -> Intervals | None:
    """By the stationary bootstrap, beside those of the HAC test; None for too few dates.

    Source: Politis and Romano, The stationary bootstrap (JASA 1994).
    """
    h, (a, c), (b, d) = losses.h, losses.of(model), losses.of(rival)
    if len(a) < fewest(h):
        return None
    pairs = (losses.crps[[model, rival]], losses.log_loss[[model, rival]])
    block = max(block_length(pair, h) for pair in pairs)
    if equal(a, b):
        return Intervals(block, (0.0, 0.0), (0.0, 0.0))
    rows, size = grouped(np.stack((a, b, d - c), axis=1), block)
    drawn = StationaryBootstrap(size, rows, seed=SEED).apply(lambda x: x.mean(axis=0), REPS)
    wider = caution(len(a), h, 2 * block)
    scale = np.maximum(drawn[:, 1], np.finfo(float).tiny)
    skill = _around(float(1 - a.mean() / b.mean()), 1 - drawn[:, 0] / scale, wider)
    return Intervals(block, skill, _around(float((d - c).mean()), drawn[:, 2], wider))


def _around(middle: float, drawn: Floats, wider: float) -> tuple[float, float]:
    low, high = middle + wider * (np.quantile(drawn, [SIZE / 2, 1 - SIZE / 2]) - middle)
    return float(low), float(high)


def _twins(losses: pd.DataFrame) -> dict[str, str]:
    """Each model -> the first whose losses are the same: their difference has no variance."""
    found: dict[str, str] = {}
    for name in losses:
        values = losses[name].to_numpy()
        same = (m for m in set(found.values()) if equal(values, losses[m].to_numpy()))
        found[str(name)] = next(same, str(name))
    return found


def _cautious(values: Floats, factor: float) -> Floats:
    """The same rows with means divided by the factor: what is resampled around them stays.

    A few long blocks show less variance than there is: without this, 8 to 14 % are rejected at
    5 % for h = 20. The factor is the fixed-b one of the HAC test, at a bandwidth of two blocks.
    """
    return values - values.mean(axis=0) * (1 - 1 / factor)


def grouped(values: Floats, block: int) -> tuple[Floats, int]:
    """At most MOST_ROWS rows with the means of the values, and the block of dates in such rows.

    Sums of neighbours, so that mean and long-run variance stay what they are.
    """
    n = len(values)
    if n <= MOST_ROWS:
        return values, block
    starts = np.arange(MOST_ROWS) * n // MOST_ROWS
    sums = np.add.reduceat(values, starts, axis=0) * (MOST_ROWS / n)
    return sums, math.ceil(block * MOST_ROWS / n)
