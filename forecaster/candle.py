"""One bar at a time: what a candle and the close before it say, element by element.

Arrays of one shape. Who walks through time uses these: over a history or along simulated paths.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats


def traded(volume: Floats) -> NDArray[np.bool_]:
    """Whether something is known to have been traded: a volume (or value) of 0 says nothing."""
    return np.isfinite(volume) & (volume > 0)


@dataclass(frozen=True, eq=False)
class Candles:
    """Open, high and low are NaN together where only closes are published."""

    previous: Floats  # the close before; NaN where there is none
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    @property
    def open_is_real(self) -> NDArray[np.bool_]:
        """Whether the open was printed by a market.

        Index providers fill the open with the previous close (the S&P 500 in 95 % of bars before
        2006). A true open that happens to equal it loses its gap too: a small price for never
        reading a gap that is not one.
        """
        return np.isfinite(self.open) & (self.open != self.previous)

    @property
    def shape(self) -> tuple[Floats, Floats, Floats]:
        """Gap, upper and lower wick as logs; NaN where the open is none."""
        gap = np.log(self.open / self.previous)
        upper = np.log(self.high / np.maximum(self.open, self.close))
        lower = np.log(np.minimum(self.open, self.close) / self.low)
        gap, upper, lower = (np.where(self.open_is_real, x, np.nan) for x in (gap, upper, lower))
        return gap, upper, lower

    @property
    def range_variance(self) -> Floats:
        """An estimate of the close-to-close log variance from the range; NaN without a previous.

        gap^2 + Garman-Klass (Journal of Business 1980) where the open is an open; Parkinson (1980)
        on the true range where it is not; the squared return where only closes are known.
        Garman-Klass is at least 0.11 of the squared range. Rogers-Satchell (1991) is zero for a bar
        that closes where its range ends, and logs of such a bar rule every mean.
        """
        gap, spread = np.log(self.open / self.previous), np.log(self.high / self.low)
        body = np.log(self.close / self.open)
        full = gap**2 + 0.5 * spread**2 - (2 * np.log(2) - 1) * body**2
        top, bottom = np.fmax(self.high, self.previous), np.fmin(self.low, self.previous)
        parkinson = np.log(top / bottom) ** 2 / (4 * np.log(2))
        squared = np.log(self.close / self.previous) ** 2
        ranged = np.where(
            self.open_is_real, full, np.where(np.isfinite(self.high), parkinson, squared)
        )
        return np.where(np.isnan(self.previous), np.nan, np.maximum(ranged, 0.0))
