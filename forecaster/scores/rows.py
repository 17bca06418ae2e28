"""How good each forecast was, row by row, and the averages of that. N origins, H horizons.

Returns are log returns of closes, so their unit is 1; log scores are nats.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from forecaster.bars import Floats
from forecaster.distributions import Distribution
from forecaster.errors import DataError
from forecaster.frames import PINBALL_LEVELS, RISK_LEVELS, SCORES, TARGET, Keys, table_of
from forecaster.scores.risk import ASKED, fz0, spread

COVERAGES = (50, 80, 90, 95, 99)  # per cent, of central intervals
PIT_BINS = 10


def score(
    keys: Keys,
    distribution: Distribution,
    y: Floats,
    model: str,
    fold: int,
    quantiles: Floats | None = None,
) -> pa.Table:
    """SCORES of a model's forecasts [N, H]. Rows with y NaN are pending: left out, to be counted.

    `quantiles` [N, H, Q] at ASKED where they are known already.

    pinball at level a: (a - 1{y < q}) (y - q), in the unit of y.
    """
    if distribution.shape != y.shape or y.shape != keys.ds.shape:
        raise DataError(
            f"{model}: {distribution.shape} forecasts, {y.shape} outcomes, {keys.ds.shape} keys"
        )
    known = ~np.isnan(y).ravel()
    shape = spread(distribution.quantile(ASKED) if quantiles is None else quantiles)
    error = y[..., None] - shape.quantiles
    pinball = np.where(error < 0, np.array(PINBALL_LEVELS) - 1, PINBALL_LEVELS) * error
    columns = keys.columns() | {
        "model": np.full(y.size, model, dtype=object),
        "target_name": np.full(y.size, TARGET, dtype=object),
        "fold": np.full(y.size, fold, dtype=np.int32),
        "log_score": distribution.logpdf(y).ravel(),
        "crps": distribution.crps(y).ravel(),
        "pit": distribution.pit(y).ravel(),
        "y": y.ravel(),
        "median": shape.median.ravel(),
        "p_up": (1 - distribution.cdf(np.zeros(y.shape))).ravel(),
        "variance": shape.variance.ravel(),
    }
    columns |= {f"pinball_{a}": pinball[..., i].ravel() for i, a in enumerate(PINBALL_LEVELS)}
    for i, a in enumerate(RISK_LEVELS):
        value_at_risk, shortfall = shape.quantiles[..., i], shape.shortfall[..., i]
        columns[f"fz0_{a}"] = fz0(y, value_at_risk, shortfall, a).ravel()
    return table_of({name: column[known] for name, column in columns.items()}, SCORES)


def summarise(scores: pa.Table, by: Sequence[str] = ("model", "h")) -> pd.DataFrame:
    """`averages` of a table. Raises DataError where models were not scored on the same rows."""
    check_rows(scores)
    return averages(scores.to_pandas(), by)


def averages(frame: pd.DataFrame, by: Sequence[str] = ("model", "h")) -> pd.DataFrame:
    """One row a group: n, mean scores, coverage of central intervals, PIT histogram (shares).

    `brier` is of the event y > 0, `up` that event's share (the base rate), `hit` the share of
    rows in which a rise was given a half or more exactly where there was one.
    The rows must be the same for every model: other means do not compare.
    """
    frame = frame.assign(up=frame["y"] > 0)
    frame["hit"] = (frame["p_up"] >= 0.5) == frame["up"]
    frame["brier"] = (frame["p_up"] - frame["up"]) ** 2
    for percent in COVERAGES:
        frame[f"coverage_{percent}"] = (frame["pit"] - 0.5).abs() <= percent / 200
    decile = np.minimum((frame["pit"] * PIT_BINS).astype(int), PIT_BINS - 1)
    for i in range(PIT_BINS):
        frame[f"pit_{i}"] = decile == i
    means = ["log_score", "crps", "brier", "hit", "up"]
    means += [f"pinball_{a}" for a in PINBALL_LEVELS] + [f"fz0_{a}" for a in RISK_LEVELS]
    means += [f"coverage_{percent}" for percent in COVERAGES]
    means += [f"pit_{i}" for i in range(PIT_BINS)]
    groups = frame.groupby(list(by), sort=True, observed=True)
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
