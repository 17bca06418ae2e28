"""Volatility models: a scale that moves, under a normal or a Student-t, symbol by symbol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines.per_symbol import at_origins, scale_by_root
from forecaster.distributions import Gaussian, StudentT
from forecaster.econometrics.egarch import Egarch
from forecaster.econometrics.garch import Garch, fit_garch
from forecaster.econometrics.student_t import Shape, fit_shape
from forecaster.features import (
    WARM_UP,
    causal_scale,
    cumulative_return,
    log_returns,
    range_variance,
)
from forecaster.protocol import Origins

ScaleModel = Garch | Egarch


def ewma_scale(bars: Bars) -> Floats:
    """[T] RiskMetrics volatility: root of the 0.94-weighted mean of squared returns. Causal."""
    return causal_scale(log_returns(bars) ** 2)


@dataclass(frozen=True)
class EwmaGaussian:
    """Normal, no drift, h times the RiskMetrics variance (1996, decay 0.94)."""

    name: str = "ewma_gaussian"
    notes: tuple[str, ...] = ()

    def fit(self, history: Panel, horizons: Sequence[int]) -> "EwmaGaussian":  # noqa: ARG002
        """Nothing to learn."""
        return self

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        """Gaussian [N, H]."""
        scales = at_origins(
            past, origins, lambda _, bars: scale_by_root(ewma_scale(bars), horizons)
        )
        return Gaussian(np.zeros_like(scales), scales)


@dataclass(frozen=True)
class FittedVolatility:
    """A scale model a symbol (None: RiskMetrics) and a Student-t shape a symbol and horizon."""

    models: tuple[Garch | None, ...]  # one a member
    shapes: tuple[tuple[Shape, ...], ...]  # one a member and horizon
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> StudentT:
        """StudentT [N, H]."""
        scale = at_origins(
            past, origins, lambda i, bars: horizon_scales(self.models[i], bars, horizons)
        )
        table = np.array([[(s.loc, s.scale, s.df) for s in row] for row in self.shapes])
        loc, width, df = np.moveaxis(table[origins.member], -1, 0)  # each [N, H]
        return StudentT(loc * scale, width * scale, df)


@dataclass(frozen=True)
class EwmaStudentT:
    """RiskMetrics scale under a Student-t fitted to the returns in its units."""

    name: str = "ewma_student_t"

    def fit(self, history: Panel, horizons: Sequence[int]) -> FittedVolatility:
        """Shapes by maximum likelihood; overlapping targets, all inside the history."""
        models = tuple(None for _ in history)
        return FittedVolatility(models, _shapes(history, models, horizons))


@dataclass(frozen=True)
class GarchStudentT:
    """GARCH(1,1)-t; where its fit fails the guard, RiskMetrics for that fold, counted."""

    name: str = "garch_student_t"

    def fit(self, history: Panel, horizons: Sequence[int]) -> FittedVolatility:
        """One GARCH a symbol, then shapes as for `ewma_student_t`."""
        models = tuple(fit_garch(log_returns(bars)) for bars in history)
        notes = fallbacks(history, models, "GARCH")
        return FittedVolatility(models, _shapes(history, models, horizons), notes)


def fallbacks(history: Panel, models: Sequence[ScaleModel | None], name: str) -> tuple[str, ...]:
    """Which symbols' fits failed the guard, and what stood in for them."""
    return tuple(
        f"{bars.symbol}: no sound {name} fit on {len(bars)} bars, RiskMetrics instead"
        for bars, model in zip(history, models, strict=True)
        if model is None and len(bars) > 0
    )


@dataclass(frozen=True)
class RangeStudentT:
    """The learner without its network: range-based scale under one Student-t for all symbols.

    What a learner adds is its distance from this row; it has the same scale and the same shape.
    """

    name: str = "range_student_t"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedRange":
        """Shapes by maximum likelihood over all symbols' returns in units of the causal scale."""
        known = [causal_scale(range_variance(bars)) for bars in history]
        shapes = []
        for h in horizons:
            z = [cumulative_return(b, h) / s for b, s in zip(history, known, strict=True)]
            pooled = np.concatenate([each[WARM_UP:] for each in z])
            shapes.append(fit_shape(pooled / np.sqrt(h)))
        return FittedRange(tuple(shapes))


@dataclass(frozen=True)
class FittedRange:
    """One Student-t a horizon."""

    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> StudentT:
        """StudentT [N, H]."""
        scale = at_origins(
            past,
            origins,
            lambda _, bars: scale_by_root(causal_scale(range_variance(bars)), horizons),
        )
        loc, width, df = np.array([(s.loc, s.scale, s.df) for s in self.shapes]).T
        return StudentT(loc * scale, width * scale, df * np.ones_like(scale))


def horizon_scales(model: ScaleModel | None, bars: Bars, horizons: Sequence[int]) -> Floats:
    """[T, H] forecast scale of the next h bars' return; RiskMetrics where there is no model."""
    if model is None:
        return scale_by_root(ewma_scale(bars), horizons)
    following = model.next_variance(log_returns(bars))
    return np.sqrt(np.stack([model.cumulative_variance(following, h) for h in horizons], axis=1))


def _shapes(
    history: Panel, models: Sequence[Garch | None], horizons: Sequence[int]
) -> tuple[tuple[Shape, ...], ...]:
    """A Student-t of return over forecast scale, for each member and horizon."""
    out = []
    for bars, model in zip(history, models, strict=True):
        scales = horizon_scales(model, bars, horizons)
        returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
        out.append(tuple(fit_shape(z) for z in (returns / scales)[WARM_UP:].T))
    return tuple(out)
