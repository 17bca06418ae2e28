"""Price levels in units of their own window: the documented bad example.

    z = (ln C - mean of the window) / deviation of the window

As popular candlestick models normalise. A window that ends high ends above its own mean, so that on
a walk, too, the levels ahead seem to fall back: the model learns a reversal that is not there.
T bars of one symbol, W bars a window, H horizons.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.config import Record
from forecaster.distributions import StudentT
from forecaster.econometrics.student_t import fit_shape
from forecaster.features import SCALE_FLOOR, Features, cumulative_return


class LevelPrior(Record):
    """A Student-t a horizon of the level ahead, in units of the window that ends at the origin."""

    law: Literal["levels"] = "levels"
    horizons: tuple[int, ...]
    window: int  # bars
    shapes: tuple[tuple[float, float, float], ...]  # H rows of loc, scale, df

    def locs(self, bars: Bars, known: Features) -> Floats:  # noqa: ARG002  the priors' protocol
        """[T, H] the window's mean level as a log return from its last close."""
        return np.repeat(window_moments(bars, self.window)[0][:, None], len(self.horizons), axis=1)

    def scales(self, bars: Bars, known: Features) -> Floats:  # noqa: ARG002  the priors' protocol
        """[T, H] the deviation of the window's log closes."""
        return np.repeat(window_moments(bars, self.window)[1][:, None], len(self.horizons), axis=1)

    def base(self) -> StudentT:
        """[1, H] the shapes."""
        loc, width, df = np.array(self.shapes).T[:, None]
        return StudentT(loc, width, df)


def window_moments(bars: Bars, window: int) -> tuple[Floats, Floats]:
    """Mean and deviation [T] of ln C over the window that ends at each bar, less its last ln C.

    NaN before the first whole window.
    """
    mean, deviation = np.full(len(bars), np.nan), np.full(len(bars), np.nan)
    if len(bars) >= window:
        closes = np.lib.stride_tricks.sliding_window_view(bars.close, window)
        levels = np.log(closes / closes[:, -1:])
        mean[window - 1 :] = levels.mean(axis=1)
        deviation[window - 1 :] = np.maximum(levels.std(axis=1), SCALE_FLOOR)
    return mean, deviation


def fit_level_prior(history: Panel, horizons: Sequence[int], window: int) -> LevelPrior:
    """Of all symbols' windows."""
    shapes = []
    for h in horizons:
        z = []
        for bars in history:
            mean, deviation = window_moments(bars, window)
            z.append((cumulative_return(bars, h) - mean) / deviation)
        shape = fit_shape(np.concatenate(z))
        shapes.append((shape.loc, shape.scale, shape.df))
    return LevelPrior(horizons=tuple(horizons), window=window, shapes=tuple(shapes))
