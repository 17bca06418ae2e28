"""Where a difference comes from: by symbol, year and volatility; and without overlap.

Rows are scored forecasts (a data frame of SCORES); a group's differences are averaged over symbols
per date, as everywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from forecaster.bars import Floats, Panel
from forecaster.features import causal_scale, range_variance
from forecaster.inference.losses import Losses
from forecaster.inference.mean_tests import SIZE, diebold_mariano, fewest

TERCILES = ("calm", "middle", "wild")


@dataclass(frozen=True)
class Part:
    """A model less a rival on some of the rows of one horizon."""

    model: str
    rival: str
    h: int
    by: str  # unique_id, year, volatility
    group: str
    dates: int
    crps_skill: float
    log_score_gain: float  # nats a forecast
    log_score_p: float | None  # Diebold-Mariano; None for too few dates


@dataclass(frozen=True)
class Subsamples:
    """The same test on every h-th date, from each of the h first ones: nothing overlaps."""

    dates: int  # of the shortest subsample
    ahead: int  # of the h subsamples, by mean log score
    rejected: int  # of them at 5 %, whichever side
    median_p: float


def parts(frame: pd.DataFrame, h: int, by: str, pairs: Sequence[tuple[str, str]]) -> Iterator[Part]:
    """Differences of pairs (model, rival) for each value of the column `by`, on the same rows."""
    wanted = {name for pair in pairs for name in pair}
    rows = frame[(frame["h"] == h) & frame["model"].isin(wanted)]
    keys = rows.groupby([by, "model", "cutoff"], observed=True, sort=True)
    means = keys[["crps", "log_score"]].mean()
    group, model = (means.index.get_level_values(i).to_numpy() for i in (0, 1))
    starts = np.append(0, np.flatnonzero((group[1:] != group[:-1]) | (model[1:] != model[:-1])) + 1)
    own: dict[Any, dict[str, tuple[Floats, Floats]]] = {}  # group -> model -> losses a date
    crps, log_loss = means["crps"].to_numpy(), -means["log_score"].to_numpy()
    for start, stop in pairwise([*starts.tolist(), len(means)] if len(means) else []):
        span = slice(start, stop)
        own.setdefault(group[start], {})[str(model[start])] = crps[span], log_loss[span]
    for value, losses in own.items():
        for pair in pairs:
            yield _part(losses, pair, h, (by, str(value)))


def _part(
    losses: Mapping[str, tuple[Floats, Floats]],
    pair: tuple[str, str],
    h: int,
    where: tuple[str, str],
) -> Part:
    (a, c), (b, d) = (losses[name] for name in pair)
    tested = len(a) >= fewest(h)
    return Part(
        model=pair[0],
        rival=pair[1],
        h=h,
        by=where[0],
        group=where[1],
        dates=len(a),
        crps_skill=float(1 - a.mean() / max(b.mean(), np.finfo(float).tiny)),
        log_score_gain=float((d - c).mean()),
        log_score_p=diebold_mariano(c, d, h)[2] if tested else None,
    )


def subsamples(losses: Losses, model: str, rival: str) -> Subsamples | None:
    """Log scores on dates that are h apart. None for h = 1 and for subsamples of too few dates.

    All h of them, for one could be chosen. They are dependent: the count of rejections is no test.
    """
    h, c, d = losses.h, losses.of(model)[1], losses.of(rival)[1]
    if h == 1 or len(c) // h < fewest(1):
        return None
    found = [diebold_mariano(c[i::h], d[i::h], 1) for i in range(h)]
    p = [each[2] for each in found]
    return Subsamples(
        dates=len(c) // h,
        ahead=sum(each[0] < 0 for each in found),
        rejected=sum(each < SIZE for each in p),
        median_p=float(np.median(p)),
    )


def volatility_terciles(frame: pd.DataFrame, panel: Panel) -> pd.Series:
    """The tercile of each row's volatility, from what was known at its origin.

    The causal range scale at the cutoff, ranked among all the scales that its symbol had had by
    then: no edge is fitted, and none knows the test.
    """
    found = pd.Series(pd.NA, index=frame.index, dtype="object")
    for bars in panel:
        rows = frame["unique_id"] == str(bars.symbol)
        scale = pd.Series(causal_scale(range_variance(bars)))
        rank = scale.expanding().rank(pct=True).to_numpy()
        third = np.minimum((3 * np.nan_to_num(rank)).astype(int), 2)
        at = np.searchsorted(bars.opened_at, frame.loc[rows, "cutoff"].to_numpy())
        found[rows] = np.array(TERCILES, dtype=object)[third[at]]
    return found
