"""What an explorer walks through: every stored forecast of one run, or of two, by its origin."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from forecaster.bars import Bars, Panel
from forecaster.frames import PREDICTIONS, SCORES
from forecaster.report.drawing import days
from forecaster.report.material import Material, read_material
from forecaster.report.origins import Chosen, chosen, pair_of
from forecaster.report.stored import table_of
from forecaster.runs import RunFolder

KEY = ["model", "unique_id"]
NOT_TEXT = {
    kind: [each.name for each in schema if each.type != pa.string()]
    for kind, schema in (("predictions", PREDICTIONS), ("scores", SCORES))
}
MOST_SHOWN = 4  # models that are chosen at first, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the controls say."""

    symbol: str
    cutoff: pd.Timestamp
    h: int
    models: tuple[str, ...]  # of `Subject.models`; the first one's bands are filled
    revealed: bool = False  # what came after the cutoff is shown


class Forecast(NamedTuple):
    """A model's stored forecasts from one origin, the nearest first, and its line's number."""

    i: int
    name: str
    rows: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Kept:
    """One run's tables, all models of them."""

    found: Material
    predictions: pd.DataFrame
    scores: pd.DataFrame

    def of(self, kind: str, model: str, symbol: str) -> pd.DataFrame:
        """A model's rows of a symbol in `predictions` or `scores`, by cutoff and horizon.

        Without the columns of text, which are the same in all of them.
        """
        key = (kind, model, symbol)
        if key not in self._parts:
            table = self.predictions if kind == "predictions" else self.scores
            at = self._places[kind].get((model, symbol), np.empty(0, dtype=np.int64))
            self._parts[key] = table[NOT_TEXT[kind]].iloc[at]
        return self._parts[key]

    @cached_property
    def _parts(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        return {}

    @cached_property
    def _places(self) -> dict[str, dict[Any, Any]]:
        tables = {"predictions": self.predictions, "scores": self.scores}
        return {kind: table.groupby(KEY, sort=False).indices for kind, table in tables.items()}


@dataclass(frozen=True, eq=False)
class Subject:
    """One run, or two; where they differ in bars, those of the first are drawn."""

    runs: tuple[Kept, ...]
    comparison: dict[str, Any] = field(default_factory=dict)  # of two runs, `side_by_side`

    @property
    def first(self) -> Material:
        """The run that was named first."""
        return self.runs[0].found

    @property
    def horizons(self) -> tuple[int, ...]:
        """Of the first run."""
        return self.first.horizons

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Those with a forecast, in the run's order."""
        there = set(self.runs[0].predictions["unique_id"])
        return tuple(name for name in self.first.summary["symbols"] if name in there)

    @cached_property
    def models(self) -> dict[str, tuple[int, str]]:
        """Name shown -> (run, model): learners first, a second run's with its folder's name."""
        out: dict[str, tuple[int, str]] = {}
        for i, run in enumerate(self.runs):
            about = f" ({run.found.path.name})" if i else ""
            out |= {f"{model}{about}": (i, model) for model in reversed(run.found.models)}
        return out

    @property
    def chosen_at_first(self) -> tuple[str, ...]:
        """The first learner and whom it is compared with."""
        shown = list(reversed(self.first.shown(self.horizons[0])))
        others = [name for name, (run, _) in self.models.items() if run == 1][:1]
        return (*shown[: MOST_SHOWN - len(others)], *others)

    @cached_property
    def picks(self) -> list[Chosen]:
        """The origins that the report's rule chooses; none without two models."""
        pair = pair_of(self.first)
        return [] if pair is None else chosen(self.first, *pair)

    def cutoffs(self, symbol: str) -> pd.DatetimeIndex:
        """Every origin of a symbol, the oldest first."""
        if symbol not in self._cutoffs:
            rows = self.runs[0].predictions
            mine = rows.loc[rows["unique_id"] == symbol, "cutoff"]
            self._cutoffs[symbol] = pd.DatetimeIndex(np.unique(mine.to_numpy()))
        return self._cutoffs[symbol]

    @cached_property
    def _cutoffs(self) -> dict[str, pd.DatetimeIndex]:
        return {}

    def nearest(self, symbol: str, moment: pd.Timestamp) -> int:
        """Which of the symbol's origins is the last one not after a moment; else the first."""
        return max(int(self.cutoffs(symbol).searchsorted(moment, side="right")) - 1, 0)

    def rows(self, kind: str, name: str, symbol: str) -> pd.DataFrame:
        """A shown model's rows of a symbol."""
        run, model = self.models[name]
        return self.runs[run].of(kind, model, symbol)

    def forecasts(self, choice: Choice) -> list[Forecast]:
        """Stored forecasts of the chosen models that forecast from the origin."""
        key = (choice.symbol, choice.cutoff, choice.models)
        found = self._forecasts.get(key)
        if found is None:
            found = list(self._at(choice))
            self._forecasts.clear()  # several charts ask for the same, and then never again
            self._forecasts[key] = found
        return found  # not what is kept: another thread may have cleared it

    def _at(self, choice: Choice) -> Iterator[Forecast]:
        for i, name in enumerate(choice.models):
            rows = self.rows("predictions", name, choice.symbol)
            own = rows[(rows["cutoff"] == choice.cutoff).to_numpy()]
            if len(own):
                yield Forecast(i, name, own)

    @cached_property
    def _forecasts(self) -> dict[Any, list[Forecast]]:
        return {}

    def bars(self, symbol: str) -> Bars | None:
        """The bars that the run saw of a symbol, where they still are."""
        panel = self.first.panel
        return None if panel is None else next(b for b in panel if str(b.symbol) == symbol)

    def day(self, cutoff: pd.Timestamp) -> str:
        """An origin in words."""
        return days(pd.DatetimeIndex([cutoff]))[0]


def read_subject(runs: list[RunFolder], bars: Panel | Path) -> Subject:
    """Everything of one run or two, read once; `bars` as of `read_material`.

    Raises CheckpointError for a run of another version, StorageError for a damaged table.
    """
    kept = []
    for run in runs:
        found = read_material(run, bars)
        tables = (
            table_of(run.path / f"{n}.parquet", found.models) for n in ("predictions", "scores")
        )
        kept.append(Kept(found, *tables))
    comparison: dict[str, Any] = {}
    if len(runs) > 1:
        from forecaster.side_by_side import compare

        comparison = compare(runs[0], runs[1])
    return Subject(tuple(kept), comparison)
