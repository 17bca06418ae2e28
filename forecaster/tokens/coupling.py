"""What the size of the next bar says of its return: a table counted on training data.

K bins of variance q and of return r, w their masses under the two priors.
"""

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.tokens.basis import FEWEST_MASS

KERNEL = 1.5  # bins: deviation of the Gaussian that the ratio of densities is smoothed with
ROUNDS = 1000
TIGHT = 1e-13  # how far a margin may stay from its mass


def conditional(
    q: NDArray[np.int64], r: NDArray[np.int64], q_mass: Floats, r_mass: Floats
) -> Floats:
    """[K, K] P(r | q), rows summing to one, of n pairs of bins.

    Counts over what independence expects, both smoothed (one pair more, independent, keeps every
    cell above zero), then fitted to the margins by turns: a variance that is as its prior says
    gives a return that is as its own prior says, so an untaught network stays the prior.
    """
    q_mass, r_mass = (
        np.maximum(w, FEWEST_MASS) / np.maximum(w, FEWEST_MASS).sum() for w in (q_mass, r_mass)
    )
    counts = np.outer(q_mass, r_mass)
    np.add.at(counts, (q, r), 1.0)
    smooth_q, smooth_r = _kernel(len(q_mass)), _kernel(len(r_mass))
    expected = (len(q) + 1) * np.outer(smooth_q @ q_mass, smooth_r @ r_mass)
    joint = np.outer(q_mass, r_mass) * (smooth_q @ counts @ smooth_r.T) / expected
    return _fitted(joint, q_mass, r_mass) / q_mass[:, None]


def _kernel(bins: int) -> Floats:
    steps = np.subtract.outer(np.arange(bins), np.arange(bins))
    return np.exp(-0.5 * (steps / KERNEL) ** 2)


def _fitted(joint: Floats, rows: Floats, columns: Floats) -> Floats:
    """The table with these margins nearest to `joint`.

    Source: Deming and Stephan (Ann. Math. Stat. 1940), iterative proportional fitting.
    """
    for _ in range(ROUNDS):
        joint = joint * (columns / joint.sum(axis=0))
        joint = joint * (rows / joint.sum(axis=1))[:, None]
        if np.abs(joint.sum(axis=0) - columns).max() < TIGHT:
            break
    return joint
