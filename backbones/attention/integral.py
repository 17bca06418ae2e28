"""DINT's integral: what all queries so far have read, on average, through the first map.

B batch   T queries   S keys so far   H heads   E value width   R rows at once
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from ..config import BackboneConfig
from ..past import positions
from .kernel import Reading, over_heads, seen, weights

ROWS = 128  # query rows whose maps are held at once: memory is their number times S

Integral = Callable[[Reading, Tensor], Tensor]


def prefix_mean(reading: Reading, first: Tensor) -> Tensor:
    """r_i = mean over m <= i of o_m: what was read so far, each query counting once.

    Source: Cang et al. 2025 (DINT), the column mean of the first map A, made causal: G[i, j] =
    (1/(i+1)) sum over m <= i of A[m, j]. That is the paper's own formula applied to each prefix.
    Values do not depend on the query, so G v is the running mean of A v: no T x T matrix. The
    literal mean over all rows reads the future, also when it is masked afterwards. Queries of one
    moment have the mean that the last of them has.

    first [B, H, T, E], which the first map read -> the same shape.
    """
    position = positions(reading.start, first.shape[-2], first.device)
    reads = wide(first)
    if position.ndim == 2:  # rows apart: padding has read nothing
        position = position[:, None]  # [B, 1, T]
        reads = reads.masked_fill((position < 0).unsqueeze(-1), 0.0)
    total = reads.cumsum(dim=-2)
    if reading.past.running is not None:
        total = total + reading.past.running
    reading.past.running = total[..., -1:, :]
    if reading.past.moments is not None:
        last = same_moment(reading.past.moments)[1]
        total = at_rows(total, last)
        padding = (reading.past.moments < 0).sum(dim=-1, keepdim=True)
        position = (last - padding)[:, None, -total.shape[-2] :]
    count = (position + 1).clamp_min(1)
    return (total / count.unsqueeze(-1)).to(first.dtype)


def visible_mean(reading: Reading, first: Tensor) -> Tensor:
    """r_i = sum over j of G[i, j] v_j, each key's mean taken over the queries that could see it.

    G[i, j] = (1/(i-j+1)) sum over m = j..i of A[m, j], then each row brought to sum one. Source: a
    second form of DINT's mean, made causal; its literal form reads the future. It is not a mean of
    reads, so it needs the maps: all of T x S a head, though no more than R x S at a time, in
    training by computing a chunk of rows again. The cache holds the column sums, a number a head
    and key. Where positions share moments a key's first query is the first of its moment, a row's
    last the last of its own, and all rows are held at once: a chunk must not part a moment.

    first [B, H, T, E] -> the same shape.
    """
    heads, past, t = reading.heads, reading.past, first.shape[-2]
    before, order = heads.k.shape[-2] - t, past.order
    chunk = ROWS if past.moments is None else t
    sums = wide(first).new_zeros(*first.shape[:2], 0) if past.running is None else past.running
    parts = []
    for begin in range(0, t, chunk):
        end = min(begin + chunk, t)
        until = before + end
        how = reading.scale, None if order is None else order[:, :until]
        q, k, v = heads.q[:, :, :1, begin:end], heads.k[:, :, :1, :until], heads.v[..., :until, :]
        if t > chunk and torch.is_grad_enabled():
            part, sums = checkpoint(visible_rows, q, k, v, sums, *how, use_reentrant=False)
        else:
            part, sums = visible_rows(q, k, v, sums, *how)
        parts.append(part)
    past.running = sums
    return heads.lift(torch.cat(parts, dim=-2))


def visible_rows(
    q: Tensor, k: Tensor, v: Tensor, sums: Tensor, scale: float, order: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Some rows of the mean [B, H, R, E], and the column sums [B, H, S] after them.

    q [B, H, 1, R, D] are the last R of the S positions of k and v; `sums` are those before them.
    """
    a = weights(q, k, scale=scale, order=order).squeeze(2)  # [B, H, R, S]
    rows, keys = a.shape[-2:]
    columns = F.pad(sums, (0, keys - sums.shape[-1])).unsqueeze(-2) + a.cumsum(dim=-2)
    sums = columns[..., -1, :]
    first = last = torch.arange(keys, device=a.device)
    if order is not None:
        first, last = same_moment(order)
        columns = at_rows(columns, last)
    visible = (last[..., -rows:, None] - first[..., None, :] + 1).clamp_min(1)  # queries j..i
    g = columns / (visible if order is None else visible[:, None])  # zero where j > i, as sums are
    if order is not None:  # padding has read itself
        g = g.masked_fill(~seen(rows, keys, g.device, order), 0.0)
    g = g / g.sum(dim=-1, keepdim=True)
    return g.to(v.dtype) @ over_heads(v, q.shape[1], 1), sums


def same_moment(order: Tensor) -> tuple[Tensor, Tensor]:
    """Order [B, S] -> where each position's moment begins and where it ends, [B, S] each."""
    order = order.contiguous()
    first, after = (torch.searchsorted(order, order, right=right) for right in (False, True))
    return first, after - 1


def at_rows(x: Tensor, last: Tensor) -> Tensor:
    """x [B, H, R, E] of the last R of S positions, each row exchanged for row `last` [B, S]."""
    rows = x.shape[-2]
    index = last[:, None, -rows:, None] - (last.shape[-1] - rows)
    return x.gather(-2, index.expand_as(x))


def wide(x: Tensor) -> Tensor:
    """x in float32 or wider."""
    return x if x.dtype == torch.float64 else x.float()


def build_integral(config: BackboneConfig) -> Integral | None:
    """The mean that `config.integral` names."""
    match config.integral:
        case "none":
            return None
        case "prefix":
            return prefix_mean
        case "visible":
            return visible_mean
