"""Scores of one horizon, averaged over symbols a date: dates are the sample."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from forecaster.bars import Floats, Times
from forecaster.errors import DataError, UsageError, suggestion
from forecaster.scores import check_rows


@dataclass(frozen=True, eq=False)
class Losses:
    """One row a cutoff, in order; one column a model. Log losses are minus the log score."""

    h: int  # bars
    crps: pd.DataFrame
    log_loss: pd.DataFrame

    def of(self, model: str) -> tuple[Floats, Floats]:
        """(CRPS, log loss) [n] of a model. Raises UsageError for one that has none."""
        if model not in self.crps:
            known = map(str, self.crps)
            raise UsageError(f"model {model!r} has no scores{suggestion(model, known)}")
        return self.crps[model].to_numpy(), self.log_loss[model].to_numpy()


def losses_at(scores: pa.Table, h: int) -> Losses:
    """The losses of a table of scores. DataError where models are scored on different rows."""
    check_rows(scores)
    return losses_of(scores.to_pandas(), h)


def losses_of(frame: pd.DataFrame, h: int) -> Losses:
    """The same of rows that are known to be the same for every model."""
    return Losses(h, mean_per_date(frame, "crps", h), -mean_per_date(frame, "log_score", h))


def per_date(scores: pa.Table, column: str, h: int) -> pd.DataFrame:
    """Mean of a score over symbols: one row a cutoff in order, one column a model.

    Raises DataError where models are scored on different rows.
    """
    check_rows(scores)
    return mean_per_date(scores.select(["model", "cutoff", "h", column]).to_pandas(), column, h)


def mean_per_date(frame: pd.DataFrame, column: str, h: int) -> pd.DataFrame:
    """`per_date` of rows that are known to be the same for every model."""
    rows = frame[frame["h"] == h]
    if rows.empty:
        raise DataError(f"no scores at h={h}")
    return rows.pivot_table(index="cutoff", columns="model", values=column, aggfunc="mean")


def date_means(labels: Times, *columns: Floats) -> list[Floats]:
    """Losses [N] with the label of each row -> their means [n] over the rows of each date."""
    _, day, count = np.unique(labels, return_inverse=True, return_counts=True)
    return [np.bincount(day, column) / count for column in columns]
