"""The elementwise part of the feed-forward branch."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .choice import once

GELU_SLOPE = (2 / torch.pi) ** 0.5  # of GELU's tanh form (Hendrycks and Gimpel 2016), with its
GELU_CUBE = 0.044715  # cubic term


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, all of one shape."""
    out: Tensor = Gated.apply(gate, up)  # type: ignore[assignment]
    return out


def smooth_gelu(x: Tensor) -> Tensor:
    """GELU's tanh form, as x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).

    (1 + tanh u) / 2 is sigmoid(2 u), which takes a tenth of the time.
    """
    out: Tensor = SmoothGelu.apply(x)  # type: ignore[assignment]
    return out


class Gated(Function):
    """d silu(g) = sigmoid(g) (1 + g (1 - sigmoid(g)))."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) up."""
        opened = gate.sigmoid()
        ctx.save_for_backward(gate, up, opened)
        return (gate * opened).mul_(up)

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of gate and up."""
        gate, up, opened = ctx.saved_tensors
        silu = gate * opened
        of_up = slope * silu
        # sigmoid (1 + g (1 - sigmoid)) = sigmoid + silu - silu sigmoid
        of_gate = torch.addcmul(opened, silu, opened, value=-1).add_(silu)
        return of_gate.mul_(slope).mul_(up), of_up


class SmoothGelu(Function):
    """y = x s, s = sigmoid(2 u): dy = s + x s (1 - s) 2 u'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """GELU of x."""
        inner = (x * x).mul_(2 * GELU_SLOPE * GELU_CUBE).add_(2 * GELU_SLOPE).mul_(x)
        opened = inner.sigmoid_()
        ctx.save_for_backward(x, opened)
        return x * opened

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """The slope of x."""
        x, opened = ctx.saved_tensors
        # x 2 u' = 2 sqrt(2/pi) (x + 3 * 0.044715 x^3)
        steep = (x * x).mul_(6 * GELU_SLOPE * GELU_CUBE).add_(2 * GELU_SLOPE).mul_(x)
        steep.mul_(torch.addcmul(opened, opened, opened, value=-1)).add_(opened)
        return steep.mul_(slope)
