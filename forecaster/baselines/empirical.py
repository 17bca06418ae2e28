"""Densities whose shape is that of past residuals: HAR scales here, GARCH ones in `simulation`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Panel
from forecaster.baselines.per_symbol import at_origins
from forecaster.distributions import ParetoTailed
from forecaster.econometrics.empirical_shape import (
    EmpiricalShape,
    fit_empirical_shape,
    stretched,
)
from forecaster.econometrics.har import Har, fit_har
from forecaster.features import WARM_UP, cumulative_return
from forecaster.protocol import Origins


@dataclass(frozen=True)
class HarEmpirical:
    """HAR on log range variance, a symbol each; one shape a horizon from all symbols' residuals."""

    name: str = "har_empirical"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedHarEmpirical":
        """Coefficients by least squares, then returns in units of the scale they were forecast."""
        model = fit_har(history, horizons)
        z = []
        for bars in history:
            returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
            z.append((returns / model.scales(bars))[WARM_UP:])
        shapes = [fit_empirical_shape(column) for column in np.concatenate(z).T]
        return FittedHarEmpirical(model, tuple(shapes))


@dataclass(frozen=True)
class FittedHarEmpirical:
    """One HAR, one shape a horizon."""

    model: Har
    shapes: tuple[EmpiricalShape, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> ParetoTailed:  # noqa: ARG002
        """ParetoTailed [N, H]."""
        scale = at_origins(past, origins, lambda _, bars: self.model.scales(bars))
        return stretched(list(self.shapes), scale)
