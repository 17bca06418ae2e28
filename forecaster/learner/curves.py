"""How a network's training went: its loss beside that of the prior alone on the same windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backbones.train import StepReport
from forecaster.protocol import TrainingCurves

BLOCKS = 60  # of steps, at most: what a chart can show
DIGITS = 6  # decimals of a mean that are kept


@dataclass(frozen=True)
class Course:
    """One network's steps [nats], as they come; `told` hears of them too."""

    told: Callable[[StepReport], None] | None = None
    loss: list[float] = field(default_factory=list)
    prior: list[float] = field(default_factory=list)

    def step(self, report: StepReport) -> None:
        """One more."""
        self.loss.append(report.loss)
        if self.told is not None:
            self.told(report)


def curves_of(courses: Sequence[Course], steps: int) -> TrainingCurves | None:
    """Means over equal blocks of `steps`; the last one may be shorter.

    None where a training was resumed: its start is gone.
    """
    if any(len(each.loss) != steps or len(each.prior) != steps for each in courses):
        return None
    size = -(-steps // BLOCKS)
    starts = range(0, steps, size)

    def means(values: Sequence[float]) -> tuple[float, ...]:
        parts = (np.mean(values[start : start + size]) for start in starts)
        return tuple(round(float(mean), DIGITS) for mean in parts)

    return TrainingCurves(
        ends=tuple(min(start + size, steps) for start in starts),
        loss=tuple(means(each.loss) for each in courses),
        prior=tuple(means(each.prior) for each in courses),
    )
