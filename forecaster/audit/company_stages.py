"""Stages of a learner that reads symbols together: what its sequences are made of.

L positions a sequence.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from forecaster.audit.emitted import EVERYONE, Finding
from forecaster.bars import Panel, duration
from forecaster.learner import FittedLearner, probe, windows

Bar = tuple[int, bytes]  # rank of its close on the history's clock, its targets


def sequences_of_the_history(
    fitted: FittedLearner, history: Panel, examples: int
) -> Finding | None:
    """Each position is a bar of the history at the moment of its close, with its own targets.

    Ranks of closes are counted here from the bars themselves.
    """
    members = windows.tokenise(history, fitted.tokenizer)
    closes = [bars.opened_at + duration(bars.interval) for bars in history]
    clock = np.unique(np.concatenate(closes))
    known: dict[bytes, list[Bar]] = {}
    for member, closed in zip(members, closes, strict=True):
        whole, ranks = member.window(0, len(closed)), np.searchsorted(clock, closed)
        for inputs, targets, rank in zip(whole.inputs, whole.targets, ranks, strict=True):
            known.setdefault(inputs.tobytes(), []).append((int(rank), targets.tobytes()))
    for batch in probe.training_arrays(fitted, history, 1, examples):
        for row in range(len(batch["inputs"])):
            sequence = {name: values[row] for name, values in batch.items()}
            what = _wrong_with(sequence, known, fitted.config.skip)
            if what is not None:
                return Finding(what, EVERYONE)
    return None


def _wrong_with(
    sequence: Mapping[str, Any], known: Mapping[bytes, list[Bar]], skip: int
) -> str | None:
    """What is not as it was in the history, under the only shift of its clock that would fit."""
    at = np.flatnonzero(sequence["moments"] >= 0)
    if not (np.diff(sequence["moments"]) >= 0).all():
        return "a training sequence goes back in time"
    bars = [known.get(sequence["inputs"][i].tobytes(), []) for i in at]
    if not all(bars):
        return "a training sequence holds what is no bar of the history"
    moments = sequence["moments"][at]
    shifts = {rank - moments[0] for rank, _ in bars[0]}
    fitting = [
        shift
        for shift in shifts
        if all(m + shift in {rank for rank, _ in b} for m, b in zip(moments, bars, strict=True))
    ]
    if not fitting:
        return "bars of a training sequence stand at moments other than those of their closes"
    for i, moment, candidates in zip(at, moments, bars, strict=True):
        own = sequence["targets"][i]
        unscored = (own == windows.UNSCORED).all()
        if unscored if moment < skip else own.tobytes() in {t for _, t in candidates}:
            continue
        return "targets of a training sequence are not those of its bars"
    return None
