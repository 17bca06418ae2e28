"""A learned control: gradient-boosted trees on HARX's regressors, no network and no recursion.

First a scale: trees on the logarithm of |r| in units of the last month's range. Then quantiles of
the return in units of that scale, at LEVELS9, as departures from the quantiles of all of them, so
that between two levels and beyond the outer ones the shape is that of `har_empirical`.

Source: Friedman, Greedy Function Approximation (Annals of Statistics 2001), by scikit-learn's
histograms. n rows, F regressors, K knots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines.per_symbol import at_origins
from forecaster.distributions import ParetoTailed
from forecaster.econometrics.empirical_shape import LEVELS, EmpiricalShape, fit_empirical_shape
from forecaster.econometrics.memo import remembered
from forecaster.econometrics.regressors import REGRESSORS, regressors
from forecaster.features import WARM_UP, cumulative_return
from forecaster.protocol import Origins

LEVELS9 = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95])
MONTH = REGRESSORS.index("log_variance_22")
SPANS = [REGRESSORS.index(f"log_variance{tail}") for tail in ("", "_5", "_66")]
KEPT = 16  # fits of one horizon
FEWEST = 500  # rows that trees are grown on; fewer: no trees
# A leaf needs this share of the rows: trees that single out the tails of one crisis know too much.
LEAF_SHARE = 0.05
SCALE_TREES: dict[str, Any] = {"loss": "gamma", "max_iter": 40, "max_leaf_nodes": 6}
QUANTILE_TREES: dict[str, Any] = {"loss": "quantile", "max_iter": 10, "max_leaf_nodes": 4}
STILL = 1e-3  # of the mean |r|: what a return of zero counts as, whose logarithm is none
# A bin is at least this part of what it is in the shape of all rows: quantiles may cross.
NARROWEST = 0.2


@dataclass(frozen=True)
class BoostedQuantiles:
    """One scale and nine quantile models a horizon, pooled over symbols."""

    name: str = "boosted_quantiles"

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedBoosted":
        """On all returns that end inside the history; one thread, so that sums round one way."""
        x = np.concatenate([_inputs(bars)[WARM_UP:] for bars in history])
        month = np.concatenate([_month(bars)[WARM_UP:] for bars in history])
        models = []
        with threadpool_limits(1):
            for h in horizons:
                r = np.concatenate([cumulative_return(bars, h)[WARM_UP:] for bars in history])
                ratio = r / (month * np.sqrt(h))
                known = np.isfinite(ratio)
                models.append(_fit_horizon(x[known], ratio[known], h))
        grown = all(model.scale is not None for model in models)
        notes = () if grown else (f"fewer than {FEWEST} rows: no trees, one scale and shape",)
        return FittedBoosted(tuple(models), notes)


@dataclass(frozen=True, eq=False)
class _Boosted:
    """One horizon: trees, or None where rows were too few for them."""

    scale: Any
    quantiles: tuple[Any, ...]
    width: float  # mean |r| in months' units, where there are no trees
    shape: EmpiricalShape  # of all rows

    def tables(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """x [n, F] -> scale [n], knots [n, K] and stretch of the tails [n, 2], in scales."""
        base, n = self.shape.knots, len(x)
        if self.scale is None:
            return np.full(n, self.width), np.tile(base, (n, 1)), np.ones((n, 2))
        found = np.stack([model.predict(x) for model in self.quantiles], axis=1)
        own = np.interp(LEVELS9, LEVELS, base)
        moved = np.sort(found, axis=1) - own
        at = np.searchsorted(LEVELS9, LEVELS, side="right") - 1
        at = np.clip(at, 0, len(LEVELS9) - 2)
        share = (LEVELS - LEVELS9[at]) / np.diff(LEVELS9)[at]
        knots = base + (1 - share) * moved[:, at] + share * moved[:, at + 1]
        least = NARROWEST * base
        knots = np.maximum.accumulate(knots - least, axis=1) + least
        middle = len(base) // 2
        ends = np.abs(knots[:, [0, -1]] - knots[:, [middle]])
        return self.scale.predict(x), knots, ends / np.abs(base[[0, -1]] - base[middle])


@dataclass(frozen=True)
class FittedBoosted:
    """Trees a horizon."""

    models: tuple[_Boosted, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> ParetoTailed:
        """ParetoTailed [N, H]."""
        x = at_origins(past, origins, lambda _, bars: _inputs(bars))
        month = at_origins(past, origins, lambda _, bars: _month(bars))
        columns = []
        with threadpool_limits(1):
            for model, h in zip(self.models, horizons, strict=True):
                scale, knots, stretch = model.tables(x)
                wide = (scale * month * np.sqrt(h))[:, None]
                xi = np.broadcast_to(model.shape.xi, stretch.shape)
                columns.append((wide * knots, wide * stretch * model.shape.beta, xi))
        knots, beta, xi = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return ParetoTailed(LEVELS, knots, beta, xi)


@remembered(KEPT)
def _fit_horizon(x: Floats, ratio: Floats, horizon: int) -> _Boosted:
    """Trees for returns [n] in months' units, overlapping ones half a horizon apart."""
    size = np.abs(ratio)
    width = float(size.mean()) if len(size) else 1.0
    width = width if width > 0 else 1.0
    step = max(1, horizon // 2)
    x, ratio, size = x[::step], ratio[::step], size[::step]
    if len(ratio) < FEWEST:
        return _Boosted(None, (), width, fit_empirical_shape(ratio / width))
    # Nobody's volume, say: scikit-learn falls over a column that has no value at all.
    hollow = np.isnan(x).all(axis=0)
    x = np.where(hollow, 0.0, x) if hollow.any() else x
    bins = Bins()
    scale = grow(SCALE_TREES, x, np.maximum(size, STILL * width), horizon, bins)
    z = ratio / scale.predict(x)
    quantiles = tuple(
        grow({**QUANTILE_TREES, "quantile": level}, x, z, horizon, bins) for level in LEVELS9
    )
    return _Boosted(scale, quantiles, width, fit_empirical_shape(z))


class Bins:
    """The histogram bins of the rows that ten models of a horizon grow on: cut once, not ten times.

    scikit-learn cuts them from the rows alone, by draws of the same seed, so they are the same; if
    a version of it asks for its bins elsewhere, each model cuts its own again.
    """

    def __init__(self) -> None:
        self._cut: Any = None

    def into(self, trees: Any) -> Any:
        """The estimator, which finds the bins here or leaves them."""
        cut = getattr(trees, "_bin_data", None)
        if cut is None:
            return trees

        def shared(*args: Any, **options: Any) -> Any:
            if self._cut is None:
                self._cut = cut(*args, **options), trees._bin_mapper
            rows, trees._bin_mapper = self._cut
            return rows

        trees._bin_data = shared
        return trees


def grow(trees: dict[str, Any], x: Floats, y: Floats, horizon: int, bins: Bins) -> Any:
    """Fewer trees of wider leaves for longer horizons: their targets overlap and tell less."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    root = float(np.sqrt(horizon))
    settings = {"early_stopping": False, "random_state": 0, **trees}
    settings["max_iter"] = max(1, round(trees["max_iter"] / root))
    leaf = max(20, int(min(LEAF_SHARE * root, 0.25) * len(y)))
    grown = HistGradientBoostingRegressor(**settings, min_samples_leaf=leaf)
    bins.into(grown).fit(x, y)
    vars(grown).pop("_bin_data", None)  # the rows are not needed any more
    return grown


def _inputs(bars: Bars) -> Floats:
    """[T, F] HARX's regressors, the other spans of variance relative to the month's."""
    x = regressors(bars).copy()
    x[:, SPANS] -= x[:, [MONTH]]
    return x


def _month(bars: Bars) -> Floats:
    """[T] root of the last month's mean log range variance: the unit of returns."""
    return np.exp(0.5 * regressors(bars)[:, MONTH])
