"""What is audited: a run's own configuration and bars, cut down to what two minutes can hold.

The stages stay the user's: symbols, interval, horizons, models, tokens, sizes of the networks. What
is reduced is said: bars of history, origins, training steps and seeds, which no law here rests on.
N origins, H horizons.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from forecaster.audit.emitted import Emitted
from forecaster.audit.poison import known_count, poisoned
from forecaster.backtest import Plan
from forecaster.bars import Floats, Panel, Times, duration
from forecaster.baselines.pool import FittedPool
from forecaster.config import RunConfig
from forecaster.distributions import Distribution
from forecaster.errors import DataError
from forecaster.folds import Fold
from forecaster.learner import BackboneForecaster, FittedLearner
from forecaster.pooled import PooledLearner
from forecaster.protocol import Fitted, Forecaster, Origins
from forecaster.tokens import BarTokenizer
from forecaster.workflows import forecasters

HISTORY_BARS = 1000  # before the audited fold
TEST_BARS = 40  # of the clock, after it
STEPS, SEEDS = 3, 1  # of a learner: a causal network is causal before it is good
# Returns at which a density is asked for its height and its mass: any would do, no data is in them.
ASKED_AT = (-0.03, 0.001, 0.02)


@dataclass(frozen=True, eq=False)
class Subject:
    """One fold of the user's walk, with the bars around it, and its models fitted once."""

    config: RunConfig  # reduced
    stored: Panel  # reduced, in prices as printed
    panel: Panel  # the same bars, adjusted
    fold: Fold
    forecasters: tuple[Forecaster, ...]
    whole: Plan  # as the user has it

    @property
    def horizons(self) -> tuple[int, ...]:
        """Bars ahead."""
        return self.config.horizons

    @cached_property
    def past(self) -> Panel:
        """What forecasts may know."""
        return self.fold.past(self.panel)

    @cached_property
    def origins(self) -> Origins:
        """Every origin of the fold."""
        return self.fold.origins(self.panel)

    @cached_property
    def _fits(self) -> dict[str, Fitted]:
        return {}

    def fitted(self, name: str) -> Fitted:
        """A model on the fold's true history; fitted when it is first asked for, then kept."""
        if name not in self._fits:
            chosen = next(each for each in self.forecasters if each.name == name)
            self._fits[name] = chosen.fit(self.fold.history(self.panel), self.horizons)
        return self._fits[name]

    @property
    def learners(self) -> tuple[BackboneForecaster, ...]:
        """The models that are networks."""
        models = (e.learner if isinstance(e, PooledLearner) else e for e in self.forecasters)
        return tuple(each for each in models if isinstance(each, BackboneForecaster))

    @cached_property
    def through_cells(self) -> tuple[Forecaster, ...]:
        """Models for laws on whole cells: the first two, which need no fit, and one learner."""
        names = {each.name for each in self.learners[:1]}
        networks = (each for each in self.forecasters if each.name in names)
        return (*dict.fromkeys((*self.forecasters[:2], *networks)),)

    def learner(self, name: str) -> FittedLearner:
        """A fitted network by its preset's name."""
        fitted = self.fitted(name)
        return cast(FittedLearner, fitted.members[0] if isinstance(fitted, FittedPool) else fitted)

    def tokenizer(self, learner: BackboneForecaster) -> BarTokenizer:
        """What the true history fitted."""
        return self.learner(learner.name).tokenizer

    def closes(self, panel: Panel, origins: Origins) -> Times:
        """[N] when each origin's bar closed."""
        out = np.empty(len(origins), dtype="datetime64[us]")
        for i, bars in enumerate(panel):
            rows = origins.member == i
            out[rows] = bars.opened_at[origins.bar[rows]] + duration(bars.interval)
        return out

    def emitted(self, part: str, panel: Panel, origins: Origins, values: Any) -> list[Emitted]:
        """Values [N, ...] of origins as an account a symbol, each known at its origin's close."""
        closes, out = self.closes(panel, origins), []
        for i, bars in enumerate(panel):
            rows = origins.member == i
            if rows.any():
                out.append(Emitted(part, str(bars.symbol), closes[rows], values[rows]))
        return out


def answers(distribution: Distribution) -> Floats:
    """[N, H, 2 * len(ASKED_AT)] log densities and masses: what tells two densities apart."""
    n, h = distribution.shape
    levels = [np.full((n, h), y) for y in ASKED_AT]
    asked = [f(y) for y in levels for f in (distribution.logpdf, distribution.cdf)]
    return np.stack(asked, axis=-1)


def reduced(whole: Plan, stored: Panel) -> tuple[Subject, dict[str, Any]]:
    """A plan and the stored bars that it was made of cut down, and what was cut, for the reader."""
    config = whole.config.model_copy(
        update={"learner": whole.config.learner.model_copy(update={"steps": STEPS, "seeds": SEEDS})}
    )
    fold, clock = _fullest(whole), whole.panel.clock
    first = int(np.searchsorted(clock, fold.test_from))
    last = min(first + TEST_BARS, len(clock)) - 1
    start = clock[max(first - HISTORY_BARS, 0)]
    members, printed = [], []
    for bars, as_printed in zip(whole.panel, stored, strict=True):
        as_printed = as_printed.head(len(bars))  # a vault, or the config, may end the plan's bars
        closed = bars.opened_at + duration(bars.interval)
        kept = (closed >= start) & (closed <= clock[_after(clock, last, config)])
        if known_count(bars.select(kept), fold.train_until) >= fold.fewest_past:
            members.append(bars.select(kept))
            printed.append(as_printed.select(kept))
    if not members:
        raise DataError(f"no symbol has {fold.fewest_past} bars before the audited fold")
    panel = Panel(tuple(members))
    subject = Subject(
        config=config,
        stored=Panel(tuple(printed)),
        panel=panel,
        fold=Fold(0, fold.train_until, fold.test_from, clock[last], fold.fewest_past),
        forecasters=forecasters(config),
        whole=whole,
    )
    about = {
        "fold": fold.index,
        "of_folds": len(whole.folds),
        "bars": int(sum(len(bars) for bars in panel)),
        "of_bars": int(sum(len(bars) for bars in whole.panel)),
        "symbols": [str(symbol) for symbol in panel.symbols],
        "origins": len(subject.origins),
        "learner_steps": config.learner.steps,
        "of_learner_steps": whole.config.learner.steps,
        "learner_seeds": config.learner.seeds,
        "of_learner_seeds": whole.config.learner.seeds,
    }
    return subject, about


def _fullest(whole: Plan) -> Fold:
    """The fold with forecasts of most symbols; of equals, the one in the middle."""
    counts = [len(np.unique(fold.origins(whole.panel).member)) for fold in whole.folds]
    best = [fold for fold, n in zip(whole.folds, counts, strict=True) if n == max(counts)]
    return best[len(best) // 2]


def _after(clock: Times, last: int, config: RunConfig) -> int:
    """Bars beyond the last origin, so that its longest target ends, and some to append."""
    return min(last + 2 * max(config.horizons), len(clock) - 1)


def history_of_another_future(subject: Subject, i: int) -> Panel:
    """The fold's history, taken out of bars that became something else after it."""
    kind = ("noise", "no volume", "times 100")[i % 3]
    return subject.fold.history(poisoned(subject.panel, subject.fold.train_until, kind, i))
