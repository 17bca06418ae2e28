"""Many questions, and many attempts: what is left of a p-value then."""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests


def holm(p: Sequence[float]) -> list[float]:
    """P-values after Holm's correction for all of them; NaN, a test not made, stays and counts not.

    Source: Holm, A simple sequentially rejective multiple test procedure (Scand. J. Stat. 1979).
    """
    found = np.array(p, dtype=np.float64)
    made = ~np.isnan(found)
    if made.any():
        found[made] = multipletests(found[made], method="holm")[1]
    return found.tolist()


def after_trials(p: float, trials: int) -> float:
    """P of a result that is the best of so many attempts at it: Bonferroni, however they depend."""
    return min(1.0, p * trials)
