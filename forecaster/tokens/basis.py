"""Smooth functions on return bins: the few directions in which a network may bend a density.

K bins, w their masses under the base f0, u = F0(z). A free softmax over 40 bins over-fits at once
on what daily bars can teach; a handful of smooth functions does not.
"""

import numpy as np
from numpy.polynomial import legendre

from forecaster.bars import Floats
from forecaster.distributions import LocationScale, bin_masses

FEWEST_MASS = 1e-12


def smooth_basis(base: LocationScale, edges: Floats, count: int) -> Floats:
    """[H, K, count] bin averages, orthonormal under the bins' masses and to the constant.

    In order: the location score -f0'/f0, the scale score -(1 + z f0'/f0), then Legendre polynomials
    of 2u - 1 from degree 1 on. Averages over bins are exact: the integrals of the scores are f0 and
    z f0 at the edges.
    """
    masses = bin_masses(base, edges)
    density = np.exp(base.logpdf(edges.T).T)
    level = base.cdf(edges.T).T
    out = []
    for h in range(len(edges)):
        w = np.maximum(masses[h], FEWEST_MASS)
        location = -np.diff(np.concatenate(([0.0], density[h], [0.0]))) / w
        spread = -np.diff(np.concatenate(([0.0], edges[h] * density[h], [0.0]))) / w
        columns = [location, spread, *_legendre(level[h], w, count)]
        out.append(_orthonormal(np.stack(columns, axis=1), w)[:, :count])
    return np.stack(out)


def _legendre(level: Floats, w: Floats, count: int) -> list[Floats]:
    """Bin averages of P_1 .. P_count of 2u - 1."""
    x = np.concatenate(([-1.0], 2 * level - 1, [1.0]))
    integrals = [legendre.legint([0.0] * j + [1.0]) for j in range(1, count + 1)]
    return [np.diff(legendre.legval(x, each)) / (2 * w) for each in integrals]


def _orthonormal(columns: Floats, w: Floats) -> Floats:
    """Gram-Schmidt in the inner product sum w f g, the constant first and then left out."""
    kept = [np.ones(len(w))]
    for f in columns.T:
        residual = f - sum((w @ (f * g)) / (w @ (g * g)) * g for g in kept)
        norm = np.sqrt(w @ residual**2)
        if norm > 1e-6 * np.sqrt(w @ f**2):  # the next polynomial steps in for a dependent one
            kept.append(residual / norm)
    return np.stack(kept[1:], axis=1)
