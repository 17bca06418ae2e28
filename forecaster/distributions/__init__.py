"""Forecast distributions: log density, cdf, quantiles, CRPS, samples; many origins at once."""

from forecaster.distributions.binned import Binned
from forecaster.distributions.distribution import Distribution, Floats
from forecaster.distributions.empirical import Empirical
from forecaster.distributions.location_scale import Gaussian, LocationScale, StudentT, moved
from forecaster.distributions.mixture import Mixture
from forecaster.distributions.pareto_tailed import ParetoTailed
from forecaster.distributions.progress import bin_masses
from forecaster.distributions.skew_t import OwnSkewT, SkewT

__all__ = [
    "Binned",
    "Distribution",
    "Empirical",
    "Floats",
    "Gaussian",
    "LocationScale",
    "Mixture",
    "OwnSkewT",
    "ParetoTailed",
    "SkewT",
    "StudentT",
    "bin_masses",
    "moved",
]
