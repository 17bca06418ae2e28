"""The bar to beat: no model of volatility beyond an average over a window.

Each is refitted by nothing: it reads the returns known at the origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines.per_symbol import at_origins, scale_by_root
from forecaster.distributions import Empirical, Gaussian
from forecaster.features import SCALE_FLOOR, cumulative_return, log_returns
from forecaster.protocol import Origins


@dataclass(frozen=True)
class RandomWalk:
    """Normal, no drift, variance h times the mean squared return of all bars so far."""

    name: str = "random_walk"
    notes: tuple[str, ...] = ()

    def fit(self, history: Panel, horizons: Sequence[int]) -> "RandomWalk":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""

        def scale(_: int, bars: Bars) -> Floats:
            squares = np.nan_to_num(log_returns(bars) ** 2)
            count = np.maximum(np.arange(len(bars)), 1)
            return scale_by_root(_root(squares.cumsum() / count), horizons)

        scales = at_origins(past, origins, scale)
        return Gaussian(np.zeros_like(scales), scales)


@dataclass(frozen=True)
class Drift:
    """Normal, mean h times the mean return of all bars so far, variance as the random walk's.

    Beside the random walk it says how much of a score is the long-run drift alone.
    """

    name: str = "drift"
    notes: tuple[str, ...] = ()

    def fit(self, history: Panel, horizons: Sequence[int]) -> "Drift":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""

        def mean(_: int, bars: Bars) -> Floats:
            count = np.maximum(np.arange(len(bars)), 1)
            return np.nan_to_num(log_returns(bars)).cumsum() / count

        loc = at_origins(past, origins, mean)[:, None] * np.asarray(horizons, dtype=np.float64)
        return Gaussian(loc, RandomWalk().forecast(past, origins, horizons).scale)


@dataclass(frozen=True)
class WindowVolatility:
    """Normal, no drift, variance h times the mean squared return of the last `window` bars."""

    window: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`volatility_20` for a window of 20 bars."""
        return f"volatility_{self.window}"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "WindowVolatility":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""

        def scale(_: int, bars: Bars) -> Floats:
            squares = np.nan_to_num(log_returns(bars) ** 2)
            total = np.concatenate((np.zeros(self.window), squares.cumsum()))
            mean = (total[self.window :] - total[: -self.window]) / self.window
            return scale_by_root(_root(np.maximum(mean, 0.0)), horizons)

        scales = at_origins(past, origins, scale)
        return Gaussian(np.zeros_like(scales), scales)


@dataclass(frozen=True)
class Historical:
    """Historical simulation: the last `window` h-bar returns that had ended by the origin."""

    window: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`historical_250` for a window of 250 returns."""
        return f"historical_{self.window}"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "Historical":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Empirical:
        """Empirical [N, H] of `window` samples."""
        samples = np.empty((len(origins), len(horizons), self.window))
        for i, bars in enumerate(past):
            rows = np.flatnonzero(origins.member == i)
            for j, horizon in enumerate(horizons):
                ended = cumulative_return(bars, horizon)
                for row in rows:
                    known = ended[: max(origins.bar[row] - horizon + 1, 0)][-self.window :]
                    samples[row, j] = self._filled(known)
        return Empirical(samples)

    def _filled(self, known: Floats) -> Floats:
        """Exactly `window` samples: a symbol too young for them lends its quantiles instead."""
        if len(known) == self.window:
            return known
        return np.quantile(known, (np.arange(self.window) + 0.5) / self.window)


def _root(variance: Floats) -> Floats:
    return np.maximum(np.sqrt(variance), SCALE_FLOOR)
