"""OrthoGrad: the part of each gradient that would only lengthen its own weights, taken away."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..recipe import By

SMALLEST = 1e-30  # of a squared length that is divided by (the source's)
NOISE = 1e-6  # of the gradient's length: what is left below this is rounding, and is not enlarged


class OrthoGrad(Optimizer):
    """g - (<w, g> / <w, w>) w, brought back to the length of g; then `base` steps.

    Source: Prieto et al. 2025 (arXiv 2501.04697), section 5. `by` is what counts as one w: a whole
    "tensor" (the source), or each "row", which for a matrix with unit rows is the gradient on the
    sphere; a group's "axis" 0 says that its directions are columns.
    Departures: vectors and directions of one number are left alone (the source freezes them);
    state, groups and their saving are the base's own; a closure is evaluated before the
    projection; a remainder of rounding noise is not enlarged to the full length.
    """

    def __init__(self, base: Optimizer, *, by: By = "tensor") -> None:
        # Optimizer.__init__ would make a second list of groups; this class has none of its own.
        self.base = base
        self.by: By = by

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The base's."""
        return self.base.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The base's."""
        return self.base.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The base's."""
        return self.base.defaults

    def state_dict(self) -> dict[str, Any]:
        """The base's."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Into the base."""
        self.base.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """To the base."""
        self.base.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the base does."""
        self.base.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Project every gradient of two axes or more, then step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            axis = group.get("axis", 1)
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.ndim > 1:
                    project(parameter, self.by, axis)
        self.base.step()
        return loss


def project(parameter: Tensor, by: By, axis: int) -> None:
    """Replace the parameter's gradient by its orthogonal part at its old length."""
    assert parameter.grad is not None
    if parameter.grad.is_sparse:
        raise ValueError("OrthoGrad was given a sparse gradient: a dense one is wanted")
    wide = torch.promote_types(parameter.dtype, torch.float32)
    w, g = (directions(x.to(wide), by, axis) for x in (parameter, parameter.grad))
    if w.shape[-1] == 1:
        return
    across = g - (w * g).sum(-1, keepdim=True) / ((w * w).sum(-1, keepdim=True) + SMALLEST) * w
    length, left = (x.norm(dim=-1, keepdim=True) for x in (g, across))
    across = across * torch.where(left > NOISE * length, length / left.clamp(min=SMALLEST), 1.0)
    if by == "row" and axis == 0:
        across = across.reshape(parameter.shape[1:] + parameter.shape[:1]).movedim(-1, 0)
    parameter.grad.copy_(across.reshape(parameter.shape))


def directions(x: Tensor, by: By, axis: int) -> Tensor:
    """x [a, ...] -> [n, length]: one direction a row."""
    if by == "tensor":
        return x.reshape(1, -1)
    return x.flatten(1) if axis == 1 else x.movedim(0, -1).flatten(0, -2)
