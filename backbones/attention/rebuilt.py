"""Keys and values out of latents in training on a CPU, each number copied to its place once.

B batch   T positions   r rank   G key/value heads   K key sets a head   E value width
N, R the parts of a key that stay and that turn   W = G (K N + E), the rows of both weights
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..by_hand import once
from ..by_hand.products import of_weight, rows, rows_times
from .layout import HeadLayout, split


def rebuilt(
    both: Tensor, weights: tuple[Tensor, Tensor], layout: HeadLayout
) -> tuple[Tensor, Tensor]:
    """Latents and turned parts side by side [B, 1, 1, T, r + R] -> keys, values.

    The weights are U [G K N, r] of keys and V [G E, r] of values; keys are [B, G, K, T, N + R],
    values [B, G, 1, T, E].
    """
    k, v = Rebuilt.apply(both, torch.cat(weights), layout)  # type: ignore[misc]
    return k, v


def places(wide: Tensor, layout: HeadLayout) -> tuple[Tensor, Tensor]:
    """Of [B, T, W] the parts of keys [B, G, K, T, N] and values [B, G, 1, T, E], views."""
    values = layout.groups * layout.value_dim
    k, v = wide.split((wide.shape[-1] - values, values), dim=-1)
    return split(k, layout.groups, layout.key_sets), split(v, layout.groups, 1)


class Rebuilt(Function):
    """k = [U c ; turned], v = V c."""

    @staticmethod
    def forward(
        ctx: Any, both: Tensor, weight: Tensor, layout: HeadLayout
    ) -> tuple[Tensor, Tensor]:
        """Latents and turned parts [B, 1, 1, T, r + R], weight [W, r] -> as `rebuilt`."""
        r, (b, t, width) = weight.shape[-1], (len(both), *both.shape[-2:])
        latent, turned = both[..., :r].contiguous(), both[..., r:]
        ctx.save_for_backward(latent, weight)
        ctx.layout = layout
        staying, values = places(rows_times(rows(latent), weight).view(b, t, -1), layout)
        n = staying.shape[-1]
        k = latent.new_empty(*staying.shape[:-1], n + width - r)
        k[..., :n], k[..., n:] = staying, turned
        return k, values.contiguous()

    @staticmethod
    @once
    def backward(ctx: Any, of_k: Tensor, of_v: Tensor) -> tuple[Tensor | None, ...]:
        """Of keys and values, shaped as they are -> of latents with turned parts, and weight."""
        latent, weight = ctx.saved_tensors
        r, (b, t) = weight.shape[-1], (len(latent), latent.shape[-2])
        slope = latent.new_empty(b, t, len(weight))
        staying, values = places(slope, ctx.layout)
        n = staying.shape[-1]
        staying.copy_(of_k[..., :n])
        values.copy_(of_v)
        slope = rows(slope)
        out = latent.new_empty(b, 1, 1, t, r + of_k.shape[-1] - n)
        out[..., :r] = rows_times(slope, weight.T).view_as(latent)
        torch.sum(of_k[..., n:], dim=(1, 2), keepdim=True, out=out[..., r:])
        return out, of_weight(slope, rows(latent)), None
