"""Where truth joins, alone: what was asked, what came of it. N origins, H horizons."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, Panel, Times, duration
from forecaster.errors import DataError
from forecaster.features import range_variance
from forecaster.frames import TARGET, Keys, checked
from forecaster.protocol import Origins
from forecaster.sessions import next_sessions


def question(panel: Panel, origins: Origins, horizons: Sequence[int]) -> Keys:
    """Who is asked what, from labels alone. Those that are not there yet are guessed (`_later`)."""
    steps = tuple(int(h) for h in horizons)
    names = np.array([str(symbol) for symbol in panel.symbols], dtype=object)
    ds = np.empty((len(origins), len(steps)), dtype="datetime64[us]")
    cutoff = np.empty(len(origins), dtype="datetime64[us]")
    for m, bars in enumerate(panel):
        rows = origins.member == m
        at = origins.bar[rows]
        if not len(at):
            continue
        cutoff[rows] = bars.opened_at[at]
        labels = bars.opened_at
        if at.max() + max(steps) >= len(bars):
            labels = np.concatenate((labels, _later(bars, max(steps))))
        ds[rows] = labels[at[:, None] + np.array(steps)]
    return Keys(names[origins.member], cutoff, ds, steps)


def truth(panel: Panel, origins: Origins, horizons: Sequence[int]) -> tuple[Floats, Times]:
    """(y, ds) [N, H]: ln C[t+h] / C[t], NaN where bar t+h is not there yet, and its label."""
    keys = question(panel, origins, horizons)
    y = np.full(keys.ds.shape, np.nan)
    for m, bars in enumerate(panel):
        rows = origins.member == m
        y[rows] = _returns(bars, origins.bar[rows, None], np.array(keys.horizons))
    return y, keys.ds


def with_truth(table: pa.Table, panel: Panel) -> pa.Table:
    """Predictions of log returns with `y` filled in where it is known by now.

    Raises DataError for another target, a symbol that the panel has not, or a cutoff without a bar.
    """
    targets = set(table["target_name"].unique().to_pylist()) - {TARGET}
    if targets:
        raise DataError(f"target_name {min(targets)!r}: only {TARGET} has a truth here")
    found = np.full(len(table), np.nan)
    cutoff, steps = table["cutoff"].to_numpy(), table["h"].to_numpy()
    members = {str(bars.symbol): bars for bars in panel}
    for name, rows in _rows_by_symbol(table):
        if name not in members:
            raise DataError(f"{name}: predictions have it, the bars ({', '.join(members)}) do not")
        bars = members[name]
        at = np.searchsorted(bars.opened_at, cutoff[rows])
        missing = bars.opened_at[np.minimum(at, len(bars) - 1)] != cutoff[rows]
        if missing.any():
            raise DataError(
                f"{name}: no bar has the cutoff {cutoff[rows][missing][0]} as its label"
            )
        found[rows] = _returns(bars, at, steps[rows])
    column = pa.array(found, type=pa.float64(), mask=np.isnan(found))
    return checked(table.set_column(table.column_names.index("y"), table.schema.field("y"), column))


def realised_variance(table: pa.Table, panel: Panel) -> Floats:
    """[rows] range variance summed over the bars (cutoff, cutoff + h] of each row of a table."""
    found = np.full(len(table), np.nan)
    cutoff, steps = table["cutoff"].to_numpy(), table["h"].to_numpy()
    members = {str(bars.symbol): bars for bars in panel}
    for name, rows in _rows_by_symbol(table):
        bars = members[name]
        total = np.nancumsum(range_variance(bars))
        at = np.searchsorted(bars.opened_at, cutoff[rows])
        found[rows] = total[at + steps[rows]] - total[at]
    return found


def _rows_by_symbol(table: pa.Table) -> list[tuple[str, NDArray[np.int64]]]:
    """Symbols in order with the rows of each: a mask a symbol would cost symbols x rows."""
    coded = table["unique_id"].combine_chunks().dictionary_encode()
    codes, names = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.searchsorted(codes[order], np.arange(1, len(names))))
    return sorted(zip(names, rows, strict=True), key=lambda pair: pair[0]) if names else []


def _returns(bars: Bars, at: NDArray[np.int64], steps: NDArray[np.int64]) -> Floats:
    """Ln C[at + steps] / C[at], NaN beyond the last bar; `at` and `steps` broadcast.

    Adjusted closes have an adjustment of 1, so that printed ones give the same returns.
    """
    close = bars.close * bars.adjustment
    target = at + steps
    last = len(bars) - 1
    value = np.log(close[np.minimum(target, last)] / close[at])
    return np.where(target <= last, value, np.nan)


def _later(bars: Bars, n: int) -> Times:
    """[n] labels after the last bar: sessions of its exchange where one fits, else guessed.

    Guesses skip Saturdays and Sundays unless one of the last fourteen daily bars fell on one;
    intraday bars go on without a night. Good enough for rows that no score has seen yet.
    """
    step = duration(bars.interval)
    last = bars.opened_at[-1]
    days = bars.opened_at[-14:].astype("datetime64[D]")
    if bars.interval != "1d" or not np.is_busday(days).all():
        return last + step * np.arange(1, n + 1)
    known = next_sessions(str(bars.symbol), bars.opened_at, n)
    if known is not None:
        return known
    return np.busday_offset(days[-1], np.arange(1, n + 1)).astype("datetime64[us]")
