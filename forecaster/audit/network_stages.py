"""Stages of a learner: tokeniser fit, training windows, what networks are fed, what they answer.

T bars a window.
"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from forecaster.audit.company_stages import sequences_of_the_history
from forecaster.audit.emitted import EVERYONE, Emitted, Finding, first_difference, moment_text
from forecaster.audit.laws import Law, blind_to_the_future
from forecaster.audit.poison import FUTURES, poisoned
from forecaster.audit.subject import Subject, history_of_another_future
from forecaster.bars import Panel
from forecaster.learner import FittedLearner, probe, windows
from forecaster.protocol import Origins

WINDOWS = 12  # origins whose windows a network is asked about, position by position
DRAWS = 4  # training batches that are looked at


def tokeniser_of_another_future(subject: Subject, examples: int) -> Finding | None:
    """Edges, shapes and means depend on nothing after the fold's history: one digest."""
    for i in range(examples):
        for learner in subject.learners:
            was = subject.tokenizer(learner)
            if np.datetime64(was.fitted_until) > subject.fold.train_until:
                what = f"{learner.name}: fitted until {was.fitted_until}"
                return Finding(what, EVERYONE, moment_text(subject.fold.train_until))
            other = history_of_another_future(subject, i)
            now = learner.fit(other, subject.horizons).tokenizer
            if now.digest != was.digest:
                leaf = _first_leaf(was.model_dump(mode="json"), now.model_dump(mode="json"))
                what = f"{learner.name}: {leaf} of the tokeniser changes when the bars after it do"
                return Finding(what, EVERYONE, moment_text(subject.fold.train_until))
    return None


def _first_leaf(a: Any, b: Any, path: str = "") -> str:
    """The first key path at which two JSON values part."""
    if isinstance(a, dict) and isinstance(b, dict):
        return next(_first_leaf(a[k], b.get(k), f"{path}.{k}") for k in a if a[k] != b.get(k))
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        i = next(i for i, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1])
        return _first_leaf(a[i], b[i], f"{path}[{i}]")
    return path.lstrip(".")


def training_batches(subject: Subject, panel: Panel) -> list[Emitted]:
    """The first batches of each learner's training, known when the history ends."""
    out = []
    until = np.array([subject.fold.train_until])
    for learner in subject.learners:
        fitted, history = subject.learner(learner.name), subject.fold.history(panel)
        for k, batch in enumerate(probe.training_arrays(fitted, history, 0, DRAWS)):
            for name, values in batch.items():
                part = f"{learner.name} {name} of batch {k}"
                out.append(Emitted(part, EVERYONE, until, values[None]))
    return out


def windows_are_of_the_history(subject: Subject, examples: int) -> Finding | None:
    """Every window is one run of one symbol's bars, and its targets end inside the history.

    Of symbols that are read together each bar is at its moment.
    """
    history = subject.fold.history(subject.panel)
    for learner in subject.learners:
        fitted = subject.learner(learner.name)
        check = _runs_of_the_history if fitted.config.panel is None else sequences_of_the_history
        found = check(fitted, history, examples)
        if found is not None:
            date = found.date or moment_text(subject.fold.train_until)
            return replace(found, what=f"{learner.name}: {found.what}", date=date)
    return None


def _runs_of_the_history(fitted: FittedLearner, history: Panel, examples: int) -> Finding | None:
    tokenised = windows.tokenise(history, fitted.tokenizer)
    members = [m for m in tokenised if isinstance(m, windows.TokenisedBars)]
    if fitted.shuffle or len(members) < len(tokenised):
        return None  # a window of its own order or code is no run of the history's tokens
    runs = {
        member.inputs[s : s + fitted.config.context].tobytes(): (m, s)
        for m, member in enumerate(members)
        for s in range(len(member.inputs) - fitted.config.context + 1)
    }
    for batch in probe.training_arrays(fitted, history, 1, examples):
        for inputs, targets in zip(batch["inputs"], batch["targets"], strict=True):
            where = runs.get(inputs.tobytes())
            if where is None:
                return Finding("a training window is no run of one symbol's history", EVERYONE)
            member, start = where
            own = members[member].targets[start : start + len(targets)]
            if not np.array_equal(own, targets):
                bars = history.members[member]
                what = "a window's targets are not those of its bars"
                return Finding(what, str(bars.symbol), bars.label(start))
    return None


def questions(subject: Subject, panel: Panel) -> list[Emitted]:
    """What each network is fed at each origin."""
    past, out = subject.fold.past(panel), []
    origins = subject.fold.origins(panel)
    for learner in subject.learners:
        fed = probe.question_arrays(subject.learner(learner.name), past, origins)
        for name, values in fed.items():
            out += subject.emitted(f"{learner.name} {name}", past, origins, values)
    return out


def networks_are_causal(subject: Subject, examples: int) -> Finding | None:
    """Nothing said at a position moves when later positions or other windows do; in both modes."""
    rng = np.random.default_rng(3)
    n = len(subject.origins)
    rows = np.sort(rng.choice(n, min(WINDOWS, n), replace=False))
    origins = Origins(subject.origins.member[rows], subject.origins.bar[rows])
    for learner, mode in product(subject.learners, probe.MODES):
        asked = probe.Positions.of(subject.learner(learner.name), subject.past, origins, 0)
        before = asked.says(mode)
        moments = asked.moments
        first = np.arange(len(moments))[:, None] == 0
        for i in range(examples):
            moment = int(rng.integers(1, moments.max() + 1))
            later = asked.rewritten(slice(None), moment, i).says(mode)
            other = asked.rewritten(slice(1, None), 0, i).says(mode)
            for got, kept, why in (
                (later, (moments >= 0) & (moments < moment), f"positions from {moment} on"),
                (other, (moments >= 0) & first, "other windows"),
            ):
                odd = np.argwhere(kept & (got != before).any(axis=-1))
                if len(odd):
                    row, at = odd[0].tolist()
                    asked_at = int(asked.origin[row]), int(moments[row, at])
                    return _position(subject, origins, asked_at, f"{learner.name} in {mode}", why)
            if not (later != before).any(axis=-1)[moments >= moment].any():
                return Finding(f"{learner.name}: does not read its tokens")
    return None


def _position(
    subject: Subject, origins: Origins, where: tuple[int, int], who: str, why: str
) -> Finding:
    """The bar at which a network said something else: (row of the origins, moment)."""
    row, at = where
    bars = subject.past.members[origins.member[row]]
    before = subject.config.learner.context - 1 - at
    if subject.config.learner.panel is None:
        label = bars.label(int(origins.bar[row]) - before)
    else:
        clock = subject.past.clock
        end = int(np.searchsorted(clock, bars.closed_at[origins.bar[row]]))
        label = moment_text(clock[end - before])
    return Finding(f"{who} mode changes at position {at} when {why} do", str(bars.symbol), label)


def training_law(subject: Subject, examples: int) -> Finding | None:
    """Cuts at the end of the history alone: batches are known from then on."""
    before = training_batches(subject, subject.panel)
    cut = subject.fold.train_until
    for i in range(examples):
        kind = FUTURES[i % len(FUTURES)]
        after = training_batches(subject, poisoned(subject.panel, cut, kind, i))
        found = first_difference(before, after, cut)
        if found is not None:
            how = f"{found.what} when the bars after {moment_text(cut)} become: {kind}"
            return Finding(how, found.symbol, found.date)
    return None


def network_laws(examples: int) -> list[Law]:
    """From tokeniser to logits."""
    few, some = max(examples // 20, 1), max(examples // 4, 4)
    fit = "edges, shapes and means end with the history"
    stays = "training batches are the same bytes under another future"
    runs = "a training window is one symbol's history, with its own targets"
    fed = "what networks are fed by the cut is the same bytes"
    causal = "no later position and no other window moves an answer, in eval and train mode"
    return [
        Law("tokeniser fit", "P5", fit, few, tokeniser_of_another_future),
        Law("training windows", "P8", stays, some, training_law),
        Law("training windows", "P8", runs, 10 * examples, windows_are_of_the_history),
        Law("network inputs", "P4", fed, some, blind_to_the_future(questions, 17, cuts="fold")),
        Law("network", "P6", causal, some, networks_are_causal),
    ]
