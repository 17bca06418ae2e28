"""What a learner forecasts beyond the next bar: its density pooled with two classical ones.

Targets of h bars overlap, so a history holds h times fewer of them, and networks add next to
nothing there; densities that come from other laws of the scale do. Weights are equal: weights that
the past would have wanted did no better here.

Source: Stock and Watson, Combination Forecasts of Output Growth (Journal of Forecasting 2004), for
equal weights; the members are `baselines.empirical` and `baselines.skewed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from forecaster.bars import Panel, duration
from forecaster.baselines.empirical import HarEmpirical
from forecaster.baselines.pool import FittedPool
from forecaster.baselines.skewed import GarchSkewT
from forecaster.config import RunConfig
from forecaster.distributions import Mixture
from forecaster.errors import DataError
from forecaster.learner import BackboneForecaster, FittedLearner
from forecaster.protocol import Apart, Forecaster, Origins, TrainingCurves

DAY = np.timedelta64(1, "D")
MEMBERS: tuple[Forecaster, ...] = (HarEmpirical(), GarchSkewT("EGARCH"))


@dataclass(frozen=True)
class PooledLearner:
    """A learner as it is for the next bar, and in a pool of equal weights beyond it."""

    learner: BackboneForecaster

    @property
    def name(self) -> str:
        """The learner's."""
        return self.learner.name

    def fit(self, history: Panel, horizons: Sequence[int]) -> "FittedLearner | Accompanied":
        """Raises DataError for what is too little for the learner; a member is left out, noted."""
        return accompanied(self.learner.fit(history, horizons), history, horizons)


def accompanied(
    learner: FittedLearner, history: Panel, horizons: Sequence[int]
) -> "FittedLearner | Accompanied":
    """The learner beside members fitted to the same history, on bars of a day and longer.

    Alone where all is one bar ahead, and on bars within a day: the learner's prior knows their
    season, the members do not. A member that refuses the history is left out, and the notes say so.
    """
    members, notes = [], list(learner.notes)
    pooled = max(horizons) > 1 and duration(history.interval) >= DAY
    for each in MEMBERS if pooled else ():
        try:
            fitted = each.fit(history, horizons)
        except DataError as error:
            notes.append(f"{each.name} is not in the pool: {error}")
            continue
        members.append(fitted)
        notes += [f"{each.name}: {note}" for note in fitted.notes]
    if not members:
        return replace(learner, notes=tuple(notes))
    weights = np.full((len(horizons), 1 + len(members)), 1 / (1 + len(members)))
    weights[np.asarray(horizons) == 1] = np.eye(1, 1 + len(members))  # the next bar: the learner's
    return Accompanied((learner, *members), weights, tuple(notes))


class Accompanied(FittedPool):
    """A learner, the first member, in a pool."""

    @property
    def learner(self) -> FittedLearner:
        """It alone."""
        return cast(FittedLearner, self.members[0])

    @property
    def curves(self) -> TrainingCurves | None:
        """The learner's."""
        return self.learner.curves

    def apart(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Apart:
        """The pool; its parts are the learner's, to whom the other members are nothing."""
        own = self.learner.apart(past, origins, horizons)
        others = (each.forecast(past, origins, horizons) for each in self.members[1:])
        return Apart(Mixture((own.whole, *others), self.weights), own.parts)


def learners(config: RunConfig) -> tuple[BackboneForecaster | PooledLearner, ...]:
    """One a preset. Raises UsageError for an unknown one."""
    each = [BackboneForecaster(name, config.learner, config.seed) for name in config.presets]
    return tuple(PooledLearner(one) for one in each) if config.learner.pool else tuple(each)
