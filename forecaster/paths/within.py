"""Values inside the bins of a bar's fields: those that were seen there.

N draws, R rows, K bins.
"""

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.features import GEOMETRY
from forecaster.paths.shapes import BarShapes
from forecaster.tokens import BarTokenizer

DRAWN = GEOMETRY[1:]  # fields that are drawn in bins: all but the return


class WithinBins:
    """Each field's values by bin; the middle of a bin in which none was kept."""

    def __init__(self, shapes: BarShapes, tokenizer: BarTokenizer) -> None:
        rows = shapes.table("real")
        # Tokens are in units of the features' scale, rows in units of the prior's.
        units = np.stack([rows[:, 1]] * 3 + [np.ones(len(rows))], axis=1)
        values = rows[:, 2:6] * units
        fields = zip(values.T, tokenizer.field_edges[1:], strict=True)
        self._kept = [_by_bin(x, np.array(edges), tokenizer.field_bins) for x, edges in fields]
        ids = np.tile(np.arange(tokenizer.field_bins)[:, None], (1, len(GEOMETRY)))
        ids = np.minimum(ids, [len(edges) for edges in tokenizer.field_edges])
        self._middle = tokenizer.decode(ids)[:, 1:]  # [K, 4]

    def value(self, field: int, bins: NDArray[np.int64], level: Floats) -> Floats:
        """Bins [N] of DRAWN[field], levels [N] in [0, 1) -> values [N] as tokens have them."""
        values, start = self._kept[field]
        count = start[bins + 1] - start[bins]
        if len(values) == 0:
            return self._middle[bins, field]
        at = start[bins] + (level * count).astype(np.int64)
        seen = values[np.minimum(at, len(values) - 1)]
        return np.where(count > 0, seen, self._middle[bins, field])


def _by_bin(x: Floats, edges: Floats, bins: int) -> tuple[Floats, NDArray[np.int64]]:
    """Known values in order, and where each bin's begin [K + 1]: bins are cut in their order."""
    known = np.sort(x[np.isfinite(x)])
    start = np.searchsorted(known, edges, side="left")
    closed = np.full(bins - len(edges), len(known))
    return known, np.concatenate(([0], start, closed))
