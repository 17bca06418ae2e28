"""Where bins are cut. All edges are inner ones, ascending; the outermost bins are open."""

from typing import Literal

import numpy as np

from forecaster.bars import Floats
from forecaster.distributions import LocationScale

Kind = Literal["prior", "scaled", "uniform", "levels"]
WIDEST = 5.0  # units of scale: the outermost edges of `uniform`
TAIL_POWER = 1.6  # of `prior`: above 1 the bins are finer towards the tails


def field_edges(x: Floats, bins: int) -> tuple[float, ...]:
    """Of equal mass on x [n], made unique (opens that equal a close are atoms); two at least."""
    x = x[np.isfinite(x)]
    if len(x) == 0:
        return (-1.0, 1.0)
    edges = np.unique(np.quantile(x, np.arange(1, bins) / bins))
    if len(edges) < 2:
        return (float(edges[0]) - 1e-6, float(edges[0]) + 1e-6)
    return tuple(edges.tolist())


def uniform_edges(bins: int) -> Floats:
    """[bins - 1] equally far apart."""
    return np.linspace(-WIDEST, WIDEST, bins - 1)


def return_edges(kind: Kind, base: LocationScale, bins: int) -> Floats:
    """[H, K-1] in units of scale, for the shapes [1, H] of a prior."""
    if kind in ("uniform", "levels"):
        return np.tile(uniform_edges(bins), (base.shape[1], 1))
    levels = np.arange(1, bins) / bins
    if kind == "prior":
        x = 2 * levels - 1
        levels = 0.5 + 0.5 * np.sign(x) * (1 - (1 - np.abs(x)) ** TAIL_POWER)
    return base.quantile(levels)[0]
