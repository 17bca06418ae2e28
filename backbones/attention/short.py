"""Attention over a short context in training on a CPU: maps written out, a block of rows at a time.

A fused kernel never stores its maps, and computes them again on the way back; its blocks are made
for long contexts. Up to `LONGEST` positions it is faster to keep them. A block of rows stops at its
own last key, so that nearly half of the products is never asked for.

B batch   T positions   H heads   G key/value heads   M maps a head   K key sets a head
D query width   E value width   r heads of a group, H/G   R maps that read one key set, r M/K
N rows of a block   S its keys, from the first to the block's last
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..by_hand import by_hand, once
from ..past import LayerCache
from .layout import Heads

LONGEST = 256  # positions; beyond, memory is T x T a map
ROWS = 64  # of a block


def short_enough(heads: Heads, past: LayerCache) -> bool:
    """Whether these are read here: in training, from the first position on, each row whole."""
    t = heads.q.shape[-2]
    return (
        t == heads.k.shape[-2] <= LONGEST
        and past.order is None
        and by_hand(heads.q, heads.k, heads.v)
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
    return out


def blocks(t: int) -> Iterator[slice]:
    """The rows of each block."""
    return (slice(begin, min(begin + ROWS, t)) for begin in range(0, t, ROWS))


def by_key_set(q: Tensor, groups: int, sets: int) -> Tensor:
    """[B, H, M, T, D] -> [B, G, K, R, T, D]: what reads one key set is together."""
    q = q.unflatten(1, (groups, -1))  # [B, G, r, M, T, D]
    return q.flatten(2, 3).unsqueeze(2) if sets == 1 else q.transpose(2, 3)


def by_head(x: Tensor, maps: int) -> Tensor:
    """[B, G, K, R, T, .] -> [B, H, M, T, .]: the other way."""
    x = x.squeeze(2).unflatten(2, (-1, maps)) if x.shape[2] == 1 else x.transpose(2, 3)
    return x.flatten(1, 2)


def map_of(x: Tensor, index: int, maps: int) -> Tensor:
    """One map of all heads: [B, G, K, R, N, S] -> [B, G, r, N, S], a view."""
    return x[:, :, 0, index::maps] if x.shape[2] == 1 else x[:, :, index]


def rows_of(lam: Tensor, groups: int, rows: slice) -> Tensor:
    """lam of a block's rows, [B, G, r, N, 1], or the scalar."""
    return lam if lam.ndim == 0 else lam.unflatten(1, (groups, -1))[..., rows, :]


def unseen(rows: slice, like: Tensor) -> Tensor:
    """[1, N, S]: -inf where a row is before the key."""
    n = rows.stop - rows.start
    later = torch.full((n, rows.stop), -torch.inf, dtype=like.dtype, device=like.device)
    return later.triu(rows.start + 1).unsqueeze(0)


def subtracted(p: Tensor, lam: Tensor, maps: int) -> Tensor:
    """P_1 - lam P_2 of a block: p [B, G, K, R, N, S], lam of its rows -> [B, G, r, N, S]."""
    return torch.addcmul(map_of(p, 0, maps), lam, map_of(p, 1, maps), value=-1)


def through_subtraction(slope: Tensor, p: Tensor, lam: Tensor, maps: int) -> tuple[Tensor, Tensor]:
    """The slopes of p and, row by row, of lam [B, G, r, N, 1], from that of what `subtracted` gave.

    The first is shaped as p.
    """
    slope = slope.view(*p.shape[:2], -1, *p.shape[4:])
    of_lam = (slope * map_of(p, 1, maps)).sum(dim=-1, keepdim=True).neg_()
    of_p = torch.empty_like(p)
    map_of(of_p, 0, maps).copy_(slope)
    torch.mul(slope, -lam, out=map_of(of_p, 1, maps))
    return of_p, of_lam


class Read(Function):
    """P = softmax(scale q k'); o = P v, or (P_1 - lam P_2) v."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lam: Tensor | None, scale: float
    ) -> Tensor:
        """What the maps read, [B, H, M, T, E], or their difference, [B, H, T, E]."""
        maps, (groups, sets, t) = q.shape[2], k.shape[1:4]
        asked, keys, values = by_key_set(q, groups, sets), k.flatten(0, 2), v.flatten(0, 2)
        kept: list[Tensor] = []
        reads: list[Tensor] = []
        for rows in blocks(t):
            asking = asked[..., rows, :].reshape(len(keys), -1, q.shape[-1])
            mask = unseen(rows, q).repeat(1, asking.shape[1] // (rows.stop - rows.start), 1)
            scores = torch.baddbmm(mask, asking, keys[:, : rows.stop].mT, alpha=scale)
            p = scores.softmax(dim=-1).view(*asked.shape[:4], -1, rows.stop)
            kept.append(p)
            if lam is not None:
                p = subtracted(p, rows_of(lam, groups, rows), maps)
            part = p.reshape(len(values), -1, rows.stop) @ values[:, : rows.stop]
            reads.append(part.view(*p.shape[:-1], -1))
        ctx.scale = scale
        ctx.save_for_backward(q, k, v, lam, *kept)
        out = reads[0] if len(reads) == 1 else torch.cat(reads, dim=-2)
        return by_head(out, maps) if lam is None else out.flatten(1, 2)

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes of q, k, v and lam."""
        q, k, v, lam, *kept = ctx.saved_tensors
        maps, (groups, sets, t), by_lam = q.shape[2], k.shape[1:4], lam is not None
        asked, keys, values = by_key_set(q, groups, sets), k.flatten(0, 2), v.flatten(0, 2)
        slope = slope.unflatten(1, (groups, -1)) if by_lam else by_key_set(slope, groups, sets)
        of_q, of_k, of_v = (
            q.new_empty(asked.shape),
            torch.zeros_like(keys),
            torch.zeros_like(values),
        )
        of_lam: list[Tensor] = []
        for rows, p in zip(blocks(t), kept, strict=True):
            until = rows.stop
            into = slope[..., rows, :].reshape(len(values), -1, v.shape[-1])
            of_p, through = into @ values[:, :until].mT, p
            if by_lam:
                part = rows_of(lam, groups, rows)
                through = subtracted(p, part, maps)
                of_p, of_part = through_subtraction(of_p, p, part, maps)
                of_lam.append(of_part)
            of_v[:, :until].baddbmm_(through.reshape(*into.shape[:2], until).mT, into)
            of_scores = torch.ops.aten._softmax_backward_data(of_p.view(p.shape), p, -1, p.dtype)
            of_scores = of_scores.view(len(keys), -1, until)
            asking = asked[..., rows, :].reshape(len(keys), -1, q.shape[-1])
            of_k[:, :until].baddbmm_(of_scores.mT, asking, alpha=ctx.scale)
            found = (of_scores @ keys[:, :until]).mul_(ctx.scale)
            of_q[..., rows, :] = found.view(*of_q.shape[:4], -1, q.shape[-1])
        of_lambda = None
        if by_lam:
            of_lambda = torch.cat(of_lam, dim=-2).flatten(1, 2).sum_to_size(lam.shape)
        return by_head(of_q, maps), of_k.view_as(k), of_v.view_as(v), of_lambda, None
