"""The package's one softmax over positions, and what a rule is handed to use it.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..past import LayerCache, Start
from .fused import Masking, fused_for
from .layout import Heads, by_head, by_key_set
from .short import read, read_contrast, short_enough


def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float, order: Tensor | None = None) -> Tensor:
    """softmax(scale q k' over the past) v.

    q [B, H, M, T, D], k [B, G, K, S, D], v [B, G, 1, S, E] -> [B, H, M, T, E]. The T queries are
    the last T of the S positions. Heads share keys as in GQA (Ainslie et al. 2023): key head g
    serves the H/G heads that follow g H/G. `order` [B, S]: see `seen`.
    Source: Vaswani et al. 2017, eq. 1.
    """
    heads, maps, t = q.shape[1:4]
    s = k.shape[-2]
    shared = k.shape[1] * k.shape[2] < heads * maps or v.shape[-1] != q.shape[-1]
    if t == 1 and order is None and (shared or q.is_cpu):
        return one_query(q, k, v, scale)
    k, v = over_heads(k, heads, maps), over_heads(v, heads, maps)
    # torch's is_causal would align fewer queries with the first keys, not the last
    mask = seen(t, s, q.device, order) if 1 < t < s or order is not None else None
    how = Masking(mask=mask, is_causal=mask is None and 1 < t == s, scale=scale)
    return fused_for(q, v)(q.flatten(1, 2), k, v, how).unflatten(1, (heads, maps))


def one_query(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """`attend` of the last position alone, every key and value being read where it lies.

    No key is repeated for the heads that share it, and no width is padded.
    """
    keys, values = k.flatten(0, 2), v.flatten(0, 2)
    asking = by_key_set(q, *k.shape[1:3])  # [B, G, K, R, 1, D]
    asked = asking.reshape(keys.shape[0], -1, q.shape[-1]).mul(scale)
    p = torch.bmm(asked, keys.mT).softmax(dim=-1).view(*asking.shape[:-1], -1)
    p = by_head(p, q.shape[2])  # [B, H, M, 1, S]
    reads = torch.bmm(p.reshape(values.shape[0], -1, p.shape[-1]), values)
    return reads.view(*q.shape[:-1], -1)


def weights(q: Tensor, k: Tensor, *, scale: float, order: Tensor | None = None) -> Tensor:
    """The maps that `attend` reads through, written out, in float32 or wider: [B, H, M, T, S]."""
    heads, maps, t = q.shape[1:4]
    scores = scale * q.flatten(1, 2) @ over_heads(k, heads, maps).mT
    scores = scores.masked_fill(~seen(t, k.shape[-2], q.device, order), -torch.inf)
    wide = torch.promote_types(scores.dtype, torch.float32)
    return scores.softmax(dim=-1, dtype=wide).unflatten(1, (heads, maps))


def seen(t: int, s: int, device: torch.device, order: Tensor | None = None) -> Tensor:
    """[T, S], True where a query, of the last T positions, is not before the key.

    With order [B, S], when each position is, [B, 1, T, S]: what is of one moment sees one another.
    Below 0 it is padding: nobody sees it, and it sees itself, for a softmax over nothing is no
    number.
    """
    past = torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)
    if order is None:
        return past
    key, query = order.to(device)[:, None, None], order.to(device)[:, None, s - t :, None]
    return ((key <= query) & (key >= 0)) | (past & ~past.tril(s - t - 1))


def over_heads(x: Tensor, heads: int, maps: int) -> Tensor:
    """[B, G, K or 1, S, D] -> [B, heads*maps, S, D], each repeated in place."""
    repeats = heads // x.shape[1]
    if repeats > 1:
        x = x.repeat_interleave(repeats, dim=1)
    return x.expand(-1, -1, maps, -1, -1).flatten(1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All that a rule may use: queries, keys and values, the stream, the past."""

    heads: Heads
    x: Tensor  # [B, T, C]: what the branch was given
    past: LayerCache
    start: Start  # position of the first query
    scale: float

    def through_maps(self) -> Tensor:
        """What each map reads of the values: [B, H, M, T, E]."""
        h = self.heads
        if short_enough(h, self.past):
            return h.lift(read(h, self.scale))
        return h.lift(attend(h.q, h.k, h.v, scale=self.scale, order=self.past.order))

    def through_contrast(self, lam: Tensor) -> Tensor:
        """What the first map reads, less lam times what the second does: [B, H, T, E]."""
        if short_enough(self.heads, self.past):
            return self.heads.lift(read_contrast(self.heads, lam, self.scale))
        first, second = self.through_maps().unbind(dim=2)
        return first - lam * second
