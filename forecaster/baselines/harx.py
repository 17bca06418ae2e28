"""HARX densities: the strongest classical rows. Own, pooled, and in between a hierarchy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Panel
from forecaster.baselines.per_symbol import at_origins
from forecaster.distributions import SkewT
from forecaster.econometrics.harx import Harx, fit_horizons
from forecaster.econometrics.regressors import regressors
from forecaster.protocol import Origins


@dataclass(frozen=True)
class HarxSkewT:
    """One HARX a horizon; `rho` 0 is a model a symbol, infinity one model for all."""

    name: str
    rho: float

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedHarx":
        """By maximum likelihood over all symbols' returns that end inside the history."""
        return FittedHarx(fit_horizons(history, horizons, self.rho))


@dataclass(frozen=True)
class FittedHarx:
    """One model a horizon."""

    models: tuple[Harx, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> SkewT:
        """SkewT [N, H]."""
        if len(horizons) != len(self.models):
            raise ValueError(f"horizons={tuple(horizons)}: {len(self.models)} were fitted")
        scale = at_origins(
            past,
            origins,
            lambda _, bars: np.stack(
                [model.scale(bars.symbol, regressors(bars)) for model in self.models], axis=1
            ),
        )
        loc, skew, df = np.array([(m.loc, m.skew, m.df) for m in self.models]).T
        return SkewT(loc * scale, scale, skew * np.ones_like(scale), df * np.ones_like(scale))
