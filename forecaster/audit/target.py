"""What a file forecasts, put into log returns from the cutoff's close, so that it can be judged."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from forecaster.audit.columns import Foreign
from forecaster.bars import Bars, Floats, Panel
from forecaster.errors import DataError

Target = Literal["log_return", "return", "price"]
PRICE_OVER_STEP = 5.0  # a price is larger than its changes, a return is not


def target_of(file: Foreign) -> Target:
    """By the size of y: prices are positive and far larger than their changes."""
    rows = file.frame[file.frame["y"].notna()].drop_duplicates(["unique_id", "ds", "h"])
    y = rows.sort_values(["unique_id", "h", "ds"])["y"].to_numpy()
    if len(y) < 2:
        raise DataError(f"{len(y)} rows have an outcome: nothing can be judged; give some y")
    steps = np.abs(np.diff(y))
    if (y > 0).all() and np.median(y) > PRICE_OVER_STEP * max(float(np.median(steps)), 1e-12):
        return "price"
    return "log_return"


def in_log_returns(file: Foreign, panel: Panel | None) -> Foreign:
    """The same rows in log returns; rows whose cutoff has no known price are left out, counted."""
    target = target_of(file)
    if target != "price":
        return replace(file, notes=(*file.notes, "y is taken for a log return from the cutoff"))
    start = _starts(file, panel)
    known = np.isfinite(start) & (start > 0)
    frame = file.frame[known].copy()
    base = np.log(start[known])
    for name in ("y", "point", *file.levels):
        values = frame[name].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            frame[name] = np.log(np.where(values > 0, values, np.nan)) - base
    if frame.empty:
        raise DataError("y looks like a price and no cutoff's price is known: give the bars")
    note = f"y is taken for a price; {int((~known).sum())} rows without a price at their cutoff"
    return replace(file, frame=frame.reset_index(drop=True), notes=(*file.notes, note))


def _starts(file: Foreign, panel: Panel | None) -> Floats:
    """[n] the price at each row's cutoff, from the bars or from the file's own y."""
    frame = file.frame
    if panel is None:
        own = frame.drop_duplicates(["unique_id", "ds"]).set_index(["unique_id", "ds"])["y"]
        keys = pd.MultiIndex.from_arrays([frame["unique_id"], frame["cutoff"]])
        return own.reindex(keys).to_numpy(dtype=np.float64)
    out = np.full(len(frame), np.nan)
    for bars in panel:
        rows = (frame["unique_id"] == str(bars.symbol)).to_numpy()
        at, there = places(bars, frame["cutoff"][rows])
        out[rows] = np.where(there, bars.close[at], np.nan)
    return out


def places(bars: Bars, labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(index of the bar of each label, whether there is one)."""
    wanted = labels.to_numpy().astype("datetime64[us]")
    at = np.minimum(np.searchsorted(bars.opened_at, wanted), len(bars) - 1)
    return at, bars.opened_at[at] == wanted


def came(bars: Bars, at: np.ndarray, steps: np.ndarray) -> Floats:
    """Ln C[at + steps] / C[at]; NaN outside the bars."""
    close = bars.close * bars.adjustment
    to = at + steps
    inside = (to >= 0) & (to < len(close)) & (at >= 0)
    safe = [np.clip(i, 0, len(close) - 1) for i in (to, at)]
    return np.where(inside, np.log(close[safe[0]] / close[safe[1]]), np.nan)
