"""The regressors of HARX: what past ranges, returns and activity say of the next bars' scale.

T bars of one symbol, F regressors. Row t is computed from bars <= t.
"""

import numpy as np

from forecaster.bars import Bars, Floats
from forecaster.features import activity, causal_scale, log_returns, range_variance, trailing_sum

REGRESSORS = (
    "log_variance",
    "log_variance_5",
    "log_variance_22",
    "log_variance_66",
    "return",
    "loss",
    "return_5",
    "loss_5",
    "loss_22",
    "activity",
    "range_bias",
)
WINDOW = 66  # bars: the longest mean, and the window of the floor
# A bar that hardly moved has a range variance near zero, whose log would rule every mean.
FLOOR = 0.02  # of the window's median
SLOWEST = 120  # bars, of the bias of ranges


def regressors(bars: Bars) -> Floats:
    """[T, F]; NaN where a window is not full yet or volume is unknown.

    Source: Corsi, A Simple Approximate Long-Memory Model of Realized Volatility (JFEC 2009), in
    logs and of range variances; leverage terms as in Corsi and Reno (JBES 2012).
    """
    log_return = log_returns(bars)
    log_variance = np.log(floored(range_variance(bars)))
    means = [trailing_sum(log_variance, n) / n for n in (5, 22, 66)]
    month = np.exp(0.5 * means[1])
    z = [log_return / month] + [
        trailing_sum(log_return, n) / n * np.sqrt(n) / month for n in (5, 22)
    ]
    decay = 1 - 2 / (SLOWEST + 1)
    squares, ranges = log_return**2, range_variance(bars)
    bias = np.log(causal_scale(squares, decay) / causal_scale(ranges, decay))
    leverage = [z[0], np.minimum(z[0], 0), z[1], np.minimum(z[1], 0), np.minimum(z[2], 0)]
    return np.stack([log_variance, *means, *leverage, activity(bars), bias], axis=1)


def floored(variance: Floats) -> Floats:
    """[T] at least FLOOR of the median of the last WINDOW values, and above zero. Causal."""
    padded = np.concatenate((np.full(WINDOW - 1, np.nan), variance))
    if not len(variance):  # a symbol that is not there yet
        return variance
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    with np.errstate(all="ignore"):
        known = np.isfinite(windows).any(axis=1)
        median = np.full(len(variance), np.nan)
        median[known] = np.nanmedian(windows[known], axis=1)
    return np.maximum(np.maximum(variance, FLOOR * median), 1e-12)
