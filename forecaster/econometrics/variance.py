"""How much the next bars will move: least squares on HARX's own regressors.

    ln mean(v[i, t+1..t+h]) = a[i] + (b + d[i])' x[i,t] + error

v is the floored range variance of a bar, x the regressors of the scale of returns. They must be the
same: a regressor that one side lacks would be found in the other side's errors, and counted twice.
A season's common slopes are pulled to zero as own ones are to the common.
S symbols, F regressors, T bars.
"""

import numpy as np

from forecaster.bars import Bars, Floats
from forecaster.econometrics.regressors import floored_variance
from forecaster.econometrics.sample import Sample
from forecaster.features import trailing_sum

# The pull of a symbol's slopes to the common ones: HARX's RHO in this loss. Slopes of a log
# variance are twice those of a log scale, and the errors' variance times root h is about one.
PULL = 100.0


def log_variance_ahead(bars: Bars, horizon: int) -> Floats:
    """[T] ln of the mean range variance of the next bars, NaN where one of them is not there.

    Never an input.
    """
    out = np.full(len(bars), np.nan)
    if horizon < len(bars):
        out[:-horizon] = np.log(trailing_sum(floored_variance(bars), horizon) / horizon)[horizon:]
    return out


def fit_log_variance(sample: Sample, pull: float = PULL) -> tuple[Floats, Floats]:
    """Intercepts [S] and slopes b + d [S, F] that minimise squared errors + pull |d|^2, exactly.

    For the F - season first regressors; + pull |b|^2 for the others.

    A symbol's own part follows from the common one, d = (A + pull)^-1 (c - A b), A and c its
    centred moments; put in, the rest is one linear system in b.
    """
    width = sample.x.shape[1]
    rows = sample.rows
    x_mean = np.array([_mean(sample.x[k]) for k in rows])
    y_mean = np.array([_mean(sample.r[k]) for k in rows])
    centred = [(sample.x[k] - x_mean[i], sample.r[k] - y_mean[i]) for i, k in enumerate(rows)]
    a = np.stack([x.T @ x for x, _ in centred])
    c = np.stack([x.T @ y for x, y in centred])
    own = np.linalg.inv(a + pull * np.eye(width))
    kept = np.eye(width) - a @ own  # [S, F, F] what the common part answers for
    system, right = (kept @ a).sum(axis=0), (kept @ c[..., None]).sum(axis=(0, 2))
    seasonal = np.arange(width) >= width - sample.season
    system = system + np.diag(pull * seasonal)
    common = np.linalg.lstsq(system, right, rcond=None)[0]
    slope = common + (own @ (c - a @ common)[..., None])[..., 0]
    return y_mean - (x_mean * slope).sum(axis=1), slope


def _mean(x: Floats) -> Floats:
    """Over the first axis; 0 for none."""
    return x.sum(axis=0) / max(len(x), 1)
