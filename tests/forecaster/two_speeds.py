# two_speeds.py: a baseline of your own, a Student-t at a mean of fast and slow volatility
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines.per_symbol import at_origins, scale_by_root
from forecaster.distributions import StudentT
from forecaster.features import causal_scale, log_returns
from forecaster.protocol import Origins


@dataclass(frozen=True)
class TwoSpeeds:
    name: str = "two_speeds"  # its key in every table
    notes: tuple[str, ...] = ()  # what a reader must know of a fit

    def fit(self, history: Panel, horizons: Sequence[int]) -> "TwoSpeeds":  # noqa: ARG002
        return self  # nothing to learn; else: from `history` alone

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> StudentT:
        def spread(_: int, bars: Bars) -> Floats:  # [T, H], row t from bars 0 to t alone
            squares = np.nan_to_num(log_returns(bars)) ** 2
            fast, slow = (causal_scale(squares, decay) for decay in (0.9, 0.99))
            return scale_by_root((fast + slow) / 2, horizons)

        scale = at_origins(past, origins, spread)  # [N, H]: origins x horizons
        return StudentT(np.zeros_like(scale), scale, np.full_like(scale, 6.0))
