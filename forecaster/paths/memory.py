"""What a path has to remember so that its next bar can be read as any other bar is.

Features and regressors of a bar look back on windows and on exponential averages without end. Here
they move one bar at a time, for N paths at once: what a whole series gives, which is a law.
N paths, T bars of a symbol, W bars of the longest window, A averages, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from forecaster.bars import Bars, Floats, Panel
from forecaster.candle import Candles
from forecaster.econometrics.regressors import FLOOR, MEANS, WINDOW, floored, regressor_columns
from forecaster.features import (
    DECAY,
    SCALE_FLOOR,
    SLOW,
    SPANS,
    Features,
    Past,
    candles,
    features,
    input_columns,
    log_returns,
    range_bias,
    range_variance,
)
from forecaster.tokens import BarTokenizer

DECAYS = np.array([DECAY, *SPANS, SLOW, SLOW])  # of range variances; the last one of squares
MOST_OF_WINDOW = 0.9  # of all that a window trades: what one drawn bar may be
WINDOWED = ("log_return", "variance", "log_variance", "value")


@dataclass(frozen=True, eq=False)
class Remembered:
    """Of one symbol's bars: what paths from any of them need."""

    symbol: str
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


class PathMemory:
    """N paths that begin at bar `bar[i]` of member `member[i]` and grow bar by bar together."""

    def __init__(
        self,
        members: Sequence[Remembered],
        tokenizer: BarTokenizer,
        member: NDArray[np.int64],
        bar: NDArray[np.int64],
    ) -> None:
        self.members, self.tokenizer, self.member = members, tokenizer, member
        self.close = _at(members, member, bar, "close")
        self.scale = _at(members, member, bar, "scale")
        self.scales = _at(members, member, bar, "scales")  # [N, H]
        self.activity = _at(members, member, bar, "activity")
        self.total = _at(members, member, bar, "total")
        self.weight = _at(members, member, bar, "weight")
        starts = [_windows(members[m], t) for m, t in zip(member, bar, strict=True)]
        self.windowed = np.stack(starts, axis=1)  # [4, N, W]
        recent = [slice(max(0, t - WINDOW + 1), t + 1) for t in bar]
        pairs = list(zip(member, recent, strict=True))
        ranged = np.array([members[m].ranged[s].mean() for m, s in pairs])
        real = np.array([members[m].real[s].mean() for m, s in pairs])
        self.has_range = ranged > 0  # [N] of any of the last W bars
        self.has_volume = (self.windowed[3] > 0).any(axis=1)
        self.filled = 1 - real / np.where(
            self.has_range, ranged, 1.0
        )  # [N] share of opens that are none

    @property
    def next_scale(self) -> Floats:
        """[N] the prior's scale of the next bar's return."""
        return self.scales[:, self.tokenizer.horizons.index(1)]

    def volume_of(self, activity: Floats, close: Floats) -> Floats:
        """What the next bar trades [N] if it is that active and closes there; NaN without volume.

        Activity is the log of value over its mean of the window, the bar itself included.
        """
        before = self.windowed[3, :, 1:]
        count = (before > 0).sum(axis=1) + 1
        share = np.minimum(np.exp(activity), MOST_OF_WINDOW * count)
        value = before.sum(axis=1) * share / (count - share)
        return np.where(self.has_volume & (value > 0), value / close, np.nan)

    def append(self, bar: Candles, volume: Floats) -> Features:
        """One more bar on every path [N], volume NaN where unknown: Features, one row a path."""
        before, variance = self.scale, bar.range_variance
        log_return = np.log(bar.close / self.close)
        value = np.nan_to_num(bar.close * volume)
        window = np.concatenate((self.windowed[:, :, 1:], np.empty((4, len(value), 1))), axis=2)
        window[:, :, -1] = np.stack([log_return, variance, variance, value])
        log_variance = np.log(np.maximum(variance, _floors(window[1])))
        window[2, :, -1] = log_variance
        drives = np.stack([variance] * (len(DECAYS) - 1) + [log_return**2], axis=1)
        self.total = drives + DECAYS * self.total
        self.weight = 1 + DECAYS * self.weight
        average = np.maximum(np.sqrt(self.total / self.weight), SCALE_FLOOR)
        self.windowed, self.close, self.scale = window, bar.close, average[:, 0]
        bias = range_bias(average[:, -1], average[:, -2])
        spans = tuple(average[:, 1 : 1 + len(SPANS)].T)
        past = Past(variance, before, self.scale, spans, _sum(window[0], 5), bias)
        self.activity = activity = _activity(window[3])
        shaped = [log_return / before, *(each / before for each in bar.shape), activity]
        means = tuple(_sum(window[2], n) / n for n in MEANS)
        sums = tuple(_sum(window[0], n) for n in (5, 22))
        x = regressor_columns(log_variance, means, log_return, sums, (activity, bias))
        self.scales = self._prior_scales(x)
        return Features(
            scale=self.scale,
            log_return=log_return,
            geometry=np.stack(shaped, axis=1),
            inputs=input_columns(past, shaped[0], activity),
        )

    def _prior_scales(self, x: Floats) -> Floats:
        """Regressors [N, F] -> [N, H]."""
        out = np.empty_like(self.scales)
        for m in np.unique(self.member):
            rows = self.member == m
            prior, symbol = self.tokenizer.prior, self.members[m].symbol
            out[rows] = prior.scales_at(symbol, x[rows], self.scale[rows])
        return out


def remember_all(panel: Panel, tokenizer: BarTokenizer) -> list[Remembered]:
    """One a member."""
    return [remember(bars, tokenizer) for bars in panel]


def _at(
    members: Sequence[Remembered], member: NDArray[np.int64], bar: NDArray[np.int64], name: str
) -> Floats:
    """Column `name` of each path's member at its bar, [N, ...]."""
    out = np.empty((len(bar), *getattr(members[0], name).shape[1:]))
    for m in np.unique(member):
        rows = member == m
        out[rows] = getattr(members[m], name)[bar[rows]]
    return out


def _windows(member: Remembered, t: int) -> Floats:
    """[4, W] up to bar t, NaN (values: 0) before the first bar."""
    found = member.windowed[:, max(0, t - WINDOW + 1) : t + 1]
    out = np.full((len(WINDOWED), WINDOW), np.nan)
    out[-1] = 0.0
    out[:, WINDOW - found.shape[1] :] = found
    return out


def _floors(variance: Floats) -> Floats:
    """Windows [N, W] -> [N] the least variance that counts, as `floored` has it."""
    median = np.median if np.isfinite(variance).all() else np.nanmedian
    return np.maximum(FLOOR * median(variance, axis=1), 1e-12)


def _sum(window: Floats, n: int) -> Floats:
    """Windows [N, W] -> [N] sums of the last n."""
    return window[:, -n:].sum(axis=1)


def _activity(value: Floats) -> Floats:
    """Windows [N, W] of values, 0 where unknown -> [N], NaN where the last one is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = value.sum(axis=1) / (value > 0).sum(axis=1)
        return np.where(value[:, -1] > 0, np.log(value[:, -1] / mean), np.nan)
