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

from .choice import once

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., n_in], weight [n_out, n_in], bias [n_out] -> [..., n_out]."""
    out: Tensor = Product.apply(x, weight, bias)  # type: ignore[assignment]
    return out


def rows_times(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear of x [N, n_in], without a graph; either may be a transposed view."""
    if ONEDNN and x.dtype == torch.float32 and x.numel():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def rows(x: Tensor) -> Tensor:
    """[..., n] -> [N, n]."""
    return x.reshape(-1, x.shape[-1])


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
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            rows_times(slope, weight.T).view_as(x) if of_x else None,
            rows_times(slope.T, rows(x).T) if of_weight else None,
            slope.sum(0) if of_bias else None,
        )
