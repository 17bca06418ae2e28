"""The package's one softmax over positions, and what a rule is handed to use it.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .layout import LayerCache


def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
    """softmax(scale q k' over the past) v.

    q [B, H, M, T, D], k [B, G, K, S, D], v [B, G, 1, S, E] -> [B, H, M, T, E]. The T queries are
    the last T of the S positions. Heads share keys as in GQA (Ainslie et al. 2023): key head g
    serves the H/G heads that follow g H/G. Source: Vaswani et al. 2017, eq. 1.
    """
    heads, maps, t = q.shape[1:4]
    s, repeats = k.shape[-2], heads // k.shape[1]
    k, v = (over_heads(x, repeats, maps) for x in (k, v))
    mask = None
    if 1 < t < s:  # torch's is_causal would align the queries with the first keys, not the last
        mask = torch.ones(t, s, dtype=torch.bool, device=q.device).tril(s - t)
    reads = F.scaled_dot_product_attention(
        q.flatten(1, 2), k, v, attn_mask=mask, is_causal=1 < t == s, scale=scale
    )
    return reads.unflatten(1, (heads, maps))


def over_heads(x: Tensor, repeats: int, maps: int) -> Tensor:
    """[B, G, K or 1, S, D] -> [B, G*repeats*maps, S, D], each repeated in place."""
    if repeats > 1:
        x = x.repeat_interleave(repeats, dim=1)
    return x.expand(-1, -1, maps, -1, -1).flatten(1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All that a rule may use: the maps (as queries and keys), the values, the stream, the past.

    The maps themselves are `through(identity of size S)`; few rules need them.
    """

    q: Tensor  # [B, H, M, T, D]
    k: Tensor  # [B, G, K, S, D]
    v: Tensor  # [B, G, 1, S, E]
    x: Tensor  # [B, T, C], normalised: what the branch was given
    past: LayerCache
    start: int  # position of the first query
    scale: float

    def through(self, values: Tensor) -> Tensor:
        """Values [B, G, 1, S, E] as each map reads them: [B, H, M, T, E]."""
        return attend(self.q, self.k, values, scale=self.scale)
