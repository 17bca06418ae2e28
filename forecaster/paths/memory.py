"""What a path has to remember so that its next bar can be read as any other bar is.

Features and regressors of a bar look back on windows and on exponential averages without end. Here
they move one bar at a time, for N paths at once: what a whole series gives, which is a law.
N paths, W bars of the longest window, A averages, H horizons.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.candle import Candles
from forecaster.econometrics.regressors import FLOOR, MEANS, WINDOW, regressor_columns
from forecaster.econometrics.season import SessionClock, is_intraday
from forecaster.features import SCALE_FLOOR, SPANS, Features, Past, input_columns, range_bias
from forecaster.paths.remembered import DECAYS, Remembered, walkable, window_of
from forecaster.tokens import BarTokenizer

MOST_OF_WINDOW = 0.9  # of all that a window trades: what one drawn bar may be


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
        self.prior = walkable(tokenizer)
        self.close = _at(members, member, bar, "close")
        self.scale = _at(members, member, bar, "scale")
        self.scales = _at(members, member, bar, "scales")  # [N, H]
        self.activity = _at(members, member, bar, "activity")
        self.total = _at(members, member, bar, "total")
        self.weight = _at(members, member, bar, "weight")
        self.interval = members[0].interval
        parts = [_at([m.clock for m in members], member, bar, f.name) for f in fields(SessionClock)]
        self.clock = SessionClock(*parts)
        starts = [window_of(members[m], t) for m, t in zip(member, bar, strict=True)]
        self.windowed = np.stack(starts, axis=1)  # [4, N, W]
        recent = [slice(max(0, t - WINDOW + 1), t + 1) for t in bar]
        pairs = list(zip(member, recent, strict=True))
        ranged = np.array([members[m].ranged[s].mean() for m, s in pairs])
        real = np.array([members[m].real[s].mean() for m, s in pairs])
        self.has_range = ranged > 0  # [N] of any of the last W bars
        self.has_volume = (self.windowed[3] > 0).any(axis=1)
        # [N] share of opens that are none
        self.filled = 1 - real / np.where(self.has_range, ranged, 1.0)

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
        if is_intraday(self.interval):
            self.clock = self.clock.following(self.interval)
            x = np.concatenate((x, self.clock.columns), axis=1)
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
            out[rows] = self.prior.scales_at(self.members[m].symbol, x[rows], self.scale[rows])
        return out


def _at(
    members: Sequence[Any], member: NDArray[np.int64], bar: NDArray[np.int64], name: str
) -> NDArray[Any]:
    """Column `name` of each path's member at its bar, [N, ...]."""
    first = getattr(members[0], name)
    out = np.empty((len(bar), *first.shape[1:]), dtype=first.dtype)
    for m in np.unique(member):
        rows = member == m
        out[rows] = getattr(members[m], name)[bar[rows]]
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
