"""Vectors brought to a known size, and nGPT's step from one direction towards another.

D width   n 1, or D where the size is an RMS
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .choice import once

SMALLEST = 1e-12  # of a length that is divided by: a zero vector stays zero


def normed(x: Tensor, gain: Tensor | None, *, eps: float | None) -> Tensor:
    """gain x / size: x [..., D], gain of any shape that broadcasts to x's, or None.

    The size is sqrt(mean(x^2) + eps), or the length where eps is None.
    """
    out: Tensor = Normed.apply(x, gain, eps)  # type: ignore[assignment]
    return out


def joined(x: Tensor, branch: Tensor, pace: Tensor) -> Tensor:
    """unit(x + pace (unit(branch) - x)): x, branch [..., D], pace [D] or [1]."""
    out: Tensor = Joined.apply(x, branch, pace)  # type: ignore[assignment]
    return out


def inverse_size(x: Tensor, eps: float | None) -> Tensor:
    """1 / size of x [..., D] -> [..., 1]."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if eps is None:
        return length.clamp_min_(SMALLEST).reciprocal_()
    return length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def of_direction(slope: Tensor, direction: Tensor, inverse: Tensor, n: int = 1) -> Tensor:
    """The slope of x, in place of that of `direction` = x inverse: what lies across it."""
    along = (slope * direction).sum(dim=-1, keepdim=True)
    return slope.addcmul_(direction, along, value=-1 / n).mul_(inverse)


class Normed(Function):
    """d = x / size: dx = (s - d (s.d)/n) / size with s = gain times the slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, eps: float | None) -> Tensor:
        """x at its known size, times the gain."""
        inverse = inverse_size(x, eps)
        ctx.n = 1 if eps is None else x.shape[-1]
        ctx.save_for_backward(x, gain, inverse)
        out = x * inverse
        return out if gain is None else out.mul_(gain)

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of x and gain."""
        x, gain, inverse = ctx.saved_tensors
        direction = x * inverse
        of_gain = None
        if ctx.needs_input_grad[1]:
            of_gain = (slope * direction).sum_to_size(gain.shape)
        if not ctx.needs_input_grad[0]:
            return None, of_gain, None
        scaled = slope.clone() if gain is None else slope * gain
        return of_direction(scaled, direction, inverse, ctx.n), of_gain, None


class Joined(Function):
    """y = unit(m), m = x + pace (d - x), d = unit(branch)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, pace: Tensor) -> Tensor:
        """y, of length one."""
        inverse = inverse_size(branch, None)
        out = (branch * inverse).sub_(x).mul_(pace).add_(x)
        inverse_out = inverse_size(out, None)
        out.mul_(inverse_out)
        ctx.save_for_backward(x, branch, pace, inverse, out, inverse_out)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of x, branch and pace."""
        x, branch, pace, inverse, out, inverse_out = ctx.saved_tensors
        slope = of_direction(slope.clone(), out, inverse_out)  # of m
        direction = branch * inverse
        of_pace = (direction - x).mul_(slope).sum_to_size(pace.shape)
        towards = slope * pace
        of_x = slope.sub_(towards)
        return of_x, of_direction(towards, direction, inverse), of_pace
