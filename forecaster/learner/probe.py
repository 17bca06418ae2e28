"""What a learner's network is fed and what it says at every position: for audits of causality.

B windows, T bars a window, J targets, K bins.
"""

import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from forecaster.bars import Floats, Panel
from forecaster.learner import windows
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.network import BarNetwork
from forecaster.protocol import Origins

HEAD_DEVIATION = 0.1  # a head that starts at zero hides whatever the backbone does
Mode = Literal["eval", "train"]
MODES: tuple[Mode, ...] = ("eval", "train")


def training_arrays(
    fitted: FittedLearner, history: Panel, seed: int, count: int
) -> list[dict[str, NDArray[np.generic]]]:
    """The first `count` batches of training: tokens, inputs and targets, windows first."""
    members = windows.tokenise(history, fitted.tokenizer)
    drawn = windows.TrainingWindows(members, fitted.config.context, fitted.config.batch, seed)
    return [_arrays(drawn.draw(k)) for k in range(count)]


def question_arrays(
    fitted: FittedLearner, past: Panel, origins: Origins
) -> dict[str, NDArray[np.generic]]:
    """What the network is asked at each origin: arrays [N, T, ...]."""
    members = windows.tokenise(past, fitted.tokenizer)
    parts: dict[str, list[NDArray[np.generic]]] = {}
    for rows, batch in windows.origin_windows(members, origins, fitted.config.context, 64):
        for name, values in _arrays(batch).items():
            if len(values):
                parts.setdefault(name, []).append(values[: rows.stop - rows.start])
    return {name: np.concatenate(values) for name, values in parts.items()}


@dataclass(frozen=True, eq=False)
class Positions:
    """A network that can be asked at every position of some windows, with a head that speaks."""

    network: BarNetwork
    batch: windows.Batch

    @classmethod
    def of(cls, fitted: FittedLearner, past: Panel, origins: Origins, seed: int) -> "Positions":
        """The first seed's network on the windows of some origins."""
        members = windows.tokenise(past, fitted.tokenizer)
        asked = windows.origin_windows(members, origins, fitted.config.context, len(origins))
        network = copy.deepcopy(fitted.networks[0])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name.partition(".")[0].endswith("head"):
                    weight.copy_(HEAD_DEVIATION * torch.randn(weight.shape, generator=generator))
        return cls(network, next(asked)[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.batch.tokens.shape[0], self.batch.tokens.shape[1]

    @torch.no_grad()
    def says(self, mode: Mode) -> Floats:
        """[B, T, J * K] tilts; in `train` mode the same units are dropped every time."""
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        self.network.train(mode == "train")
        out = self.network(self.batch.tokens, self.batch.inputs).flatten(2).double().numpy()
        torch.random.set_rng_state(state)
        return out

    def rewritten(self, window: slice, position: int, seed: int) -> "Positions":
        """Some windows' tokens and inputs replaced from a position on."""
        generator = torch.Generator().manual_seed(seed)
        tokens, inputs = self.batch.tokens.clone(), self.batch.inputs.clone()
        for values in (tokens[window, position:], inputs[window, position:]):
            order = torch.randperm(values.shape[1], generator=generator)
            values.copy_(values[:, order])
        inputs[window, position:] *= -7
        tokens[window, position:] = tokens[window, position:].flip(-1) % (tokens.max() + 1)
        return replace(self, batch=replace(self.batch, tokens=tokens, inputs=inputs))


def _arrays(batch: windows.Batch) -> dict[str, NDArray[np.generic]]:
    return {name: values.numpy() for name, values in vars(batch).items()}
