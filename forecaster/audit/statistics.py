"""The few statistics of the smells: means over dates, so that symbols of one day count once."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from forecaster.bars import Floats


def by_date(rows: pd.DataFrame, values: Floats) -> Floats:
    """[D] mean of a value a row over the rows of each cutoff."""
    return pd.Series(values).groupby(rows["cutoff"].to_numpy()).mean().to_numpy()


def student_t(rows: pd.DataFrame, values: Floats) -> float:
    """t of the mean over dates against zero; 0 for fewer than ten dates."""
    x = by_date(rows, values)
    if len(x) < 10:
        return 0.0
    return float(x.mean() / max(x.std(ddof=1) / np.sqrt(len(x)), 1e-300))


def ranks(x: Floats) -> Floats:
    """Ranks with mean 0 and deviation 1; zeros for what does not move."""
    r = rankdata(x)
    r -= r.mean()
    spread = r.std()
    return r / spread if spread > 0 else np.zeros_like(r)


def partial(x: Floats, y: Floats, given: Floats) -> tuple[float, Floats]:
    """Rank correlation of x and y beyond what `given` says of both; and its terms, a row."""
    a, b, c = ranks(x), ranks(y), ranks(given)
    a, b = a - (a @ c) / len(c) * c, b - (b @ c) / len(c) * c
    scale = a.std() * b.std()
    terms = a * b / scale if scale > 0 else np.zeros_like(a)
    return float(terms.mean()), terms
