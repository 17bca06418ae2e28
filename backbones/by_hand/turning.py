"""Rotary positions: pairs of numbers turned by an angle, and turned back for the slopes.

T positions   D width
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .choice import once


def turned(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool) -> Tensor:
    """x [..., T, D], whose pairs are (i, i + R/2) or (2i, 2i + 1) of its last R numbers.

    cos, sin [..., T, R/2]; the numbers before them stay.
    """
    out: Tensor = Turned.apply(x, cos, sin, interleaved)  # type: ignore[assignment]
    return out


def halves(x: Tensor, interleaved: bool) -> tuple[Tensor, Tensor]:
    """The first and the second of each pair: views [..., D/2]."""
    if interleaved:
        return x[..., 0::2], x[..., 1::2]
    a, b = x.chunk(2, dim=-1)
    return a, b


def turn_into(out: Tensor, x: Tensor, turn: tuple[Tensor, Tensor], *, interleaved: bool) -> None:
    """Write x, the pairs of its last numbers turned by (cos, sin), to `out`."""
    cos, sin = turn
    stay = x.shape[-1] - 2 * cos.shape[-1]
    if stay:
        out[..., :stay] = x[..., :stay]
        out, x = out[..., stay:], x[..., stay:]
    (a, b), (to_a, to_b) = halves(x, interleaved), halves(out, interleaved)
    torch.mul(a, cos, out=to_a).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=to_b).addcmul_(a, sin)


class Turned(Function):
    """A rotation: its slopes turn the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
        """x, its pairs turned."""
        ctx.save_for_backward(cos, sin)
        ctx.interleaved, ctx.strides = interleaved, x.stride()
        out = x.new_empty(x.shape)  # in order, as products over positions want it
        turn_into(out, x, (cos, sin), interleaved=interleaved)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """The slope, turned back."""
        cos, sin = ctx.saved_tensors
        # in the order that x has, which is that of the product that it came from
        order = sorted(range(slope.ndim), key=lambda axis: -ctx.strides[axis])
        out = slope.new_empty([slope.shape[axis] for axis in order])
        out = out.permute([order.index(axis) for axis in range(slope.ndim)])
        turn_into(out, slope, (cos, -sin), interleaved=ctx.interleaved)
        return out, None, None, None
