"""What a regression over several symbols sees: rows of all of them, standardised together.

N observations of S symbols, F regressors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.errors import DataError
from forecaster.features import STILL, WARM_UP

FEWEST = 20  # values that a symbol's own model, or a shape, is fitted to
ROWS = 4096  # at a time
CLIP = 6.0  # standard deviations of a regressor, in fit and forecast alike


@dataclass(frozen=True, eq=False)
class Sample:
    """What a fit sees: returns with the regressors known before them."""

    symbols: tuple[str, ...]
    which: NDArray[np.int64]  # [N] index of the symbol, ascending
    x: Floats  # [N, F] standardised
    r: Floats  # [N] return ahead
    mean: Floats  # [F]
    deviation: Floats  # [F]
    season: int = 0  # how many of the last regressors are a season

    @property
    def rows(self) -> list[slice]:
        """Each symbol's rows, which stand together: a mask a symbol would cost symbols x rows."""
        ends = np.searchsorted(self.which, np.arange(len(self.symbols) + 1))
        return [slice(a, b) for a, b in pairwise(ends.tolist())]


def sample_of(
    symbols: Sequence[str], x: Sequence[Floats], r: Sequence[Floats], season: int = 0
) -> Sample:
    """Rows of all symbols whose return is known; the moments are of these rows alone.

    A symbol with fewer than FEWEST of them is left out, and forecast as an unseen one. Raises
    DataError where none has as many.
    """
    enough = [i for i, each in enumerate(r) if np.isfinite(each).sum() >= FEWEST]
    if not enough:
        most = max(int(np.isfinite(each).sum()) for each in r)
        raise DataError(
            f"{', '.join(symbols)}: at most {most} returns have ended after {WARM_UP} bars of"
            f" warm-up, HARX needs {FEWEST} of one symbol; give more history or a shorter horizon"
        )
    symbols = [symbols[i] for i in enough]
    x, r = [x[i] for i in enough], [r[i] for i in enough]
    rows = [np.isfinite(each) for each in r]
    which = np.concatenate([np.full(int(k.sum()), i) for i, k in enumerate(rows)])
    z = np.concatenate([each[k] for each, k in zip(x, rows, strict=True)])
    returns = np.concatenate([each[k] for each, k in zip(r, rows, strict=True)])
    sample = Sample(tuple(symbols), which, z, returns, *moments(z), season)
    for own in sample.rows:
        z[own] = standardised(z[own], sample.mean, sample.deviation)
    return sample


def moments(x: Floats) -> tuple[Floats, Floats]:
    """`known_moments` of x [N, F], to the same bits for F > 1: rows are many, so some at a time."""
    count, mean = np.zeros(x.shape[1], dtype=np.int64), np.zeros(x.shape[1])
    parts = [x[i : i + ROWS] for i in range(0, len(x), ROWS)]
    for part in parts:
        known = np.isfinite(part)
        count += known.sum(axis=0)
        mean = _added(mean, np.where(known, part, 0.0))
    count = np.maximum(count, 1)
    mean, square = mean / count, np.zeros(x.shape[1])
    for part in parts:
        square = _added(square, np.where(np.isfinite(part), part - mean, 0.0) ** 2)
    spread = np.sqrt(square / count)
    return mean, np.where(spread > STILL, spread, 1.0)


def _added(total: Floats, part: Floats) -> Floats:
    """[F] row after row, as numpy adds up columns of rows that stand together."""
    return np.concatenate((total[None], part)).sum(axis=0)


def standardised(x: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Regressors in standard deviations, clipped; 0 where unknown."""
    return np.nan_to_num(np.clip((x - mean) / deviation, -CLIP, CLIP))
