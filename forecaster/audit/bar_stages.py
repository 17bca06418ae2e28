"""Stages that turn bars into numbers: adjustment, clock, features, tokens. No model is fitted here.

T bars of a symbol.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial

import numpy as np

from forecaster.audit.emitted import MOST_EVER, Emitted, Finding, first_difference, moment_text
from forecaster.audit.laws import ADJUSTED, STORED, Beginning, Law, blind_to_the_future, drawn_cut
from forecaster.audit.poison import known_count, scaled, with_later_events
from forecaster.audit.subject import Subject
from forecaster.bars import PRICES, Bars, Panel, Times, duration
from forecaster.econometrics.regressors import regressors
from forecaster.features import cumulative_return, features
from forecaster.learner import BackboneForecaster, windows

BarEmit = Callable[[Subject, Bars], Iterator[Emitted]]


def each_member(of: BarEmit, subject: Subject, panel: Panel) -> list[Emitted]:
    """A stage's account of every symbol that has bars."""
    return [e for bars in panel if len(bars) for e in of(subject, bars)]


def closed(bars: Bars) -> Times:
    """[T] when each bar closed, by the audit's own count."""
    return bars.opened_at + duration(bars.interval)


def of_adjusted(_: Subject, bars: Bars) -> Iterator[Emitted]:
    """Stored bars once adjusted: each price over the close before it, and the value traded.

    Levels may be multiplied by a number that later events decide: no stage after this one may know
    them (the law `scale`). Nothing else of an adjustment may look ahead.
    """
    seen = bars.adjusted()
    before = np.concatenate((seen.close[:1], seen.close[:-1]))
    for name in PRICES:
        yield Emitted(name, str(bars.symbol), closed(bars), getattr(seen, name) / before)
    yield Emitted("value", str(bars.symbol), closed(bars), seen.close * seen.volume)


def of_features(_: Subject, bars: Bars) -> Iterator[Emitted]:
    """Every array of features, and HARX's regressors."""
    known = features(bars)
    arrays = {each.name: getattr(known, each.name) for each in fields(known)}
    for name, values in (arrays | {"regressors": regressors(bars)}).items():
        yield Emitted(name, str(bars.symbol), closed(bars), values)


def coded(
    subject: Subject, learner: BackboneForecaster, bars: Bars
) -> windows.TokenisedBars | None:
    """A symbol's bars as tokens; None for a code that each window makes anew."""
    member = windows.tokenise(Panel((bars,)), subject.tokenizer(learner))[0]
    return member if isinstance(member, windows.TokenisedBars) else None


def of_tokens(subject: Subject, bars: Bars) -> Iterator[Emitted]:
    """Tokens, inputs and scales of every learner, coded by what the true history fitted."""
    for learner in subject.learners:
        member = coded(subject, learner, bars)
        for name in ("tokens", "inputs", "scales") if member else ():
            part = f"{learner.name} {name}"
            yield Emitted(part, str(bars.symbol), closed(bars), getattr(member, name))


def of_targets(subject: Subject, bars: Bars) -> Iterator[Emitted]:
    """Training targets, each known when its last bar has closed, and none before that."""
    for learner in subject.learners:
        member = coded(subject, learner, bars)
        targets = member.targets if member else np.empty((len(bars), 0))
        for j in range(targets.shape[1]):
            h = subject.horizons[j % len(subject.horizons)]
            ends = closed(bars)[h:]
            part = f"{learner.name} target {j} of {h} bars"
            yield Emitted(part, str(bars.symbol), ends, targets[: len(ends), j])


def until_is_the_past(subject: Subject, examples: int) -> Finding | None:
    """`until` keeps the bars that had closed, counted here; half-way through one, not that."""
    for i in range(examples):
        rng = np.random.default_rng((1, i))
        cut = drawn_cut(subject, rng)
        for moment in (cut, cut - duration(subject.panel.interval) // 2):
            for bars, kept in zip(subject.panel, subject.panel.until(moment), strict=True):
                n = known_count(bars, moment)
                if len(kept) != n or not np.array_equal(kept.opened_at, bars.opened_at[:n]):
                    what = f"until({moment_text(moment)}) keeps {len(kept)} bars, {n} had closed"
                    extra = min(max(len(kept), n), len(bars)) - 1
                    return Finding(what, str(bars.symbol), bars.label(extra))
    return None


def later_events_change_nothing(subject: Subject, examples: int) -> Finding | None:
    """Splits after the cut rescale every adjusted bar before it: nothing used may move."""
    before = _scale_free(subject, subject.stored.adjusted())
    for i in range(examples):
        cut = drawn_cut(subject, np.random.default_rng((2, i)))
        other = with_later_events(subject.stored, cut, i).adjusted()
        found = first_difference(before, _scale_free(subject, other), cut)
        if found is not None:
            how = f"after splits later than {moment_text(cut)}"
            return replace(found, what=f"{found.what} {how}")
    return None


def prices_have_no_unit(subject: Subject, examples: int) -> Finding | None:
    """Prices in another currency give the same features and tokens."""
    before = _scale_free(subject, subject.panel)
    for i in range(examples):
        factor = (4.0, 1 / 1024, 2.0**20)[i % 3]
        after = _scale_free(subject, scaled(subject.panel, factor))
        found = first_difference(before, after, MOST_EVER)
        if found is not None:
            return replace(found, what=f"{found.what} with prices in other units (by {factor:g})")
    return None


def _scale_free(subject: Subject, panel: Panel) -> list[Emitted]:
    """All that is computed of prices and must not know their unit."""
    return [
        e for of in (of_features, of_tokens, of_targets) for e in each_member(of, subject, panel)
    ]


def targets_are_what_came(subject: Subject, _: int) -> Finding | None:
    """Returns ahead by hand: ln C[t+h]/C[t]; and no target where that close is not there yet."""
    for printed, bars in zip(subject.stored, subject.panel, strict=True):
        close = printed.close * printed.adjustment
        for h in subject.horizons:
            got = cumulative_return(bars, h)
            want = np.full(len(bars), np.nan)
            if h < len(bars):
                want[:-h] = np.log(close[h:] / close[:-h])
            odd = ~np.isclose(got, want, rtol=1e-9, atol=1e-12, equal_nan=True)
            if odd.any():
                t = int(np.argmax(odd))
                what = f"return over {h} bars is {got[t]:.6g}, by hand {want[t]:.6g}"
                return Finding(what, str(bars.symbol), bars.label(t))
        for learner in subject.learners:
            member = coded(subject, learner, bars)
            for j in range(member.targets.shape[1] if member else 0):
                h = subject.horizons[j % len(subject.horizons)]
                assert member is not None
                early = np.flatnonzero(member.targets[max(len(bars) - h, 0) :, j] >= 0)
                if len(early):
                    t = max(len(bars) - h, 0) + int(early[0])
                    what = f"{learner.name} has a target of {h} bars that has not ended"
                    return Finding(what, str(bars.symbol), bars.label(t))
    return None


def bar_laws(examples: int) -> list[Law]:
    """From bars to tokens; units last, for they presuppose the rest."""
    some = max(examples // 6, 2)
    stays = "rows known by the cut are the same bytes under another future"

    def blind(of: BarEmit, seed: int, begin: Beginning = ADJUSTED) -> Callable[..., Finding | None]:
        return blind_to_the_future(partial(each_member, of), seed, each_part=True, begin=begin)

    adjusted = blind(of_adjusted, 11, STORED)
    returns = "adjusted returns and values known by the cut stay under other bars and events"
    by_hand = "targets are the returns that came, and end inside the bars"
    later = "later splits move no feature and no token"
    return [
        Law("adjusted", "P2", returns, examples, adjusted),
        Law("clock", "P1", "until(t) is the bars closed by t", examples, until_is_the_past),
        Law("features", "P3", stays, examples, blind(of_features, 13)),
        Law("tokens", "P5", stays, examples, blind(of_tokens, 15)),
        Law("targets", "P9", stays, examples, blind(of_targets, 16)),
        Law("targets", "P9", by_hand, 1, targets_are_what_came),
        Law("adjustment", "P2", later, some, later_events_change_nothing),
        Law("scale", "P2", "prices have no unit", some, prices_have_no_unit),
    ]
