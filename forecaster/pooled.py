"""What a learner forecasts beyond the next bar: its density pooled with two classical ones.

Targets of h bars overlap, so a history holds h times fewer of them, and networks add next to
nothing there; densities that come from other laws of the scale do. Weights are equal: weights that
the past would have wanted did no better here.

Source: Stock and Watson, Combination Forecasts of Output Growth (Journal of Forecasting 2004), for
equal weights; the members are `baselines.empirical` and `baselines.skewed`.
N origins, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.bars import Panel
from forecaster.baselines.empirical import HarEmpirical
from forecaster.baselines.skewed import GarchSkewT
from forecaster.config import RunConfig
from forecaster.distributions import Distribution, Mixture
from forecaster.errors import DataError
from forecaster.learner import BackboneForecaster, FittedLearner
from forecaster.protocol import Fitted, Forecaster, Origins

MEMBERS: tuple[Forecaster, ...] = (HarEmpirical(), GarchSkewT("EGARCH"))


@dataclass(frozen=True)
class PooledLearner:
    """A learner as it is for the next bar, and in a pool of equal weights beyond it."""

    learner: BackboneForecaster

    @property
    def name(self) -> str:
        """The learner's."""
        return self.learner.name

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedPooled":
        """Raises DataError for what is too little for the learner; a member is left out, noted."""
        return accompanied(self.learner.fit(history, horizons), history, horizons)


@dataclass(frozen=True, eq=False)
class FittedPooled:
    """A fitted learner and what it is pooled with."""

    learner: FittedLearner
    members: tuple[Fitted, ...]
    notes: tuple[str, ...] = ()

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Distribution:
        """Distributions [N, H]. Raises UsageError for horizons other than those learnt."""
        own = self.learner.forecast(past, origins, horizons)
        if not self.members:
            return own
        others = [each.forecast(past, origins, horizons) for each in self.members]
        weights = np.full((len(horizons), 1 + len(others)), 1 / (1 + len(others)))
        weights[np.asarray(horizons) == 1] = np.eye(1, 1 + len(others))
        return Mixture((own, *others), weights)


def accompanied(learner: FittedLearner, history: Panel, horizons: Sequence[int]) -> FittedPooled:
    """The learner beside members fitted to the same history; to none where all is one bar ahead."""
    members, notes = [], list(learner.notes)
    for each in MEMBERS if max(horizons) > 1 else ():
        try:
            fitted = each.fit(history, horizons)
        except DataError as error:
            notes.append(f"{each.name} is not in the pool: {error}")
            continue
        members.append(fitted)
        notes += [f"{each.name}: {note}" for note in fitted.notes]
    return FittedPooled(learner, tuple(members), tuple(notes))


def learners(config: RunConfig) -> tuple[BackboneForecaster | PooledLearner, ...]:
    """One a preset. Raises UsageError for an unknown one."""
    each = [BackboneForecaster(name, config.learner, config.seed) for name in config.presets]
    return tuple(PooledLearner(one) for one in each) if config.learner.pool else tuple(each)
