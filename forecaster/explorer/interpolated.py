"""A density where only quantiles were kept."""

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from forecaster.bars import Floats
from forecaster.frames import QUANTILES

FEWEST = 4  # distinct quantiles
POINTS = 160


def density(quantiles: Floats) -> tuple[Floats, Floats] | None:
    """(x, density) of a distribution with these values at QUANTILES; None for too few distinct.

    Normal scores of the levels are joined over x by a monotone cubic (Fritsch and Carlson 1980):
    the distribution function meets every stored quantile, and a normal comes out exact.
    """
    x, first = np.unique(quantiles, return_index=True)
    if len(x) < FEWEST:
        return None
    scores = PchipInterpolator(x, norm.ppf(np.asarray(QUANTILES)[first]))
    at = np.linspace(x[0], x[-1], POINTS)
    return at, norm.pdf(scores(at)) * scores(at, 1)
