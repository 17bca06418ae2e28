"""What a learner's network is fed and what it says at every position: for audits of causality.

B windows, T bars a window, J targets, K bins.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecaster.bars import Floats, Panel
from forecaster.learner import company, windows
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.market import Market
from forecaster.learner.network import BarNetwork
from forecaster.protocol import Origins

HEAD_DEVIATION = 0.1  # a head that starts at zero hides whatever the backbone does
Mode = Literal["eval", "train"]
MODES: tuple[Mode, ...] = ("eval", "train")
Arrays = dict[str, NDArray[np.generic]]


def training_arrays(fitted: FittedLearner, history: Panel, seed: int, count: int) -> list[Arrays]:
    """The first `count` batches of training: tokens, inputs and targets, windows first."""
    members = windows.tokenise(history, fitted.tokenizer)
    drawn = company.training_windows(history, members, fitted.config, seed, shuffle=False)
    return [_arrays(drawn.draw(k)) for k in range(count)]


def question_arrays(fitted: FittedLearner, past: Panel, origins: Origins) -> Arrays:
    """What the network is asked at each origin: arrays [N, T, ...]."""
    parts: dict[str, list[NDArray[np.generic]]] = {}
    order = []
    for rows, window, batch in _asked(fitted, past, origins, 64):
        order.append(rows)
        for name, values in _arrays(batch).items():
            if len(values):
                parts.setdefault(name, []).append(values[window])
    if not order:
        return {}
    back = np.argsort(np.concatenate(order))
    return {name: np.concatenate(values)[back] for name, values in parts.items()}


def _asked(
    fitted: FittedLearner, past: Panel, origins: Origins, count: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], windows.Batch]]:
    """Batches of `count` windows, with the rows of the origins in each and which window is whose.

    A company's window is of several.
    """
    members, slots = windows.tokenise(past, fitted.tokenizer), fitted.config.panel
    if slots is None:
        for rows, batch in windows.origin_windows(members, origins, fitted.config.context, count):
            index = np.arange(rows.start, rows.stop)
            yield index, index - rows.start, batch
        return
    market = Market(past, members, fitted.config, fitted.symbols)
    for rows, where, batch in company.questions(market, origins, count):
        yield rows, where // slots, batch


@dataclass(frozen=True, eq=False)
class Positions:
    """A network that can be asked at every position of some windows, with a head that speaks."""

    network: BarNetwork
    batch: windows.Batch
    origin: NDArray[np.int64]  # [B] a row of the origins that each window ends with

    @classmethod
    def of(cls, fitted: FittedLearner, past: Panel, origins: Origins, seed: int) -> "Positions":
        """The first seed's network on the windows of some origins."""
        rows, window, batch = next(_asked(fitted, past, origins, len(origins)))
        origin = np.zeros(len(origins), dtype=np.int64)
        origin[window] = rows
        network = copy.deepcopy(fitted.networks[0])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name.partition(".")[0].endswith("head"):
                    weight.copy_(HEAD_DEVIATION * torch.randn(weight.shape, generator=generator))
        return cls(network, batch, origin)

    @property
    def moments(self) -> NDArray[np.int64]:
        """[B, T] when each position is, from 0; below 0 there is no bar."""
        if self.batch.company is not None:
            return self.batch.company.moments.numpy()
        b, t = self.batch.tokens.shape[:2]
        return np.broadcast_to(np.arange(t), (b, t))

    @torch.no_grad()
    def says(self, mode: Mode) -> Floats:
        """[B, T, J * K] tilts; in `train` mode the same units are dropped every time."""
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        self.network.train(mode == "train")
        batch = self.batch
        out = self.network(batch.tokens, batch.inputs, batch.company).flatten(2).double().numpy()
        torch.random.set_rng_state(state)
        return out

    def rewritten(self, window: slice, moment: int, seed: int) -> "Positions":
        """Some windows' tokens and inputs replaced from a moment on."""
        generator = torch.Generator().manual_seed(seed)
        tokens, inputs = self.batch.tokens.clone(), self.batch.inputs.clone()
        for row in range(len(tokens))[window]:
            late = torch.from_numpy(np.flatnonzero(self.moments[row] >= moment))
            order = late[torch.randperm(len(late), generator=generator)]
            inputs[row, late] = -7 * self.batch.inputs[row, order]
            moved = self.batch.tokens[row, order].flip(-1)
            tokens[row, late] = moved % (tokens.max() + 1)
        return replace(self, batch=replace(self.batch, tokens=tokens, inputs=inputs))


def _arrays(batch: windows.Batch) -> Arrays:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    said = values.pop("company")
    if said is not None:
        values |= {f.name: getattr(said, f.name) for f in fields(said)}
    return {name: each.numpy() for name, each in values.items() if isinstance(each, Tensor)}
