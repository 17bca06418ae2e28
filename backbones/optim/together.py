"""Several optimisers stepped as one, and what each keeps for a parameter, so it can be saved."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from .muon import Muon
from .orthograd import OrthoGrad


class Together:
    """Optimisers of parameters that no two of them share."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = parts
        self._owner = {
            id(parameter): part
            for part in parts
            for group in part.param_groups
            for parameter in group["params"]
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of all parts; setting a value in one of them counts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is kept for a parameter; empty before its first gradient."""
        return dict(self._owner[id(parameter)].state[parameter])

    def restore(self, parameter: Tensor, moments: dict[str, Tensor]) -> None:
        """Put back what `moments` gave."""
        kept = {kind: moment.to(parameter.device) for kind, moment in moments.items()}
        self._owner[id(parameter)].state[parameter] = kept

    def forms(self, parameter: Tensor) -> dict[str, Tensor]:
        """A tensor of the shape and type of each moment that a parameter has."""
        return moment_forms(self._owner[id(parameter)], parameter)


def moment_forms(optimizer: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """What an optimiser keeps for a parameter, by name."""
    match optimizer:
        case OrthoGrad():
            return moment_forms(optimizer.base, parameter)
        case Muon():
            return {"momentum": parameter}
        case AdamW():
            return {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
        case _:
            raise AssertionError(type(optimizer))
