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
    latent: Tensor, turned: Tensor, weights: tuple[Tensor, Tensor], layout: HeadLayout
) -> tuple[Tensor, Tensor]:
    """Latents [B, 1, 1, T, r], turned parts [B, 1, 1, T, R] -> keys, values.

    The weights are U [G K N, r] of keys and V [G E, r] of values; keys are [B, G, K, T, N + R],
    values [B, G, 1, T, E].
    """
    k, v = Rebuilt.apply(latent, turned, torch.cat(weights), layout)  # type: ignore[misc]
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
        ctx: Any, latent: Tensor, turned: Tensor, weight: Tensor, layout: HeadLayout
    ) -> tuple[Tensor, Tensor]:
        """Latents [B, 1, 1, T, r], turned [B, 1, 1, T, R], weight [W, r] -> as `rebuilt`."""
        ctx.save_for_backward(latent, weight)
        ctx.layout = layout
        b, t, width = len(latent), latent.shape[-2], turned.shape[-1]
        staying, values = places(rows_times(rows(latent), weight).view(b, t, -1), layout)
        k = latent.new_empty(*staying.shape[:-1], staying.shape[-1] + width)
        k[..., :-width], k[..., -width:] = staying, turned
        return k, values.contiguous()

    @staticmethod
    @once
    def backward(ctx: Any, of_k: Tensor, of_v: Tensor) -> tuple[Tensor | None, ...]:
        """Of keys and values, shaped as they are -> of latent, turned part and weight."""
        latent, weight = ctx.saved_tensors
        slope = latent.new_empty(len(latent), latent.shape[-2], len(weight))
        staying, values = places(slope, ctx.layout)
        n = staying.shape[-1]
        staying.copy_(of_k[..., :n])
        values.copy_(of_v)
        slope = rows(slope)
        return (
            rows_times(slope, weight.T).view_as(latent),
            of_k[..., n:].sum(dim=(1, 2), keepdim=True),
            of_weight(slope, rows(latent)),
            None,
        )
