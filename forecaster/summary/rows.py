"""Scores of a run, a model at a time: no more than one model's rows are held, and what is kept of
them is small. Means are the same to the last bit as over one table of all models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from forecaster import inference, scores
from forecaster.backtest import Plan, cell_table
from forecaster.inference import Losses
from forecaster.runs import RunFolder
from forecaster.scores.risk import qlike

KEY = ["unique_id", "cutoff", "h"]
COMPARED = ["model", *KEY, "crps", "log_score", "year", "volatility"]


class ScoredRows:
    """Rows of one model after another, with the columns that groups are made of."""

    def __init__(self, plan: Plan, run: RunFolder) -> None:
        self._plan, self._run = plan, run
        self._first: pa.Table | None = None  # keys that all models must have
        self._known: dict[str, Any] = {}  # columns that depend on the key alone

    def of(self, model: str) -> pd.DataFrame:
        """Raises DataError for a model that was not scored on the rows of the others."""
        table = cell_table(self._plan, self._run, model, "scores")
        keys = table.select(["model", "target_name", *KEY])
        frame = table.to_pandas(strings_to_categorical=True)
        if self._first is None:
            self._first = keys
            self._known = {
                "realised": scores.realised_variance(table, self._plan.panel),
                "year": frame["cutoff"].dt.year.to_numpy(),
                "volatility": inference.volatility_terciles(frame, self._plan.panel).array,
            }
        elif not keys.drop(["model"]).equals(self._first.drop(["model"])):
            scores.check_rows(pa.concat_tables([self._first, keys]))
        frame["qlike"] = qlike(frame["variance"], self._known["realised"])
        frame["year"], frame["volatility"] = self._known["year"], self._known["volatility"]
        return frame

    def compared(self, models: Sequence[str]) -> pd.DataFrame:
        """What comparisons by group need of some models."""
        none = pd.DataFrame(columns=COMPARED)
        each = [self.of(model)[COMPARED[1:]] for model in models]
        if not each:
            return none
        which = np.repeat(np.arange(len(each)), [len(rows) for rows in each])
        named = pd.Categorical.from_codes(which, dtype=pd.CategoricalDtype(list(models)))
        return pd.concat(each, ignore_index=True).assign(model=named)


@dataclass(frozen=True, eq=False)
class Digest:
    """What is kept of one model's rows."""

    model: str
    means: dict[int, dict[str, Any]]  # by horizon, as `scores.averages` has them, and a few more
    calibration: dict[int, dict[str, Any]]
    by_symbol: list[dict[str, Any]]
    losses: dict[int, Losses]  # of this model alone


def digest(frame: pd.DataFrame, horizons: Sequence[int]) -> Digest:
    """Of one model's rows."""
    groups = {h: frame[frame["h"] == h] for h in horizons}
    means = {row["h"]: row for row in records_of(scores.averages(frame))}
    for h, rows in groups.items():
        means[h] |= {
            "qlike": float(rows["qlike"].mean()),
            "rank_ic": inference.rank_correlation(rows, h),
        }
    columns = ["model", "unique_id", "h", "n", "log_score", "crps"]
    model = str(frame["model"].iloc[0])
    symbols = frame.groupby(["unique_id", "h"], observed=True, sort=True)
    each = symbols.size().rename("n"), symbols[["log_score", "crps"]].mean()
    by_symbol = records_of(pd.concat(each, axis=1).reset_index().assign(model=model)[columns])
    return Digest(
        model=model,
        means=means,
        calibration={h: inference.calibration(groups[h], h) for h in horizons},
        by_symbol=by_symbol,
        losses={h: inference.losses_of(rows.assign(model=model), h) for h, rows in groups.items()},
    )


def joined(found: Sequence[Digest], h: int) -> Losses:
    """The losses of all models at a horizon, models in order of their names."""
    ordered = [each.losses[h] for each in sorted(found, key=lambda each: each.model)]
    return Losses(
        h,
        pd.concat([each.crps for each in ordered], axis=1),
        pd.concat([each.log_loss for each in ordered], axis=1),
    )


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain records, numpy's numbers as Python's."""
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
