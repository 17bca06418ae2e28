"""GARCH models whose responses to gains and losses differ, under a skewed t, symbol by symbol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from forecaster.bars import Floats, Panel
from forecaster.baselines.per_symbol import at_origins
from forecaster.baselines.volatility import ScaleModel, fallbacks, horizon_scales
from forecaster.distributions import SkewT
from forecaster.econometrics.egarch import fit_egarch
from forecaster.econometrics.garch import fit_garch
from forecaster.econometrics.harx import fit_skew
from forecaster.features import WARM_UP, cumulative_return, log_returns
from forecaster.protocol import Origins


@dataclass(frozen=True)
class GarchSkewT:
    """GJR or EGARCH under Hansen's skewed t, refitted for each horizon; RiskMetrics on failure."""

    law: Literal["GJR", "EGARCH"]

    @property
    def name(self) -> str:
        """`gjr_skew_t`, `egarch_skew_t`."""
        return f"{self.law.lower()}_skew_t"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedSkew":
        """One model a symbol, then a skewed t of return over scale a symbol and horizon."""
        models = tuple(self._model(log_returns(bars)) for bars in history)
        shapes = []
        for bars, model in zip(history, models, strict=True):
            scales = horizon_scales(model, bars, horizons)
            returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
            shapes.append(tuple(fit_skew(z) for z in (returns / scales)[WARM_UP:].T))
        return FittedSkew(models, tuple(shapes), fallbacks(history, models, self.law))

    def _model(self, log_return: Floats) -> ScaleModel | None:
        if self.law == "GJR":
            return fit_garch(log_return, "gjr-skew-t")
        return fit_egarch(log_return)


@dataclass(frozen=True)
class FittedSkew:
    """A scale model and a skewed t (loc, scale, skew, df) a symbol and horizon."""

    models: tuple[ScaleModel | None, ...]
    shapes: tuple[tuple[tuple[float, float, float, float], ...], ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> SkewT:
        """SkewT [N, H]."""
        scale = at_origins(
            past, origins, lambda i, bars: horizon_scales(self.models[i], bars, horizons)
        )
        loc, width, skew, df = np.moveaxis(np.array(self.shapes)[origins.member], -1, 0)
        return SkewT(loc * scale, width * scale, skew, df)
