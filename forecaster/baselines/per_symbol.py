"""Baselines know one symbol at a time: from their [T, H] arrays to the rows that were asked.

T bars of a symbol, N origins, H horizons.
"""

from collections.abc import Callable, Sequence

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.protocol import Origins


def at_origins(past: Panel, origins: Origins, per_bar: Callable[[int, Bars], Floats]) -> Floats:
    """Rows [N, ...] picked from `per_bar(member index, its bars) -> [T, ...]` at the origins."""
    parts = []
    for i, bars in enumerate(past):
        rows = origins.member == i
        if rows.any():
            parts.append((np.flatnonzero(rows), per_bar(i, bars)[origins.bar[rows]]))
    out = np.empty((len(origins), *parts[0][1].shape[1:]))
    for where, values in parts:
        out[where] = values
    return out


def scale_by_root(scale: Floats, horizons: Sequence[int]) -> Floats:
    """Per-bar scale [T] -> [T, H]: independent bars add their variances."""
    return scale[:, None] * np.sqrt(np.asarray(horizons, dtype=np.float64))
