"""What the backtest asks of a model, baseline or learner alike, and the shape of a question.

N origins (a bar of a symbol that has just closed), H horizons (bars ahead).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Panel, Times
from forecaster.distributions import Distribution


@dataclass(frozen=True, eq=False)
class Origins:
    """N moments at which a forecast is asked: bar `bar[i]` of member `member[i]` has closed."""

    member: NDArray[np.int64]  # [N] index into panel.members
    bar: NDArray[np.int64]  # [N] index into that member's bars

    def __len__(self) -> int:
        return len(self.bar)

    def labels(self, panel: Panel) -> Times:
        """[N] the label of each one's bar, UTC."""
        found = np.empty(len(self), dtype="datetime64[us]")
        for i, bars in enumerate(panel):
            rows = self.member == i
            found[rows] = bars.opened_at[self.bar[rows]]
        return found

    def portions(self, size: int) -> Iterator["Origins"]:
        """Runs of whole members of about `size` origins, in order; one member may be longer."""
        ends = np.append(np.flatnonzero(np.diff(self.member)) + 1, len(self))
        first = 0
        for end in ends.tolist():
            if end - first >= size or end == len(self):
                yield Origins(self.member[first:end], self.bar[first:end])
                first = end


class Fitted(Protocol):
    """A forecaster after its fit: frozen until the next refit."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of this fit: failures, and what stood in for them."""
        ...

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Distribution:
        """Distributions [N, H] of the log return from each origin's close to that h bars later.

        `past` ends at the last origin. Whoever is asked about an earlier one must not look beyond
        it: the leak law rewrites everything after an origin and demands the same bytes.
        """
        ...


@dataclass(frozen=True)
class TrainingCurves:
    """What networks lost in training [nats]: S rows, a network each, of a mean a block of steps."""

    ends: tuple[int, ...]  # last step of each block, from 1
    loss: tuple[tuple[float, ...], ...]
    prior: tuple[tuple[float, ...], ...]  # of no network, on the very windows of those steps


@dataclass(frozen=True, eq=False)
class Apart:
    """A forecast, and what it was made from: densities by name, each made when it is asked for."""

    whole: Distribution
    parts: Iterable[tuple[str, Distribution]] = ()


@runtime_checkable
class Networked(Fitted, Protocol):
    """A forecaster of several networks, of which more is kept than what they forecast together."""

    @property
    def curves(self) -> TrainingCurves | None:
        """How they were trained; None where not every step of it was seen."""
        ...

    def apart(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Apart:
        """`forecast`, to the same bits; its parts are PRIOR, TOGETHER, then each network alone."""
        ...


PRIOR, TOGETHER = "prior", "together"  # parts: no network, all networks averaged and nothing else


class Forecaster(Protocol):
    """A way to forecast, settings included. Its name is its key in every table."""

    @property
    def name(self) -> str:
        """The key in predictions and scores."""
        ...

    def fit(self, history: Panel, horizons: Sequence[int]) -> Fitted:
        """Learn from `history` alone, targets inside it. Raises DataError for too little of it."""
        ...
