"""y = x W' + b, by the library that is faster on this CPU.

torch hands float32 products to MKL, which on processors that are not Intel's uses half of their
vector width; oneDNN, which torch brings too, does not ask who made the processor. Both sum in
float32.

N rows   n_in, n_out the widths
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F  # noqa: N812

from .choice import once, ours

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

PLAIN = {Tensor, torch.nn.Parameter}  # and not a part of one that other processes share
WORTH_IT = 2**20  # products of two numbers, below which a call of oneDNN takes longer


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., n_in], weight [n_out, n_in], bias [n_out] -> [..., n_out]."""
    out: Tensor = Product.apply(x, weight, bias)  # type: ignore[assignment]
    return out


def torchs_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear, by oneDNN all the same where that pays and nothing is to be differentiated."""
    large = x.numel() * len(weight) >= WORTH_IT
    if not large or torch.is_grad_enabled() or not ours(x, weight):
        return F.linear(x, weight, bias)
    return rows_times(rows(x), weight, bias).view(*x.shape[:-1], -1)


def rows_times(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear of x [N, n_in], without a graph; either may be a transposed view."""
    if onednn_pays(x, weight):
        return onednn(dense(x), dense(weight), bias)
    return F.linear(x, weight, bias)


def onednn_pays(x: Tensor, weight: Tensor) -> bool:
    """Whether it takes this product of x [N, n_in] and weight [n_out, n_in], and does it faster."""
    takes = ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu"
    return takes and type(x) in PLAIN and len(x) * weight.numel() >= WORTH_IT


def of_weight(slope: Tensor, x: Tensor) -> Tensor:
    """slope' x of slope [N, n_out] and x [N, n_in]: [n_out, n_in].

    oneDNN copies the first factor where it is transposed: that is to be the narrower of the two.
    """
    if slope.shape[-1] > x.shape[-1]:
        return rows_times(x.T, slope.T).T.contiguous()
    return rows_times(slope.T, x.T)


def rows(x: Tensor) -> Tensor:
    """[..., n] -> [N, n]."""
    return x.reshape(-1, x.shape[-1])


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.linear of x [N, n_in] by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def dense(x: Tensor) -> Tensor:
    """x [N, n] in one piece, by rows or by columns.

    For a second factor whose rows stand apart oneDNN takes its reference path: 768 x 48 by 768 x
    64 in 50 ms where 0.05 are enough.
    """
    return x if x.is_contiguous() or x.mT.is_contiguous() else x.contiguous()


class Product(Function):
    """F.linear."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """F.linear of its inputs."""
        ctx.save_for_backward(x, weight)
        return rows_times(rows(x), weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of x, weight and bias."""
        x, weight = ctx.saved_tensors
        slope = rows(slope)
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            rows_times(slope, weight.T).view_as(x) if for_x else None,
            of_weight(slope, rows(x)) if for_weight else None,
            slope.sum(0) if for_bias else None,
        )
