"""All of the past at one weight, and the past of one season: naive laws of h-bar returns.

T bars of a symbol, N origins, H horizons. A return counts once it has ended by the origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, Panel, duration
from forecaster.baselines.per_symbol import at_origins
from forecaster.distributions import Gaussian, StudentT
from forecaster.econometrics.student_t import Shape, fit_shape
from forecaster.features import SCALE_FLOOR, WARM_UP, cumulative_return
from forecaster.protocol import Origins

DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class ExpandingGaussian:
    """Normal with mean and variance of all h-bar returns so far."""

    name: str = "expanding_gaussian"
    notes: tuple[str, ...] = ()

    def fit(self, history: Panel, horizons: Sequence[int]) -> "ExpandingGaussian":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""
        moments = at_origins(past, origins, lambda _, bars: expanding_moments(bars, horizons))
        return Gaussian(moments[..., 0], moments[..., 1])


@dataclass(frozen=True)
class ExpandingStudentT:
    """Student-t a symbol and horizon, in units of the deviation of all h-bar returns so far."""

    name: str = "expanding_student_t"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedExpanding":
        """Shapes by maximum likelihood; overlapping targets, all inside the history."""
        shapes = []
        for bars in history:
            returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
            z = returns / expanding_moments(bars, horizons)[..., 1]
            shapes.append(tuple(fit_shape(column) for column in z[WARM_UP:].T))
        return FittedExpanding(tuple(shapes))


@dataclass(frozen=True)
class FittedExpanding:
    """One shape a member and horizon."""

    shapes: tuple[tuple[Shape, ...], ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> StudentT:
        """StudentT [N, H]."""
        moments = at_origins(past, origins, lambda _, bars: expanding_moments(bars, horizons))
        table = np.array([[(s.loc, s.scale, s.df) for s in row] for row in self.shapes])
        loc, width, df = np.moveaxis(table[origins.member], -1, 0)
        return StudentT(loc * moments[..., 1], width * moments[..., 1], df)


@dataclass(frozen=True)
class Seasonal:
    """Normal, no drift, mean square of the last `window` h-bar returns that began in this season.

    A season is a time of day (UTC) for bars within a day and a weekday for daily bars; weekly bars
    have none, and then it is the last `window` returns. Fewer than `window`: all returns so far.
    """

    window: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`seasonal_20` for 20 returns."""
        return f"seasonal_{self.window}"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "Seasonal":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""
        scales = at_origins(past, origins, lambda _, bars: self._scales(bars, horizons))
        return Gaussian(np.zeros_like(scales), scales)

    def _scales(self, bars: Bars, horizons: Sequence[int]) -> Floats:
        """[T, H]."""
        out = expanding_moments(bars, horizons)[..., 1]
        season = season_of(bars)
        for j, h in enumerate(horizons):
            squares = np.nan_to_num(cumulative_return(bars, h) ** 2)
            for each in np.unique(season):
                own = np.flatnonzero(season == each)
                total = np.concatenate(([0.0], squares[own].cumsum()))
                ended = np.searchsorted(own, own - h, side="right")  # had ended at each of them
                rows = ended >= self.window
                stop = ended[rows]
                mean = (total[stop] - total[stop - self.window]) / self.window
                out[own[rows], j] = np.maximum(np.sqrt(np.maximum(mean, 0.0)), SCALE_FLOOR)
        return out


def season_of(bars: Bars) -> NDArray[np.int64]:
    """[T] the season of each bar, from its label alone."""
    length = duration(bars.interval)
    if length < DAY:
        since_midnight = bars.opened_at - bars.opened_at.astype("datetime64[D]")
        return since_midnight.astype(np.int64) // length.astype("timedelta64[us]").astype(np.int64)
    if length == DAY:
        return (bars.opened_at.astype("datetime64[D]").astype(np.int64) + 3) % 7  # Monday is 0
    return np.zeros(len(bars), dtype=np.int64)


def expanding_moments(bars: Bars, horizons: Sequence[int]) -> Floats:
    """[T, H, 2] mean and deviation of the h-bar returns that had ended; 0 and a floor for none."""
    out = np.zeros((len(bars), len(horizons), 2))
    for j, h in enumerate(horizons):
        ended = cumulative_return(bars, h)[: max(len(bars) - h, 0)]
        count = np.arange(1, len(ended) + 1)
        mean = ended.cumsum() / count
        variance = (ended**2).cumsum() / count - mean**2
        out[h:, j, 0] = mean
        out[h:, j, 1] = np.sqrt(np.maximum(variance, 0.0))
    out[..., 1] = np.maximum(out[..., 1], SCALE_FLOOR)
    return out
