"""Ways to ask one fused call for values that are wider, or narrower, than queries.

Fused kernels want equal widths; for others torch falls back to a path that stores T x S. All of
these return the same numbers; `fused_for` chooses.

B batch   N heads times maps   T queries   S keys   D query width   E value width
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """Which keys a query sees, and the factor of its scores."""

    mask: Tensor | None  # [T, S] or [B, 1, T, S], True where seen
    is_causal: bool
    scale: float


def direct(q: Tensor, k: Tensor, v: Tensor, how: Masking) -> Tensor:
    """One call, the widths as they are: q [B, N, T, D], k, v [B, N, S, .] -> [B, N, T, E]."""
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=how.mask, is_causal=how.is_causal, scale=how.scale
    )


def padded(q: Tensor, k: Tensor, v: Tensor, how: Masking) -> Tensor:
    """Zeros make the narrower side as wide as the other; they add nothing to a product."""
    width, value_dim = max(q.shape[-1], v.shape[-1]), v.shape[-1]
    q, k, v = (x if x.shape[-1] == width else F.pad(x, (0, width - x.shape[-1])) for x in (q, k, v))
    return direct(q, k, v, how)[..., :value_dim]


def sliced(q: Tensor, k: Tensor, v: Tensor, how: Masking) -> Tensor:
    """Values in E/D slices as wide as a query, each as a head of its own: E/D times the scores."""
    n = v.shape[-1] // q.shape[-1]
    q, k = (x.repeat(1, n, 1, 1) for x in (q, k))
    reads = direct(q, k, torch.cat(v.chunk(n, dim=-1), dim=1), how)
    return torch.cat(reads.chunk(n, dim=1), dim=-1)


def fused_for(q: Tensor, v: Tensor) -> Callable[[Tensor, Tensor, Tensor, Masking], Tensor]:
    """Padding on a CPU, slices on an accelerator where they fit, else padding.

    On a CPU, forward and backward at D = 32, one direct call takes 10 to 20 % less time than
    padding up to T = 256 and 20 to 30 % more at T = 1024, slices 10 to 20 % more (`backbones bench
    diff`); and padding never stores T x S. On accelerators nothing was timed: their flash kernels
    want equal widths, and D wide heads more than 2 D wide ones.
    """
    if q.shape[-1] == v.shape[-1]:
        return direct
    return padded if q.device.type == "cpu" or v.shape[-1] % q.shape[-1] else sliced
