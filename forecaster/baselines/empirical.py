"""HAR scales under the shape that residuals had: nothing parametric between the tails."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Floats, Panel
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

FEWEST = 66  # residuals that a symbol's own width is made of


@dataclass(frozen=True)
class HarEmpirical:
    """HAR on log range variance; own coefficients and width, one shape for all symbols."""

    name: str = "har_empirical"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedHarEmpirical":
        """Least squares, then widths and shapes of the returns in units of their forecast scale.

        The width is the mean absolute residual: ranges see less of some symbols' moves than of
        others' (where opens or highs are stale), and one day of -52 % must not set it.
        """
        model = fit_har(history, horizons)
        z = []
        for bars in history:
            returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
            z.append((returns / model.scales(bars))[WARM_UP:])
        width = _widths(z)
        pooled = np.concatenate([each / w for each, w in zip(z, width, strict=True)])
        shapes = tuple(fit_empirical_shape(column) for column in pooled.T)
        return FittedHarEmpirical(model, width, shapes)


@dataclass(frozen=True, eq=False)
class FittedHarEmpirical:
    """One HAR, one width a member and horizon, one shape a horizon."""

    model: Har
    width: Floats  # [members, H]
    shapes: tuple[EmpiricalShape, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> ParetoTailed:  # noqa: ARG002  the protocol's
        """ParetoTailed [N, H]."""
        scale = at_origins(past, origins, lambda _, bars: self.model.scales(bars))
        return stretched(self.shapes, scale * self.width[origins.member])


def _widths(z: Sequence[Floats]) -> Floats:
    """[members, H] mean absolute residual; of all members for one that has too few of its own."""
    count = np.array([np.isfinite(each).sum(axis=0) for each in z])
    total = np.array([np.nansum(np.abs(each), axis=0) for each in z])
    common = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    own = np.where(count >= FEWEST, total / np.maximum(count, 1), common)
    return np.where(own > 0, own, 1.0)
