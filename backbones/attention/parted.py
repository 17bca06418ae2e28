"""Queries, latents and turned parts of one product, in training on a CPU: each number moved once.

B batch   T positions   r rank   H heads   M maps a head   D query width
N, R the parts of a query or key that stay and that turn
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..by_hand import once
from ..by_hand.lengths import inverse_size, of_direction
from ..by_hand.turning import turn_into
from ..layers import RmsNorm
from .layout import HeadLayout, split

Turn = tuple[Tensor, Tensor, bool]  # cosines and sines [T, R/2]; whether pairs are (2i, 2i + 1)


def parted(wide: Tensor, norm: RmsNorm, turn: Turn, layout: HeadLayout) -> tuple[Tensor, Tensor]:
    """[queries ; c ; turning] [B, T, H M D + r + R] -> queries turned, [norm(c) ; turned].

    Queries are [B, H, M, T, D], the other is [B, T, r + R].
    """
    q, both = Parted.apply(wide, norm.gain, norm.eps, turn, layout)  # type: ignore[misc]
    return q, both


def places(wide: Tensor, rank: int, layout: HeadLayout) -> tuple[Tensor, Tensor, Tensor]:
    """Of [B, T, H M D + r + R] queries [B, H, M, T, D], c, and what turns: views."""
    asked = layout.heads * layout.maps * layout.query_dim
    q, latent, turning = wide.split((asked, rank, wide.shape[-1] - asked - rank), dim=-1)
    return split(q, layout.heads, layout.maps), latent, turning


class Parted(Function):
    """Queries turned, a vector normed, and a part of keys turned."""

    @staticmethod
    def forward(
        ctx: Any, wide: Tensor, gain: Tensor, eps: float, turn: Turn, layout: HeadLayout
    ) -> tuple[Tensor, Tensor]:
        """As `parted`."""
        ctx.turn, ctx.layout, r = turn, layout, len(gain)
        asked, latent, turning = places(wide, r, layout)
        q = wide.new_empty(asked.shape)
        both = wide.new_empty(*wide.shape[:-1], r + turning.shape[-1])
        inverse = inverse_size(latent, eps)
        torch.mul(latent, inverse, out=both[..., :r]).mul_(gain)
        cos, sin, interleaved = turn
        turn_into(q, asked, (cos, sin), interleaved=interleaved)
        turn_into(both[..., r:], turning, (cos, sin), interleaved=interleaved)
        ctx.save_for_backward(latent, gain, inverse)
        return q, both

    @staticmethod
    @once
    def backward(ctx: Any, of_q: Tensor, of_both: Tensor) -> tuple[Tensor | None, ...]:
        """Of queries and of the other -> of what they are parts of, and the gain."""
        latent, gain, inverse = ctx.saved_tensors
        (cos, sin, interleaved), r = ctx.turn, len(gain)
        direction, slope = latent * inverse, of_both[..., :r]
        out = latent.new_empty(*latent.shape[:-1], wide_of(of_q, of_both))
        asked, of_latent, turning = places(out, r, ctx.layout)
        of_direction(torch.mul(slope, gain, out=of_latent), direction, inverse, r)
        turn_into(asked, of_q, (cos, -sin), interleaved=interleaved)
        turn_into(turning, of_both[..., r:], (cos, -sin), interleaved=interleaved)
        return out, (slope * direction).sum_to_size(gain.shape), None, None, None


def wide_of(q: Tensor, both: Tensor) -> int:
    """How wide the product is: queries [B, H, M, T, D] and the other [B, T, r + R]."""
    return q.shape[1] * q.shape[2] * q.shape[-1] + both.shape[-1]
