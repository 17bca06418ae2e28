"""The one causal scale, and the shape of a bar in its units. Nothing else scales bars.

T bars of one symbol. Row t is computed from bars <= t: rewriting later bars leaves it byte-equal.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from forecaster.bars import Bars, Floats

# RiskMetrics Technical Document (1996), section 5.3: the decay for daily data.
DECAY = 0.94
# Less than a ten-thousandth of a per cent a bar is a price that does not move.
SCALE_FLOOR = 1e-6
GEOMETRY = ("close_return", "gap", "upper_wick", "lower_wick", "activity")
Field = Literal["close_return", "gap", "upper_wick", "lower_wick", "activity"]
STILL = 1e-9  # deviation below which a column does not move
ACTIVITY_WINDOW = 66  # bars, about a quarter
WARM_UP = 66  # bars of a symbol that nothing is fitted on: the longest window is not full before


@dataclass(frozen=True, eq=False)
class Features:
    """What a model may know of bars <= t at bar t; every array's first axis is T."""

    scale: Floats  # [T] causal standard deviation of the next bar's log return
    log_return: Floats  # [T] ln C[t]/C[t-1]; NaN at t = 0
    geometry: Floats  # [T, 5] the fields of GEOMETRY in units of scale[t-1]; NaN where unknown
    inputs: Floats  # [T, I] continuous inputs, not yet standardised; NaN where unknown


def features(bars: Bars) -> Features:
    """Scale, geometry and inputs of one symbol's adjusted bars."""
    log_return = log_returns(bars)
    variance = range_variance(bars)
    scale = causal_scale(variance)
    before = np.concatenate(([np.nan], scale[:-1]))
    geometry = _geometry(bars, log_return, before)
    return Features(
        scale=scale,
        log_return=log_return,
        geometry=geometry,
        inputs=_inputs(log_return, variance, scale, geometry),
    )


def log_returns(bars: Bars) -> Floats:
    """[T] ln C[t]/C[t-1], NaN first. A ratio: prices times a power of two change no bit of it."""
    out = np.full(len(bars), np.nan)
    out[1:] = np.log(bars.close[1:] / bars.close[:-1])
    return out


def open_is_real(bars: Bars) -> NDArray[np.bool_]:
    """[T] whether the open was printed by a market.

    Index providers fill the open with the previous close (the S&P 500 in 95 % of bars before
    2006). A true open that happens to equal it loses its gap too: a small price for never
    reading a gap that is not one.
    """
    real = np.isfinite(bars.open)
    real[1:] &= bars.open[1:] != bars.close[:-1]
    return real


def range_variance(bars: Bars) -> Floats:
    """[T] an estimate of each bar's close-to-close log variance from its range.

    gap^2 + Garman-Klass (Journal of Business 1980) where the open is an open; Parkinson (1980) on
    the true range where it is not; the squared return where only closes are known. Garman-Klass is
    at least 0.11 of the squared range. Rogers-Satchell (1991) is zero for a bar that closes where
    its range ends, and logs of such a bar rule every mean. NaN at t = 0: no close before.
    """
    previous = np.concatenate(([np.nan], bars.close[:-1]))
    gap, spread = np.log(bars.open / previous), np.log(bars.high / bars.low)
    body = np.log(bars.close / bars.open)
    full = gap**2 + 0.5 * spread**2 - (2 * np.log(2) - 1) * body**2
    true_range = np.log(np.fmax(bars.high, previous) / np.fmin(bars.low, previous))
    parkinson = true_range**2 / (4 * np.log(2))
    squared = np.log(bars.close / previous) ** 2
    ranged = np.where(
        open_is_real(bars), full, np.where(np.isfinite(bars.high), parkinson, squared)
    )
    return np.where(np.isnan(previous), np.nan, np.maximum(ranged, 0.0))


def causal_mean(x: Floats, decay: float) -> Floats:
    """[T] exponentially weighted mean of x[<= t], NaN skipped.

    The weights are normalised, so that no start value is needed (one would look ahead).
    """
    known = np.isfinite(x)
    total = np.asarray(lfilter([1.0], [1.0, -decay], np.where(known, x, 0.0)))
    weight = np.asarray(lfilter([1.0], [1.0, -decay], known.astype(np.float64)))
    with np.errstate(invalid="ignore"):
        return np.where(weight > 0, total / weight, np.nan)


def causal_scale(variance: Floats, decay: float = DECAY) -> Floats:
    """[T] square root of the causal mean of a variance, at least SCALE_FLOOR; NaN at the start."""
    return np.maximum(np.sqrt(causal_mean(variance, decay)), SCALE_FLOOR)


def known_moments(x: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation [I] of each column of x [n, I] over its known values; 0 and 1 for none.

    A column that does not move has deviation 1, so that it can be divided by.
    """
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > STILL, spread, 1.0)


def cumulative_return(bars: Bars, horizon: int) -> Floats:
    """[T] ln C[t+horizon]/C[t], NaN where that close is not among these bars. Never an input."""
    out = np.full(len(bars), np.nan)
    if horizon < len(bars):
        out[:-horizon] = np.log(bars.close[horizon:] / bars.close[:-horizon])
    return out


def _geometry(bars: Bars, log_return: Floats, before: Floats) -> Floats:
    """[T, 5] return, gap and wicks in units of the scale known before the bar; activity."""
    real = open_is_real(bars)
    previous = np.concatenate(([np.nan], bars.close[:-1]))
    gap = np.log(bars.open / previous)
    upper = np.log(bars.high / np.maximum(bars.open, bars.close))
    lower = np.log(np.minimum(bars.open, bars.close) / bars.low)
    shaped = [np.where(real, x, np.nan) / before for x in (gap, upper, lower)]
    return np.stack([log_return / before, *shaped, activity(bars)], axis=1)


def activity(bars: Bars) -> Floats:
    """[T] ln of value traded over its mean of the last ACTIVITY_WINDOW bars.

    NaN where volume is zero or unknown. Value (close times volume), for a split moves volume only.
    """
    value = bars.close * bars.volume
    known = np.isfinite(value) & (value > 0)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, value, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    start = np.maximum(np.arange(1, len(bars) + 1) - ACTIVITY_WINDOW, 0)
    count = counts[1:] - counts[start]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (sums[1:] - sums[start]) / count
        return np.where(known, np.log(value / mean), np.nan)


def _inputs(log_return: Floats, variance: Floats, scale: Floats, geometry: Floats) -> Floats:
    """[T, 11] log scales, range surprise, leverage terms, the bias of ranges, activity."""
    log_scale = np.log(scale)
    spans = [np.log(causal_scale(variance, 1 - 2 / (n + 1))) - log_scale for n in (5, 22, 66)]
    before = np.concatenate(([np.nan], scale[:-1]))
    surprise = 0.5 * np.log(np.maximum(variance, SCALE_FLOOR**2)) - np.log(before)
    week = trailing_sum(log_return, 5) / (scale * np.sqrt(5))
    # Ranges see less than close-to-close moves where opens or highs are stale: this says how much.
    slow = 1 - 2 / 121
    bias = np.log(causal_scale(log_return**2, slow) / causal_scale(variance, slow))
    z = geometry[:, 0]
    columns = [
        log_scale,
        *spans,
        surprise,
        z,
        np.minimum(z, 0),
        week,
        np.minimum(week, 0),
        bias,
        geometry[:, 4],
    ]
    return np.stack(columns, axis=1)


def trailing_sum(x: Floats, n: int) -> Floats:
    """[T] sum of the last n values; NaN until there are n known ones."""
    total = np.full(len(x), np.nan)
    if len(x) >= n:
        total[n - 1 :] = np.lib.stride_tricks.sliding_window_view(x, n).sum(axis=1)
    return total
