"""The one causal scale, and the shape of a bar in its units. Nothing else scales bars.

T bars of one symbol. Row t is computed from bars <= t: rewriting later bars leaves it byte-equal.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.signal import lfilter

from forecaster.bars import Bars, Floats
from forecaster.candle import Candles, traded

# RiskMetrics Technical Document (1996), section 5.3: the decay for daily data.
DECAY = 0.94
# Less than a ten-thousandth of a per cent a bar is a price that does not move.
SCALE_FLOOR = 1e-6
GEOMETRY = ("close_return", "gap", "upper_wick", "lower_wick", "activity")
Field = Literal["close_return", "gap", "upper_wick", "lower_wick", "activity"]
STILL = 1e-9  # deviation below which a column does not move
ACTIVITY_WINDOW = 66  # bars, about a quarter
SPANS = tuple(1 - 2 / (n + 1) for n in (5, 22, 66))  # decays of scales faster and slower than it
SLOW = 1 - 2 / 121  # decay of the bias of ranges: 120 bars
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


def candles(bars: Bars) -> Candles:
    """Each bar beside the close before it, which is NaN for the first."""
    previous = np.concatenate(([np.nan], bars.close[:-1]))
    return Candles(previous, bars.open, bars.high, bars.low, bars.close)


def range_variance(bars: Bars) -> Floats:
    """[T] an estimate of each bar's close-to-close log variance from its range; NaN at t = 0."""
    return candles(bars).range_variance


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
    shaped = [each / before for each in candles(bars).shape]
    return np.stack([log_return / before, *shaped, activity(bars)], axis=1)


def activity(bars: Bars) -> Floats:
    """[T] ln of value traded over its mean of the last ACTIVITY_WINDOW bars.

    NaN where volume is zero or unknown. Value (close times volume), for a split moves volume only.
    """
    value = bars.close * bars.volume
    known = traded(value)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, value, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    start = np.maximum(np.arange(1, len(bars) + 1) - ACTIVITY_WINDOW, 0)
    count = counts[1:] - counts[start]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (sums[1:] - sums[start]) / count
        return np.where(known, np.log(value / mean), np.nan)


def _inputs(log_return: Floats, variance: Floats, scale: Floats, geometry: Floats) -> Floats:
    """[T, 11] what `input_columns` makes of each bar's past."""
    spans = tuple(causal_scale(variance, decay) for decay in SPANS)
    before = np.concatenate(([np.nan], scale[:-1]))
    week = trailing_sum(log_return, 5)
    bias = range_bias(causal_scale(log_return**2, SLOW), causal_scale(variance, SLOW))
    past = Past(variance, before, scale, spans, week, bias)
    return input_columns(past, geometry[:, 0], geometry[:, 4])


def range_bias(squares: Floats, ranges: Floats) -> Floats:
    """Log ratio of two slow scales: how much less ranges see than close-to-close moves.

    They do where opens or highs are stale.
    """
    return np.log(squares / ranges)


@dataclass(frozen=True, eq=False)
class Past:
    """What the inputs of a bar need of the bars up to it; one shape, one entry a bar."""

    variance: Floats  # the bar's range variance
    before: Floats  # the scale known before the bar
    scale: Floats  # the one known after it
    spans: tuple[Floats, ...]  # causal scales of SPANS
    week: Floats  # sum of the last five log returns
    bias: Floats  # of ranges


def input_columns(past: Past, z: Floats, activity: Floats) -> Floats:
    """[..., 11] log scales, range surprise, leverage terms, the bias of ranges, activity."""
    log_scale = np.log(past.scale)
    spans = [np.log(each) - log_scale for each in past.spans]
    surprise = 0.5 * np.log(np.maximum(past.variance, SCALE_FLOOR**2)) - np.log(past.before)
    week = past.week / (past.scale * np.sqrt(5))
    columns = [
        log_scale,
        *spans,
        surprise,
        z,
        np.minimum(z, 0),
        week,
        np.minimum(week, 0),
        past.bias,
        activity,
    ]
    return np.stack(columns, axis=-1)


def trailing_sum(x: Floats, n: int) -> Floats:
    """[T] sum of the last n values; NaN until there are n known ones."""
    total = np.full(len(x), np.nan)
    if len(x) >= n:
        total[n - 1 :] = np.lib.stride_tricks.sliding_window_view(x, n).sum(axis=1)
    return total
