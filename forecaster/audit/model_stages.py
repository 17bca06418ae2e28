"""Stages of any model: what a fit learns, what is forecast, who else is asked.

N origins.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from forecaster.audit.emitted import Emitted, Finding, first_difference, moment_text
from forecaster.audit.laws import Law, blind_to_the_future
from forecaster.audit.poison import scaled
from forecaster.audit.subject import Subject, answers, history_of_another_future
from forecaster.bars import Panel
from forecaster.protocol import Forecaster, Origins


def fit_of_another_future(
    forecaster: Forecaster, subject: Subject, examples: int
) -> Finding | None:
    """Fitted on the history of another future, a model answers the same, at every origin."""
    before = answers_at(forecaster.name, subject, subject.panel)
    for i in range(examples):
        fitted = forecaster.fit(history_of_another_future(subject, i), subject.horizons)
        told = answers(fitted.forecast(subject.past, subject.origins, subject.horizons))
        after = subject.emitted("density", subject.past, subject.origins, told)
        found = first_difference(before, after, subject.panel.clock[-1])
        if found is not None:
            what = f"what the fit learnt changes with the bars after its history ({found.what})"
            return Finding(what, found.symbol, moment_text(subject.fold.train_until))
    return None


def answers_at(name: str, subject: Subject, panel: Panel) -> list[Emitted]:
    """A fitted model's densities, known at each origin's close."""
    past, origins = subject.fold.past(panel), subject.fold.origins(panel)
    told = subject.fitted(name).forecast(past, origins, subject.horizons)
    return subject.emitted("density", past, origins, answers(told))


def asked_otherwise(forecaster: Forecaster, subject: Subject, examples: int) -> Finding | None:
    """Some origins in another order, and one alone, get the answers that all of them got."""
    past, all_ = subject.past, subject.origins
    fitted = subject.fitted(forecaster.name)
    whole = answers(fitted.forecast(past, all_, subject.horizons))
    for i in range(examples):
        rng = np.random.default_rng((4, i))
        order = rng.permutation(len(all_))[: len(all_) if i == 0 else max(len(all_) // 3, 1)]
        some = Origins(all_.member[order], all_.bar[order])
        told = answers(fitted.forecast(past, some, subject.horizons))
        odd = np.flatnonzero((told != whole[order]).any(axis=(1, 2)))
        if len(odd):
            first = min(order[odd], key=lambda row: all_.bar[row])
            bars = past.members[all_.member[first]]
            what = "an answer depends on which other origins are asked, or in which order"
            return Finding(what, str(bars.symbol), bars.label(int(all_.bar[first])))
    return None


def prices_have_no_unit(forecaster: Forecaster, subject: Subject, examples: int) -> Finding | None:
    """Fitted and asked on prices in another currency, a model answers the same."""
    before = answers_at(forecaster.name, subject, subject.panel)
    for factor in (4.0, 1 / 1024)[:examples]:
        panel = scaled(subject.panel, factor)
        fitted = forecaster.fit(subject.fold.history(panel), subject.horizons)
        told = fitted.forecast(subject.fold.past(panel), subject.origins, subject.horizons)
        after = subject.emitted("density", subject.past, subject.origins, answers(told))
        found = first_difference(before, after, subject.panel.clock[-1])
        if found is not None:
            return replace(found, what=f"{found.what} with prices in other units (by {factor:g})")
    return None


def model_laws(forecasters: tuple[Forecaster, ...], examples: int) -> Iterator[Law]:
    """A row a law and model."""
    few, some = max(examples // 20, 1), max(examples // 5, 4)
    for each in forecasters:
        name = each.name
        fit = partial(fit_of_another_future, each)
        blind = blind_to_the_future(partial(answers_at, name), 18, cuts="fold")
        asked = partial(asked_otherwise, each)
        yield Law(f"forecast: {name}", "P11", "no other origin counts", few + 1, asked)
        yield Law(f"fit: {name}", "P10", "no bar after the history counts", few, fit)
        yield Law(f"forecast: {name}", "P11", "no bar after the origin counts", some, blind)
        unit = partial(prices_have_no_unit, each)
        yield Law(f"forecast: {name}", "P2", "prices have no unit", 1, unit)
