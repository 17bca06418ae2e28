"""Filtered historical simulation: the GJR scale, and no law for what remains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines.per_symbol import at_origins
from forecaster.baselines.volatility import ewma_scale, fallbacks, horizon_scales
from forecaster.distributions import ParetoTailed
from forecaster.econometrics.empirical_shape import LEVELS, fit_empirical_shape
from forecaster.econometrics.garch import Garch, fit_garch
from forecaster.econometrics.simulation import ShapeGrid, one_shape, shaped, simulate_shapes
from forecaster.features import WARM_UP, cumulative_return, log_returns
from forecaster.protocol import Origins

SEED = 1999  # of every symbol's draws: no option, so that nobody can choose a lucky one


@dataclass(frozen=True)
class FilteredHistorical:
    """GJR with its own residuals drawn again along the recursion; RiskMetrics where it fails."""

    name: str = "filtered_historical"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedSimulation":
        """One GJR and one grid of simulated shapes a symbol."""
        models = tuple(fit_garch(log_returns(bars), "gjr-skew-t") for bars in history)
        grids = tuple(
            _shapes(bars, model, horizons) for bars, model in zip(history, models, strict=True)
        )
        return FittedSimulation(models, grids, fallbacks(history, models, "GJR"))


@dataclass(frozen=True, eq=False)
class FittedSimulation:
    """A scale model and its shapes a symbol."""

    models: tuple[Garch | None, ...]
    grids: tuple[ShapeGrid, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> ParetoTailed:
        """ParetoTailed [N, H]."""
        scale = at_origins(
            past, origins, lambda i, bars: horizon_scales(self.models[i], bars, horizons)
        )
        variance = at_origins(past, origins, lambda i, bars: _next_variance(self.models[i], bars))
        n, h = scale.shape
        parts = np.empty((n, h, len(LEVELS))), np.empty((n, h, 2)), np.empty((n, h, 2))
        for i, grid in enumerate(self.grids):
            rows = origins.member == i
            for whole, own in zip(parts, grid.between(variance[rows]), strict=True):
                whole[rows] = own
        return shaped(parts, scale)


def _next_variance(model: Garch | None, bars: Bars) -> Floats:
    """[T] of the bar after each."""
    return ewma_scale(bars) ** 2 if model is None else model.next_variance(log_returns(bars))


def _shapes(bars: Bars, model: Garch | None, horizons: Sequence[int]) -> ShapeGrid:
    """Simulated where there is a model, else those of the returns in units of RiskMetrics."""
    if model is not None:
        seed = (SEED, *bars.symbol.encode())
        return simulate_shapes(model, log_returns(bars), horizons, seed)
    scales = horizon_scales(None, bars, horizons)
    returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
    return one_shape([fit_empirical_shape(z) for z in (returns / scales)[WARM_UP:].T])
