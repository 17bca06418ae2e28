"""What bars of the past looked like around their return, drawn again: a filtered bootstrap.

A row is one bar in units of the prior's scale before it: its return z, gap, wicks, and how active
it was. Drawn by nearness of z, so that all fields of a row go together. Nothing is ever smoothed.
N paths, R rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from forecaster.bars import Bars, Floats, Panel
from forecaster.features import WARM_UP, candles, features
from forecaster.tokens import BarTokenizer

MOST_ROWS = 4096  # of each table: 400 kB of JSON, and 256 values a bin of a field
NEAR = 64  # rows around a return that are drawn from
COLUMNS = ("z", "ratio", "gap", "upper", "lower", "activity", "activity_before")
DIGITS = 7  # that are kept


class BarShapes(BaseModel):
    """Rows of COLUMNS by ascending z; `ratio` is the prior's scale over the features'.

    `real` are bars with an open, `filled` those whose open is the close before, by the provider.
    Activity is NaN in memory and None in JSON where there is no volume.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    real: tuple[tuple[float | None, ...], ...]
    filled: tuple[tuple[float | None, ...], ...]
    persistence: float  # of activity: its regression on that of the bar before

    def table(self, name: str) -> Floats:
        """[R, 7] `real` or `filled`."""
        rows = getattr(self, name)
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))


@dataclass(frozen=True, eq=False)
class Drawn:
    """By which level [N] a row is drawn, and on which paths [N] the open is filled."""

    level: Floats
    filled: NDArray[np.bool_]


def fit_shapes(history: Panel, tokenizer: BarTokenizer) -> BarShapes:
    """The bars of a history after its warm-up, thinned evenly along z where there are many."""
    rows = [_rows(bars, tokenizer) for bars in history]
    real = np.concatenate([each for each, _ in rows])
    filled = np.concatenate([each for _, each in rows])
    both = np.concatenate((real, filled))[:, 5:]
    known = both[np.isfinite(both).all(axis=1)]
    moment = float((known[:, 1] ** 2).sum())
    slope = float((known[:, 0] * known[:, 1]).sum()) / moment if moment > 0 else 0.0
    return BarShapes(
        real=_thinned(real), filled=_thinned(filled), persistence=min(max(slope, 0.0), 0.99)
    )


def _rows(bars: Bars, tokenizer: BarTokenizer) -> tuple[Floats, Floats]:
    """Rows of COLUMNS of one symbol: bars with a true open, bars with a filled one."""
    known, around = features(bars), candles(bars)
    j = tokenizer.horizons.index(1)
    scales = tokenizer.scales(bars, known)[:, j]
    before, plain = (np.concatenate(([np.nan], x[:-1])) for x in (scales, known.scale))
    activity = known.geometry[:, 4]
    with np.errstate(invalid="ignore"):
        upper = np.log(bars.high / np.maximum(bars.open, bars.close))
        lower = np.log(np.minimum(bars.open, bars.close) / bars.low)
    gap = np.log(bars.open / around.previous)
    columns = [known.log_return / before, before / plain, gap / before]
    columns += [upper / before, lower / before]
    columns += [activity, np.concatenate(([np.nan], activity[:-1]))]
    rows = np.stack(columns, axis=1)
    there = np.isfinite(rows[:, :5]).all(axis=1) & (np.arange(len(rows)) > WARM_UP)
    real = around.open_is_real
    return rows[there & real], rows[there & ~real]


def _thinned(rows: Floats) -> tuple[tuple[float | None, ...], ...]:
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if len(rows) > MOST_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(np.int64)]
    return tuple(
        tuple(float(f"{x:.{DIGITS}g}") if np.isfinite(x) else None for x in row) for row in rows
    )


@dataclass(frozen=True, eq=False)
class Shape:
    """The rest of a bar around its return, each [N]: logs, and activity."""

    gap: Floats
    upper: Floats
    lower: Floats
    activity: Floats


class Bootstrap:
    """Rows of the past, drawn by the nearness of their return."""

    def __init__(self, shapes: BarShapes) -> None:
        self.persistence = shapes.persistence
        self.real, self.filled = shapes.table("real"), shapes.table("filled")

    def draw(self, log_return: Floats, scale: Floats, before: Floats, how: Drawn) -> Shape:
        """Log returns, scales and activities before, each [N] -> the rest of each bar.

        Where a provider fills the open there is no gap, and the wicks are those of such bars.
        Activity goes back to its mean at the pace of the history; the row brings its surprise.
        """
        row = self._near(self.real, log_return / scale, how.level)
        filled = self._near(self.filled, log_return / scale, how.level)
        row = np.where(how.filled[:, None], filled, row)
        surprise = row[:, 5] - self.persistence * row[:, 6]
        activity = self.persistence * np.nan_to_num(before) + np.nan_to_num(surprise)
        gap, upper, lower = row[:, 2:5].T * scale
        return Shape(np.where(how.filled, 0.0, gap), upper, lower, activity)

    def _near(self, table: Floats, z: Floats, level: Floats) -> Floats:
        """Rows [N, 7] among the NEAR ones around z [N]; of the other table where there are none."""
        if len(table) == 0:
            table = self.real if len(self.real) else self.filled
        if len(table) == 0:  # closes alone: nothing of a row is used
            return np.zeros((len(z), len(COLUMNS)))
        width = min(NEAR, len(table))
        middle = np.searchsorted(table[:, 0], z)
        first = np.clip(middle - width // 2, 0, len(table) - width)
        return table[first + (level * width).astype(np.int64)]
