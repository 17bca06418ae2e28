"""The regressors of HARX: what past ranges, returns and activity say of the next bars' scale.

Bars within a day have their season beside them: see `season.py`.

T bars of one symbol, F regressors. Row t is computed from bars <= t.
"""

import numpy as np
import pandas as pd

from forecaster.bars import Bars, Floats
from forecaster.econometrics.memo import per_bars
from forecaster.econometrics.season import is_intraday, session_clock
from forecaster.features import (
    SLOW,
    activity,
    causal_scale,
    log_returns,
    range_bias,
    range_variance,
    trailing_sum,
)

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
MEANS = (5, 22, 66)  # bars
WINDOW = 66  # bars: the longest mean, and the window of the floor
# A bar that hardly moved has a range variance near zero, whose log would rule every mean.
FLOOR = 0.02  # of the window's median


@per_bars
def regressors(bars: Bars) -> Floats:
    """[T, F] REGRESSORS, then SEASON of bars within a day; NaN where a window is not full yet or
    volume is unknown.

    Source: Corsi, A Simple Approximate Long-Memory Model of Realized Volatility (JFEC 2009), in
    logs and of range variances; leverage terms as in Corsi and Reno (JBES 2012).
    """
    log_return, variance = log_returns(bars), range_variance(bars)
    log_variance = np.log(floored_variance(bars))
    means = tuple(trailing_sum(log_variance, n) / n for n in MEANS)
    sums = tuple(trailing_sum(log_return, n) for n in (5, 22))
    bias = range_bias(causal_scale(log_return**2, SLOW), causal_scale(variance, SLOW))
    x = regressor_columns(log_variance, means, log_return, sums, (activity(bars), bias))
    if not is_intraday(bars.interval):
        return x
    return np.concatenate((x, session_clock(bars).columns), axis=1)


def regressor_columns(
    log_variance: Floats,
    means: tuple[Floats, ...],
    log_return: Floats,
    sums: tuple[Floats, ...],
    others: tuple[Floats, Floats],
) -> Floats:
    """[..., F] of a bar's log variance and its means over MEANS, its log return and the sums of the
    last 5 and 22, its activity and the bias of its ranges; each [...].
    """
    month = np.exp(0.5 * means[1])
    z = [log_return / month]
    z += [s / n * np.sqrt(n) / month for s, n in zip(sums, (5, 22), strict=True)]
    leverage = [z[0], np.minimum(z[0], 0), z[1], np.minimum(z[1], 0), np.minimum(z[2], 0)]
    return np.stack([log_variance, *means, *leverage, *others], axis=-1)


@per_bars
def floored_variance(bars: Bars) -> Floats:
    """[T] the floored range variance of each bar."""
    return floored(range_variance(bars))


def floored(variance: Floats) -> Floats:
    """[T] at least FLOOR of the median of the last WINDOW values, and above zero. Causal."""
    if not len(variance):  # a symbol that is not there yet
        return variance
    median = pd.Series(variance).rolling(WINDOW, min_periods=1).median().to_numpy()
    return np.maximum(np.maximum(variance, FLOOR * median), 1e-12)
