"""Stages of the walk: which bars a fold learns from, where it forecasts, and the purge by hand."""

import numpy as np

from forecaster.audit.bar_stages import closed
from forecaster.audit.emitted import EVERYONE, Emitted, Finding, moment_text
from forecaster.audit.laws import Law, blind_to_the_future
from forecaster.audit.subject import Subject
from forecaster.bars import Panel
from forecaster.errors import DataError
from forecaster.folds import Fold, Schedule, walk_forward

MOVING = ("no future", "symbol ends", "fewer bars")  # futures with another clock
REFITS = 12  # folds in the audited stretch: many borders


def walk(subject: Subject, panel: Panel) -> list[Fold]:
    """A walk of many folds over the subject's bars; none where a future leaves too few."""
    clock = subject.panel.clock
    at = int(np.searchsorted(clock, subject.fold.train_until))
    schedule = Schedule(
        test_from=clock[at],
        refit_every=max((len(clock) - at) // REFITS, 1),
        fewest_past=subject.fold.fewest_past,
        fewest_history=1,
    )
    try:
        return walk_forward(panel, schedule)
    except DataError:  # a symbol that now has too few bars, or stands still: refused, not leaked
        return []


def of_folds(subject: Subject, panel: Panel) -> list[Emitted]:
    """Borders of the folds, known when they begin; which fold forecasts at each origin."""
    folds = walk(subject, panel)
    if not folds:
        return []
    begun = np.array([fold.test_from for fold in folds])
    trained = np.array([fold.train_until for fold in folds]).astype("datetime64[us]")
    out = [Emitted("train_until", EVERYONE, begun, trained.astype(np.int64))]
    asked = [(fold, fold.origins(panel)) for fold in folds]
    for i, bars in enumerate(panel):
        own = [(f, o.bar[o.member == i]) for f, o in asked]
        at = np.concatenate([bar for _, bar in own])
        index = np.concatenate([np.full(len(bar), f.index) for f, bar in own])
        rows = np.stack((at, index), axis=1)
        out.append(Emitted("origins", str(bars.symbol), closed(bars)[at], rows))
    return out


def folds_by_hand(subject: Subject, _: int) -> Finding | None:
    """Each fold of the user's walk, and of one with many borders, against its definition."""
    whole = subject.whole
    walks = ((whole.panel, list(whole.folds)), (subject.panel, walk(subject, subject.panel)))
    return next(filter(None, (_walk_by_hand(*each, subject.horizons) for each in walks)), None)


def _walk_by_hand(panel: Panel, folds: list[Fold], horizons: tuple[int, ...]) -> Finding | None:
    before: np.datetime64 | None = None
    for fold in folds:
        date = moment_text(fold.test_from)
        if not fold.train_until < fold.test_from <= fold.test_until:
            what = f"fold {fold.index} learns until {moment_text(fold.train_until)}"
            return Finding(f"{what} and forecasts from {date}", EVERYONE, date)
        if before is not None and fold.test_from <= before:
            return Finding(f"fold {fold.index} overlaps the fold before it", EVERYONE, date)
        before = fold.test_until
        found = _history_by_hand(panel, fold, horizons) or _origins_by_hand(panel, fold)
        if found is not None:
            return found
    return None


def _history_by_hand(panel: Panel, fold: Fold, horizons: tuple[int, ...]) -> Finding | None:
    """No bar of the history, and so no training target, ends after `train_until` (the purge)."""
    for bars, known in zip(panel, fold.history(panel), strict=True):
        late = closed(known) > fold.train_until
        if late.any() or len(known) != int((closed(bars) <= fold.train_until).sum()):
            what = f"fold {fold.index}: the history is not the bars closed by its train_until"
            label = known.label(int(np.argmax(late))) if late.any() else ""
            return Finding(
                f"{what}; a target of {horizons[0]} bars would reach into the test",
                str(bars.symbol),
                label,
            )
    return None


def _origins_by_hand(panel: Panel, fold: Fold) -> Finding | None:
    """Every bar of the stretch with enough past is an origin, once."""
    origins = fold.origins(panel)
    for i, bars in enumerate(panel):
        at = closed(bars)
        inside = np.flatnonzero((at >= fold.test_from) & (at <= fold.test_until))
        want = inside[inside >= fold.fewest_past]
        got = origins.bar[origins.member == i]
        if not np.array_equal(got, want):
            odd = sorted(set(got.tolist()) ^ set(want.tolist())) or [int(want[0])]
            what = f"fold {fold.index} asks {len(got)} origins, {len(want)} bars are in its stretch"
            return Finding(what, str(bars.symbol), bars.label(odd[0]))
    return None


def fold_laws(examples: int) -> list[Law]:
    """Borders, histories, origins."""
    by_hand = "folds, histories and origins are what their definition says; the purge"
    same = "borders and origins known by the cut are the same under another future"
    blind = blind_to_the_future(of_folds, 21, cuts="after", futures=MOVING)
    return [
        Law("folds", "P9", by_hand, 1, folds_by_hand),
        Law("folds", "P14", same, 2 * examples, blind),
    ]
