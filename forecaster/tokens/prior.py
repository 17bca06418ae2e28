"""The density that return bins are cut from: what an untaught model forecasts.

T bars of one symbol, H horizons. A prior gives each bar a scale a horizon, and each horizon a shape
of the return in units of that scale.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from forecaster.bars import Bars, Floats, Panel
from forecaster.config import Record
from forecaster.distributions import SkewT, StudentT
from forecaster.econometrics.harx import Harx, fit_horizons
from forecaster.econometrics.regressors import regressors
from forecaster.econometrics.student_t import fit_shape
from forecaster.features import WARM_UP, Features, cumulative_return
from forecaster.tokens.levels import LevelPrior

Vector = tuple[float, ...]


class RangePrior(Record):
    """The causal range scale times root h, under a Student-t a horizon."""

    law: Literal["range_student_t"] = "range_student_t"
    horizons: tuple[int, ...]
    shapes: tuple[tuple[float, float, float], ...]  # H rows of loc, scale, df

    def scales(self, bars: Bars, known: Features) -> Floats:
        """[T, H]."""
        return self.scales_at(bars.symbol, np.empty(0), known.scale)

    def scales_at(self, symbol: str, x: Floats, scale: Floats) -> Floats:  # noqa: ARG002  likewise
        """Regressors [N, F] and range scales [N] of a symbol's bars -> [N, H]."""
        return scale[:, None] * np.sqrt(np.array(self.horizons, dtype=np.float64))

    def base(self) -> StudentT:
        """[1, H] the shapes."""
        loc, width, df = np.array(self.shapes).T[:, None]
        return StudentT(loc, width, df)


class HarxRecord(Record):
    """A fitted Harx as JSON can hold it."""

    symbols: tuple[str, ...]
    mean: Vector
    deviation: Vector
    intercept: Vector
    slope: tuple[Vector, ...]
    loc: float
    skew: float
    df: float

    @cached_property
    def model(self) -> Harx:
        """The Harx."""
        return Harx(
            self.symbols,
            np.array(self.mean),
            np.array(self.deviation),
            np.array(self.intercept),
            np.array(self.slope),
            self.loc,
            self.skew,
            self.df,
        )


class HarxPrior(Record):
    """HARX: its scale and its skewed t, one a horizon."""

    law: Literal["harx"] = "harx"
    horizons: tuple[int, ...]
    models: tuple[HarxRecord, ...]

    def scales(self, bars: Bars, known: Features) -> Floats:
        """[T, H]."""
        return self.scales_at(bars.symbol, regressors(bars), known.scale)

    def scales_at(self, symbol: str, x: Floats, scale: Floats) -> Floats:  # noqa: ARG002  likewise
        """Regressors [N, F] and range scales [N] of a symbol's bars -> [N, H]."""
        return np.stack([m.model.scale(symbol, x) for m in self.models], axis=1)

    def base(self) -> SkewT:
        """[1, H] the shapes."""
        loc, skew, df = np.array([[(m.loc, m.skew, m.df) for m in self.models]]).transpose(2, 0, 1)
        return SkewT(loc, np.ones_like(loc), skew, df)


Prior = Annotated[RangePrior | HarxPrior | LevelPrior, Field(discriminator="law")]


def fit_range_prior(
    history: Panel, known: Sequence[Features], horizons: Sequence[int]
) -> RangePrior:
    """A Student-t of all symbols' returns in units of the causal scale, a horizon."""
    shapes = []
    for h in horizons:
        z = [
            cumulative_return(bars, h)[WARM_UP:] / (f.scale[WARM_UP:] * math.sqrt(h))
            for bars, f in zip(history, known, strict=True)
        ]
        shape = fit_shape(np.concatenate(z))
        shapes.append((shape.loc, shape.scale, shape.df))
    return RangePrior(horizons=tuple(horizons), shapes=tuple(shapes))


def fit_harx_prior(history: Panel, horizons: Sequence[int]) -> HarxPrior:
    """The hierarchical HARX of each horizon."""
    records = [
        HarxRecord(
            symbols=m.symbols,
            mean=tuple(m.mean.tolist()),
            deviation=tuple(m.deviation.tolist()),
            intercept=tuple(m.intercept.tolist()),
            slope=tuple(tuple(row) for row in m.slope.tolist()),
            loc=m.loc,
            skew=m.skew,
            df=m.df,
        )
        for m in fit_horizons(history, horizons)
    ]
    return HarxPrior(horizons=tuple(horizons), models=tuple(records))
