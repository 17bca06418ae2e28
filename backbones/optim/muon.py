"""Muon: momentum, made orthogonal, for hidden matrices."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..by_hand import onednn_pays, rows_times

# Of the quintic a x + b x^3 + c x^5 that pulls every singular value towards one (Jordan 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Numbers of a matrix above which a CPU multiplies one after another: several do not fit its cache.
LARGEST = 2**16
SMALLEST = 1e-7  # of a norm that is divided by; also in torch.optim.Muon


class Muon(Optimizer):
    """m = mu m + (1 - mu) g; W -= lr scale orthogonal(mu m + (1 - mu) g) + lr wd W.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, Nesterov form. Each
    group has an "axis": the one along which a direction of the matrix lies. The scale is
    sqrt(max(1, directions / length)), which for axis 1 (rows) is the source's.
    Departures: matrices of one shape are made orthogonal together, or where oneDNN is the faster
    library one by one by that; in float32 or wider, unless `narrow` names the source's bfloat16.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        narrow: torch.dtype | None = None,
    ) -> None:
        self.narrow = narrow
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "axis": 1}
        super().__init__(groups, defaults)
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if parameter.ndim != 2:
                raise ValueError(f"Muon steps matrices: a shape {list(parameter.shape)} was given")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._step_together(parameters, group)
        return loss

    def _step_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of one shape."""
        moved = torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
        axis = group["axis"]
        scale = math.sqrt(max(1.0, moved.shape[2 - axis] / moved.shape[1 + axis]))
        for parameter, update in zip(parameters, orthogonal(moved, self.narrow), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.to(parameter.dtype), alpha=-group["lr"] * scale)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The Nesterov direction, in float32 or wider; moves the buffer."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        wide = torch.promote_types(parameter.dtype, torch.float32)
        return parameter.grad.to(wide).lerp(state["momentum"].to(wide), momentum)


def orthogonal(matrices: Tensor, narrow: torch.dtype | None = None) -> Tensor:
    """[n, R, C] -> the nearest orthogonal matrices, roughly: singular values in 0.7 to 1.2.

    Five Newton-Schulz steps X -> a X + (b A + c A^2) X, A = X X', from X / |X|; the polynomial
    does not converge to one, and need not (Jordan et al. 2024). With `narrow` they are taken in
    that type, which rounds what comes to 1 %.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).contiguous()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=SMALLEST)
    if narrow is not None:
        x = narrow_newton_schulz(x.to(narrow))
    elif onednn_pays(x[0], x[0]):
        x = torch.stack([newton_schulz(each, rows_times) for each in x])
    else:
        x = newton_schulz(x, lambda one, other: one @ other.mT)
    return x.mT if tall else x


def newton_schulz(x: Tensor, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The steps (Jordan et al. 2024) on x [..., R, C], R <= C; `times` is x, y -> x y'."""
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = times(x, x)
        factor = b * gram + c * times(gram, gram)  # a Gram matrix is symmetric
        x = a * x + times(factor, x.mT)
    return x


def narrow_newton_schulz(x: Tensor) -> Tensor:
    """The same of x [n, R, C] or [R, C], where each sum is rounded once, with the product in it."""
    if x.ndim == 3 and x.device.type == "cpu" and x[0].numel() > LARGEST:
        return torch.stack([narrow_newton_schulz(each) for each in x])
    (a, b, c), added = COEFFICIENTS, torch.addmm if x.ndim == 2 else torch.baddbmm
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        factor = added(gram, gram, gram, beta=b, alpha=c)
        x = added(x, factor, x, beta=a)
    return x
