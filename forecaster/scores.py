"""Where truth joins, alone: what came of each forecast, how good it was, and the averages of that.

N origins, H horizons. Returns are log returns of closes, so their unit is 1; log scores are nats.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats, Panel, Times, duration
from forecaster.distributions import Distribution
from forecaster.errors import DataError
from forecaster.frames import PINBALL_LEVELS, SCORES, TARGET, Keys, checked, table_of
from forecaster.protocol import Origins

COVERAGES = (50, 80, 95)  # per cent, of central intervals
PIT_BINS = 10


def question(panel: Panel, origins: Origins, horizons: Sequence[int]) -> Keys:
    """Who is asked what, from labels alone. Those that are not there yet are guessed (`_later`)."""
    steps = tuple(int(h) for h in horizons)
    names = np.array([str(symbol) for symbol in panel.symbols], dtype=object)
    ds = np.empty((len(origins), len(steps)), dtype="datetime64[us]")
    cutoff = np.empty(len(origins), dtype="datetime64[us]")
    for m, bars in enumerate(panel):
        rows = origins.member == m
        at = origins.bar[rows]
        cutoff[rows] = bars.opened_at[at]
        labels = np.concatenate((bars.opened_at, _later(bars, max(steps))))
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
    targets = set(table["target_name"].to_pylist()) - {TARGET}
    if targets:
        raise DataError(f"target_name {min(targets)!r}: only {TARGET} has a truth here")
    found = np.full(len(table), np.nan)
    names = np.asarray(table["unique_id"].to_pylist(), dtype=object)
    cutoff, steps = table["cutoff"].to_numpy(), table["h"].to_numpy()
    members = {str(bars.symbol): bars for bars in panel}
    for name in np.unique(names):
        if name not in members:
            raise DataError(f"{name}: predictions have it, the bars ({', '.join(members)}) do not")
        bars, rows = members[name], names == name
        at = np.searchsorted(bars.opened_at, cutoff[rows])
        missing = bars.opened_at[np.minimum(at, len(bars) - 1)] != cutoff[rows]
        if missing.any():
            raise DataError(
                f"{name}: no bar has the cutoff {cutoff[rows][missing][0]} as its label"
            )
        found[rows] = _returns(bars, at, steps[rows])
    column = pa.array(found, type=pa.float64(), mask=np.isnan(found))
    return checked(table.set_column(table.column_names.index("y"), table.schema.field("y"), column))


def score(keys: Keys, distribution: Distribution, y: Floats, model: str, fold: int) -> pa.Table:
    """SCORES of a model's forecasts [N, H]. Rows with y NaN are pending: left out, to be counted.

    pinball at level a: (a - 1{y < q}) (y - q), in the unit of y.
    """
    if distribution.shape != y.shape or y.shape != keys.ds.shape:
        raise DataError(
            f"{model}: {distribution.shape} forecasts, {y.shape} outcomes, {keys.ds.shape} keys"
        )
    known = ~np.isnan(y).ravel()
    error = y[..., None] - distribution.quantile(PINBALL_LEVELS)
    pinball = np.where(error < 0, np.array(PINBALL_LEVELS) - 1, PINBALL_LEVELS) * error
    columns = keys.columns() | {
        "model": np.full(y.size, model, dtype=object),
        "target_name": np.full(y.size, TARGET, dtype=object),
        "fold": np.full(y.size, fold, dtype=np.int32),
        "log_score": distribution.logpdf(y).ravel(),
        "crps": distribution.crps(y).ravel(),
        "pit": distribution.pit(y).ravel(),
    }
    columns |= {f"pinball_{a}": pinball[..., i].ravel() for i, a in enumerate(PINBALL_LEVELS)}
    return table_of({name: column[known] for name, column in columns.items()}, SCORES)


def summarise(scores: pa.Table, by: Sequence[str] = ("model", "h")) -> pd.DataFrame:
    """One row a group: n, mean scores, coverage of central intervals, PIT histogram (shares).

    Raises DataError where models were not scored on the same rows: such means do not compare.
    """
    check_rows(scores)
    frame = scores.to_pandas()
    for percent in COVERAGES:
        frame[f"coverage_{percent}"] = (frame["pit"] - 0.5).abs() <= percent / 200
    decile = np.minimum((frame["pit"] * PIT_BINS).astype(int), PIT_BINS - 1)
    for i in range(PIT_BINS):
        frame[f"pit_{i}"] = decile == i
    means = ["log_score", "crps", *(f"pinball_{a}" for a in PINBALL_LEVELS)]
    means += [f"coverage_{percent}" for percent in COVERAGES]
    means += [f"pit_{i}" for i in range(PIT_BINS)]
    groups = frame.groupby(list(by), sort=True)
    return pd.concat((groups.size().rename("n"), groups[means].mean()), axis=1).reset_index()


def check_rows(scores: pa.Table) -> None:
    """Refuse scores in which two models do not stand on the same (unique_id, cutoff, h) rows."""
    frame = scores.select(["model", "target_name", "unique_id", "cutoff", "h"]).to_pandas()
    for (target, h), rows in frame.groupby(["target_name", "h"]):
        counts = rows.groupby("model").size()
        models = rows.groupby(["unique_id", "cutoff"]).size()
        uneven = models[models != len(counts)]
        if len(uneven):
            listed = ", ".join(f"{model} {n}" for model, n in counts.items())
            name, cutoff = uneven.index[0]
            raise DataError(
                f"{target} at h={h}: models are scored on different rows ({listed});"
                f" first odd one: {name} at {cutoff:%Y-%m-%d %H:%M}"
            )


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
    """[n] labels after the last bar, guessed: no exchange's holidays are known here.

    Daily bars skip Saturdays and Sundays unless one of the last fourteen bars fell on one;
    intraday bars go on without a night. Good enough for rows that no score has seen yet.
    """
    step = duration(bars.interval)
    last = bars.opened_at[-1]
    days = bars.opened_at[-14:].astype("datetime64[D]")
    if bars.interval != "1d" or not np.is_busday(days).all():
        return last + step * np.arange(1, n + 1)
    return np.busday_offset(days[-1], np.arange(1, n + 1)).astype("datetime64[us]")
