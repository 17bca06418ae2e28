"""What paths need of the bars before them: everything at or before each bar, nothing after it.

T bars of a symbol, W bars of the longest window, A averages, H horizons.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from forecaster.bars import Bars, Floats, Panel
from forecaster.econometrics.regressors import WINDOW, floored
from forecaster.econometrics.season import SessionClock, session_clock
from forecaster.errors import UsageError
from forecaster.features import (
    DECAY,
    SLOW,
    SPANS,
    candles,
    features,
    log_returns,
    range_variance,
)
from forecaster.tokens import BarTokenizer
from forecaster.tokens.levels import LevelPrior
from forecaster.tokens.prior import HarxPrior, RangePrior

DECAYS = np.array([DECAY, *SPANS, SLOW, SLOW])  # of range variances; the last one of squares
WINDOWED = ("log_return", "variance", "log_variance", "value")


@dataclass(frozen=True, eq=False)
class Remembered:
    """Of one symbol's bars: what paths from any of them need."""

    symbol: str
    interval: str
    clock: SessionClock
    close: Floats  # [T]
    scale: Floats  # [T] the features' causal scale
    scales: Floats  # [T, H] the prior's
    activity: Floats  # [T] NaN where unknown
    windowed: Floats  # [4, T] rows of WINDOWED; a value that is unknown is 0
    total: Floats  # [T, A] of the averages of DECAYS, not yet divided by
    weight: Floats  # [T, A]
    real: NDArray[np.bool_]  # [T] whether the open is one
    ranged: NDArray[np.bool_]  # [T] whether there is a range at all


def remember(bars: Bars, tokenizer: BarTokenizer) -> Remembered:
    """Everything at or before each bar, nothing after it."""
    known, variance, log_return = features(bars), range_variance(bars), log_returns(bars)
    value = np.nan_to_num(bars.close * bars.volume)
    drives = np.stack([variance] * (len(DECAYS) - 1) + [log_return**2])
    there = np.isfinite(drives)
    total, weight = (
        np.stack([lfilter([1.0], [1.0, -d], x) for d, x in zip(DECAYS, each, strict=True)], axis=1)
        for each in (np.where(there, drives, 0.0), there.astype(np.float64))
    )
    return Remembered(
        symbol=bars.symbol,
        interval=bars.interval,
        clock=session_clock(bars),
        close=bars.close,
        scale=known.scale,
        scales=tokenizer.scales(bars, known),
        activity=known.geometry[:, 4],
        windowed=np.stack([log_return, variance, np.log(floored(variance)), value]),
        total=total,
        weight=weight,
        real=candles(bars).open_is_real,
        ranged=np.isfinite(bars.high),
    )


def walkable(tokenizer: BarTokenizer) -> RangePrior | HarxPrior:
    """The prior, where it can be taken along a path. Raises UsageError where it cannot."""
    if isinstance(tokenizer.prior, LevelPrior):
        raise UsageError("tokens levels have no scale of a single bar: paths need another kind")
    if 1 not in tokenizer.horizons:
        raise UsageError(
            f"horizons {tokenizer.horizons} were learnt: paths go bar by bar and need horizon 1"
        )
    return tokenizer.prior


def remember_all(panel: Panel, tokenizer: BarTokenizer) -> list[Remembered]:
    """One a member."""
    return [remember(bars, tokenizer) for bars in panel]


def window_of(member: Remembered, t: int) -> Floats:
    """[4, W] up to bar t, NaN (values: 0) before the first bar."""
    found = member.windowed[:, max(0, t - WINDOW + 1) : t + 1]
    out = np.full((len(WINDOWED), WINDOW), np.nan)
    out[-1] = 0.0
    out[:, WINDOW - found.shape[1] :] = found
    return out
