"""Linear pools of other rows: the weights are those that the past would have wanted.

Members are fitted twice: on the history less its last LOOKBACK bars, to be scored there, and on all
of it, to forecast. Weights maximise the log score of the pool on those bars, horizon by horizon,
drawn towards equal ones.

Source: Hall and Mitchell, Combining Density Forecasts (International Journal of Forecasting 2007),
section 3; Geweke and Amisano, Optimal Prediction Pools (Journal of Econometrics 2011).
R scored forecasts, M members, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Floats, Panel
from forecaster.distributions import Mixture
from forecaster.features import cumulative_return
from forecaster.folds import FEWEST_PAST, known_at
from forecaster.protocol import Fitted, Forecaster, Origins

LOOKBACK = 504  # bars of the clock, about two years
FEWEST = 500  # bars of the clock that members are fitted to before they are scored
# How many forecasts at equal weights the past is weighed against, at one horizon of one bar; a
# forecast of h bars overlaps with its neighbours and counts for 1 / h.
EQUAL = 100.0
PORTION = 4096  # origins, of whole symbols, that members are scored on at a time
ITERATIONS = 500
TOLERANCE = 1e-6  # of a weight


@dataclass(frozen=True)
class Pool:
    """A weighted mean of its members' densities."""

    name: str
    members: tuple[Forecaster, ...]

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedPool":
        """Weights from the end of the history, by members that had not seen it; then members."""
        weights = learned_weights(self.members, history, horizons)
        notes = () if weights is not None else ("too little history for weights: equal ones",)
        if weights is None:
            weights = np.full((len(horizons), len(self.members)), 1 / len(self.members))
        fitted = tuple(each.fit(history, horizons) for each in self.members)
        for forecaster, each in zip(self.members, fitted, strict=True):
            notes += tuple(f"{forecaster.name}: {note}" for note in each.notes)
        return FittedPool(fitted, weights, notes)


@dataclass(frozen=True, eq=False)
class FittedPool:
    """Fitted members and their weights [H, M]."""

    members: tuple[Fitted, ...]
    weights: Floats
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Mixture:
        """Mixture [N, H]."""
        return Mixture(
            tuple(each.forecast(past, origins, horizons) for each in self.members), self.weights
        )


def learned_weights(
    members: Sequence[Forecaster], history: Panel, horizons: Sequence[int]
) -> Floats | None:
    """[H, M], or None where the history is too short or nothing in it can be scored."""
    clock = history.clock
    if len(clock) < FEWEST + LOOKBACK:
        return None
    earlier = known_at(history, clock[-LOOKBACK - 1])
    origins = _later_origins(earlier, history)
    if len(origins) == 0:
        return None
    fitted = [each.fit(earlier, horizons) for each in members]
    y = np.empty((len(origins), len(horizons)))
    for i, bars in enumerate(history):
        rows = origins.member == i
        returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
        y[rows] = returns[origins.bar[rows]]
    densities, done = np.empty((*y.shape, len(fitted))), 0
    for some in origins.portions(PORTION):
        rows = slice(done, done + len(some))
        for m, each in enumerate(fitted):
            densities[rows, :, m] = each.forecast(history, some, horizons).logpdf(y[rows])
        done = rows.stop
    return np.stack([best_weights(densities[:, j], EQUAL * h) for j, h in enumerate(horizons)])


def best_weights(log_density: Floats, equal: float) -> Floats:
    """[M] by expectation maximisation on log densities [R, M]; rows with NaN have not ended.

    Maximises sum_r ln sum_m w[m] p[r, m] + (equal / M) sum_m ln w[m], which is concave.
    """
    known = log_density[np.isfinite(log_density).all(axis=1)]
    p = np.exp(known - known.max(axis=1, keepdims=True)) if len(known) else known
    m = log_density.shape[1]
    weights = np.full(m, 1 / m)
    for _ in range(ITERATIONS):
        share = weights * p / (p @ weights)[:, None]
        new = (share.sum(axis=0) + equal / m) / (len(p) + equal)
        moved = np.abs(new - weights).max()
        weights = new
        if moved < TOLERANCE:
            break
    return weights / weights.sum()


def _later_origins(earlier: Panel, history: Panel) -> Origins:
    """Bars of the history that `earlier` lacks, of symbols that are old enough."""
    spans = [
        np.arange(max(len(before), FEWEST_PAST), len(bars))
        for before, bars in zip(earlier, history, strict=True)
    ]
    member = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
    return Origins(member, np.concatenate(spans).astype(np.int64))
