"""How the networks were trained: their loss beside that of the prior alone, fold by fold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Floats
from forecaster.report.drawing import Chart, Table, axis, level, line
from forecaster.report.material import Material

MOST_FOLDS = 12  # that are drawn: the last ones
MOST_LEARNERS = 2  # of which all folds are drawn; of more, the last fold alone
FIFTHS = 5  # of a training: what it ended at is the mean of the last


def training_charts(found: Material) -> list[list[Chart]]:
    """A list a learner: its last fold's losses, then each fold's less those of the prior."""
    out = []
    for i, model in enumerate(found.learners):
        cells = [each for each in found.cells if each["model"] == model and each.get("training")]
        if not cells:
            continue
        several = cells[-MOST_FOLDS:] if len(found.learners) <= MOST_LEARNERS else cells[-1:]
        top = [_losses(cells[-1], f"training-{i}")]
        limits = _limits([_gains(each["training"]) for each in several])
        out.append(top + [_less(each, f"taught-{i}-{each['fold']}", limits) for each in several])
    return out


def _losses(cell: Mapping[str, Any], name: str) -> Chart:
    """Loss of every network [nats], and the line of no network."""
    curves, told = cell["training"], in_words(cell["training"])
    loss, prior = np.array(curves["loss"]), np.array(curves["prior"])
    traces = [
        line("a network", curves["ends"], row, 0, width=1)
        | {"opacity": 0.6, "showlegend": i == 0, "legendgroup": "networks"}
        for i, row in enumerate(loss)
    ]
    if len(loss) > 1:
        traces.append(line("their mean", curves["ends"], loss.mean(axis=0), 0, width=3))
    traces.append(
        line("the prior alone", curves["ends"], prior.mean(axis=0), 1, width=2, dash="dash")
    )
    return Chart(
        name=name,
        title=f"{cell['model']}, fold {cell['fold']}: loss in training",
        note=told,
        alt=f"Lines: training loss of {len(loss)} networks of {cell['model']} in fold"
        f" {cell['fold']} by step, and of the prior alone on the same windows. {told}",
        traces=traces,
        x=axis("step"),
        y=axis("training loss [nats]"),
        legend=True,
        height=340,
    )


def _less(cell: Mapping[str, Any], name: str, limits: list[float]) -> Chart:
    """Each network's loss less that of the prior on the very same windows."""
    curves, gains = cell["training"], _gains(cell["training"])
    traces = [
        line("", curves["ends"], row, 0, width=1) | {"opacity": 0.5, "hoverinfo": "skip"}
        for row in gains
    ]
    traces.append(line("mean", curves["ends"], gains.mean(axis=0), 0, width=2))
    end = ended(gains)
    told = f"{curves['ends'][-1]} steps; at the end {end.mean():+.4f} nats."
    return Chart(
        name=name,
        title=f"fold {cell['fold']}",
        note=told,
        alt=f"Lines: loss of {len(gains)} networks of {cell['model']} less that of the prior alone"
        f" on the same windows, by step, in fold {cell['fold']}. {told}",
        traces=traces,
        x=axis("step"),
        y=axis("nats", range=limits),
        marks=[level(0)],
        height=200,
        numbers=_numbers(cell, gains),
    )


def _gains(curves: Mapping[str, Any]) -> Floats:
    """[networks, blocks] loss less the prior's."""
    return np.array(curves["loss"]) - np.array(curves["prior"])


def fifths(blocks: int) -> list[NDArray[np.intp]]:
    """The blocks of each fifth of a training, of fewer parts where there are fewer blocks."""
    return np.array_split(np.arange(blocks), min(FIFTHS, blocks))


def ended(gains: Floats) -> Floats:
    """[networks, blocks] -> [networks], the mean of the last fifth."""
    return gains[:, fifths(gains.shape[1])[-1]].mean(axis=1)


def _limits(found: Sequence[Floats]) -> list[float]:
    """One range for all folds."""
    low, high = min(each.min() for each in found), max(each.max() for each in found)
    margin = 0.05 * max(high - low, 1e-3)
    return [round(float(low - margin), 5), round(float(max(high, 0.0) + margin), 5)]


def in_words(curves: Mapping[str, Any]) -> str:
    """Where a training ended, over its last fifth of steps."""
    end, prior = ended(_gains(curves)), ended(np.array(curves["prior"])).mean()
    who, loss = f"{len(end)} networks", f"their loss is {end.min():+.4f} to {end.max():+.4f}"
    if len(end) == 1:
        who, loss = "1 network", f"its loss is {end[0]:+.4f}"
    return (
        f"{who}, {curves['ends'][-1]} steps. In the last fifth of the steps {loss} nats from that"
        f" of the prior alone on the same windows, {prior:.4f}."
    )


def _numbers(cell: Mapping[str, Any], gains: Floats) -> Table:
    """Every network, in fifths of the training."""
    parts, ends = fifths(gains.shape[1]), cell["training"]["ends"]
    return Table(
        caption=f"{cell['model']}, fold {cell['fold']}: training loss less that of the prior alone"
        " [nats], means of fifths of the steps, each ending at the step named",
        columns=("network", *(f"to step {ends[part[-1]]}" for part in parts)),
        rows=tuple(
            (str(i), *(f"{row[part].mean():+.4f}" for part in parts)) for i, row in enumerate(gains)
        ),
    )
