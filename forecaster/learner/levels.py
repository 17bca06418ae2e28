"""Bars of the tokens `levels`: what a bar is depends on the window that it stands in.

T bars, W bars a window, H horizons.
"""

import numpy as np

from forecaster.bars import Bars, Floats
from forecaster.features import SCALE_FLOOR, features
from forecaster.learner.window import Window
from forecaster.tokens import BarTokenizer


class LevelBars:
    """All bars of one symbol, tokenised window by window.

    Bars inside a training window are in units of bars after them: as in the models that this
    stands for. The last bar of a window sees nothing later, so that forecasts are honest.
    """

    def __init__(self, bars: Bars, tokenizer: BarTokenizer) -> None:
        self._bars, self._tokenizer, known = bars, tokenizer, features(bars)
        self.locs, self.scales = tokenizer.locs(bars, known), tokenizer.scales(bars, known)

    def window(self, start: int, stop: int) -> Window:
        """Bars start .. stop-1 in units of these bars' closes."""
        bars, last = self._bars, self._bars.close[stop - 1]
        closes = np.log(bars.close[start:stop] / last)
        mean, deviation = closes.mean(), max(float(closes.std()), SCALE_FLOOR)
        prices = (bars.close, bars.open, bars.high, bars.low)
        levels = [(np.log(p[start:stop] / last) - mean) / deviation for p in prices]
        fields = np.stack([*levels, _z_score(bars.volume[start:stop])], axis=1)
        ahead = [(self._levels_ahead(start, stop, h) - mean) / deviation for h in self._horizons]
        returns = np.stack(ahead, axis=1)
        return Window(
            tokens=self._tokenizer.encode_fields(fields),
            inputs=levels[0][:, None].astype(np.float32),
            targets=self._tokenizer.encode_standardised(returns),
            returns=returns.astype(np.float32),
        )

    @property
    def _horizons(self) -> tuple[int, ...]:
        return self._tokenizer.horizons

    def _levels_ahead(self, start: int, stop: int, horizon: int) -> Floats:
        """[W] ln C h bars later over the window's last close; NaN where that bar is not there."""
        out = np.full(stop - start, np.nan)
        ahead = self._bars.close[start + horizon : stop + horizon]
        out[: len(ahead)] = np.log(ahead / self._bars.close[stop - 1])
        return out


def _z_score(volume: Floats) -> Floats:
    """[W] log volume in units of the window's; NaN where volume is zero or unknown."""
    known = np.isfinite(volume) & (volume > 0)
    out = np.full(len(volume), np.nan)
    if known.any():
        logs = np.log(volume[known])
        out[known] = (logs - logs.mean()) / max(float(logs.std()), SCALE_FLOOR)
    return out
