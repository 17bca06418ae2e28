"""HAR: the log of future range variance, linear in its own means of a day, a week and a month.

    ln mean v[t+1 .. t+h] = a + b1 ln v[t] + b5 (ln v over 5 bars) + b22 (ln v over 22 bars)

symbol by symbol by least squares. v is the range variance of `features.py`: gap and range where the
open is an open, the range alone where it is not.

Source: Corsi, A Simple Approximate Long-Memory Model of Realized Volatility (JFEC 2009), in logs.
T bars of one symbol, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.econometrics.regressors import floored_variance
from forecaster.features import WARM_UP, trailing_sum

SPANS = (1, 5, 22)  # bars
FEWEST = 66  # rows that coefficients of one symbol are fitted to


@dataclass(frozen=True, eq=False)
class Har:
    """Coefficients a symbol; an unseen one, or one too short for its own, has their mean."""

    horizons: tuple[int, ...]
    own: dict[str, Floats]  # [H, 1 + spans] by symbol

    def scales(self, bars: Bars) -> Floats:
        """[T, H] root of h times the forecast variance; NaN where the longest mean is not full."""
        x = _regressors(bars)
        weights = self.own.get(bars.symbol)
        if weights is None:
            weights = self._mean()
        log_variance = x @ weights.T
        return np.exp(0.5 * log_variance) * np.sqrt(np.array(self.horizons, dtype=np.float64))

    def _mean(self) -> Floats:
        """The mean of all symbols' coefficients; the last month's mean where there are none."""
        if self.own:
            return np.mean(list(self.own.values()), axis=0)
        return np.tile([0.0, 0.0, 0.0, 1.0], (len(self.horizons), 1))


def fit_har(history: Panel, horizons: Sequence[int]) -> Har:
    """Least squares on the rows whose target ends inside the history."""
    own = {}
    for bars in history:
        x = _regressors(bars)[WARM_UP:]
        rows = [_ahead(bars, h)[WARM_UP:] for h in horizons]
        if all(np.isfinite(y).sum() >= FEWEST for y in rows):
            own[bars.symbol] = np.stack([_least_squares(x, y) for y in rows])
    return Har(tuple(horizons), own)


def _regressors(bars: Bars) -> Floats:
    """[T, 1 + spans] one, and the mean logs of the floored range variance."""
    v = np.log(floored_variance(bars))
    return np.stack([np.ones(len(bars)), *(trailing_sum(v, n) / n for n in SPANS)], axis=1)


def _ahead(bars: Bars, horizon: int) -> Floats:
    """[T] log mean range variance of the next bars; NaN where they are not all there."""
    total = trailing_sum(floored_variance(bars), horizon)
    out = np.full(len(bars), np.nan)
    if horizon < len(bars):
        out[:-horizon] = np.log(total[horizon:] / horizon)
    return out


def _least_squares(x: Floats, y: Floats) -> Floats:
    known = np.isfinite(y) & np.isfinite(x).all(axis=1)
    return np.asarray(np.linalg.lstsq(x[known], y[known], rcond=None)[0], dtype=np.float64)
