"""Attention over a short context in training on a CPU: maps written out, a block of rows at a time.

A fused kernel never stores its maps, and computes them again on the way back; its blocks are made
for long contexts. Up to `LONGEST` positions it is faster to keep them. A block of rows stops at its
own last key, so that nearly half of the products is never asked for.

B batch   T positions   H heads   G key/value heads   M maps a head   K key sets a head
D query width   E value width   r heads of a group, H/G
N rows of a block   S its keys, from the first to the block's last
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..by_hand import by_hand, once
from ..past import LayerCache
from .layout import Heads

LONGEST = 256  # positions; beyond, memory is T x T a map
WHOLE = 64  # positions that are one block
ROWS = 32  # of a block where there are more

softmax_slope = torch.ops.aten._softmax_backward_data.out


def short_enough(heads: Heads, past: LayerCache) -> bool:
    """Whether these are read here: in training, from the first position on, each row whole."""
    t, k, v = heads.q.shape[-2], heads.k, heads.v
    return (
        t == k.shape[-2] <= LONGEST
        and k.shape[1] == v.shape[1]  # not so where latents are read as values
        and past.order is None
        and by_hand(heads.q, k, v)
    )


def read(heads: Heads, scale: float) -> Tensor:
    """What each map reads of the values: [B, H, M, T, E]."""
    out: Tensor = Read.apply(heads.q, heads.k, heads.v, None, scale)  # type: ignore[assignment]
    return out


def read_contrast(heads: Heads, lam: Tensor, scale: float) -> Tensor:
    """o_1 - lam o_2 of two maps, subtracted before they read: [B, H, T, E].

    lam is a scalar, or [B, H, T, 1].
    """
    out: Tensor = Read.apply(heads.q, heads.k, heads.v, lam, scale)  # type: ignore[assignment]
    return out.squeeze(2)


def blocks(t: int) -> list[slice]:
    """The rows of each block; the first has all keys."""
    size = t if t <= WHOLE else ROWS
    return [slice(begin, min(begin + size, t)) for begin in range(0, t, size)][::-1]


def by_map(x: Tensor, groups: int) -> list[Tensor]:
    """[B, H, M, T, .] -> for each map [B, G, r, T, .], views."""
    return [each.unflatten(1, (groups, -1)) for each in x.unbind(dim=2)]


def by_set(k: Tensor) -> list[Tensor]:
    """[B, G, K, T, D] -> for each key set [B G, T, D]."""
    return [each.flatten(0, 1) for each in k.unbind(dim=2)]


def taken(x: Tensor, rows: slice) -> Tensor:
    """A block's rows of [B, G, r, T, .]: [B G, r N, .]."""
    return x[..., rows, :].reshape(x.shape[0] * x.shape[1], -1, x.shape[-1])


def lam_of(lam: Tensor, groups: int, rows: slice) -> Tensor:
    """lam of a block's rows, [B G, r N, 1], or the scalar."""
    return lam if lam.ndim == 0 else taken(lam.unflatten(1, (groups, -1)), rows)


def unseen(rows: slice, like: Tensor) -> Tensor:
    """[1, N, S]: -inf where a row is before the key."""
    n = rows.stop - rows.start
    later = torch.full((n, rows.stop), -torch.inf, dtype=like.dtype, device=like.device)
    return later.triu(rows.start + 1).unsqueeze(0)


def subtracted(maps: Sequence[Tensor], lam: Tensor, out: Tensor | None = None) -> Tensor:
    """P_1 - lam P_2 of a block: [B G, r N, S]."""
    return torch.addcmul(maps[0], lam, maps[1], value=-1, out=out)


def slope_of_lam(slope: Tensor, maps: Sequence[Tensor], out: Tensor) -> Tensor:
    """Row by row [B G, r N, 1], from that of what `subtracted` gave; `out` is room to work in."""
    return torch.mul(slope, maps[1], out=out).sum(dim=-1, keepdim=True).neg_()


class Sum:
    """Slopes [B G, T, .] to which blocks add, of which the first has all keys."""

    def __init__(self) -> None:
        self.begun: list[Tensor] = []

    def add(self, p: Tensor, x: Tensor, factor: float = 1.0) -> None:
        """factor p' x: p [B G, r N, S], x [B G, r N, .]."""
        if self.begun:
            self.total[:, : p.shape[-1]].baddbmm_(p.mT, x, alpha=factor)
        else:
            self.begun = [torch.baddbmm(x.new_empty(()), p.mT, x, beta=0, alpha=factor)]

    @property
    def total(self) -> Tensor:
        """The sum."""
        return self.begun[0]


class Read(Function):
    """P = softmax(scale q k'); o = P v, or (P_1 - lam P_2) v."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lam: Tensor | None, scale: float
    ) -> Tensor:
        """What the maps read, [B, H, M, T, E], or their difference, [B, H, 1, T, E]."""
        groups, t = k.shape[1], k.shape[-2]
        keys, values = by_set(k), v.flatten(0, 2)
        out = q.new_empty(*q.shape[:2], q.shape[2] if lam is None else 1, t, v.shape[-1])
        kept: list[Tensor] = []
        for rows in blocks(t):
            mask, maps = unseen(rows, q).repeat(1, q.shape[1] // groups, 1), []
            for m, asked in enumerate(by_map(q, groups)):
                seen = keys[m % len(keys)][:, : rows.stop].mT
                scores = torch.baddbmm(mask, taken(asked, rows), seen, alpha=scale)
                maps.append(torch.softmax(scores, dim=-1, out=scores))
            kept += maps
            if lam is not None:
                maps = [subtracted(maps, lam_of(lam, groups, rows))]
            for place, p in zip(by_map(out, groups), maps, strict=True):
                part = place[..., rows, :]
                part.copy_((p @ values[:, : rows.stop]).view(part.shape))
        ctx.scale = scale
        ctx.save_for_backward(q, k, v, lam, *kept)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of q, k, v and lam."""
        q, k, v, lam, *kept = ctx.saved_tensors
        groups, maps, values = k.shape[1], q.shape[2], v.flatten(0, 2)
        found, of_v = OfScores(q, k, ctx.scale), Sum()
        of_lam: list[Tensor] = []
        for i, rows in enumerate(blocks(k.shape[-2])):
            p = through = kept[i * maps : (i + 1) * maps]
            into = [taken(each, rows) for each in by_map(slope, groups)]
            of_p = [each @ values[:, : rows.stop].mT for each in into]
            part, room = None, torch.empty_like(p[0])
            if lam is not None:
                part = lam_of(lam, groups, rows)
                through = [subtracted(p, part, room)]
            for each, x in zip(through, into, strict=True):
                of_v.add(each, x)
            if lam is not None:
                of_lam.append(slope_of_lam(of_p[0], p, room).view(*q.shape[:2], -1, 1))
                of_p *= maps  # of P_1; of P_2 it is -lam times as much
            for m, (slope_of_map, each) in enumerate(zip(of_p, p, strict=True)):
                softmax_slope(slope_of_map, each, -1, each.dtype, grad_input=room)
                found.add(m, rows, room, part if m else None)
        of_layer = None if lam is None else torch.cat(of_lam[::-1], dim=-2).sum_to_size(lam.shape)
        return found.of_q, found.of_k().view_as(k), of_v.total.view_as(v), of_layer, None


class OfScores:
    """Slopes of queries and keys, from those of scores, block by block."""

    def __init__(self, q: Tensor, k: Tensor, scale: float) -> None:
        groups = k.shape[1]
        self.asked, self.keys, self.scale = by_map(q, groups), by_set(k), scale
        self.of_q = q.new_empty(q.shape)
        self.places = by_map(self.of_q, groups)
        self.sums = [Sum() for _ in self.keys]

    def add(self, m: int, rows: slice, of_scores: Tensor, lam: Tensor | None) -> None:
        """Of map m, [B G, r N, S], or -lam times as much: lam is put into what is D wide, not S."""
        at, asking = m % len(self.keys), taken(self.asked[m], rows)
        of_q, place = of_scores @ self.keys[at][:, : rows.stop], self.places[m][..., rows, :]
        if lam is None:
            self.sums[at].add(of_scores, asking, self.scale)
            torch.mul(of_q.view(place.shape), self.scale, out=place)
        else:
            factor = lam * -self.scale
            self.sums[at].add(of_scores, asking * factor)
            place.copy_(of_q.mul_(factor).view(place.shape))

    def of_k(self) -> Tensor:
        """[B G, K, T, D]."""
        return torch.stack([each.total for each in self.sums], dim=1)
