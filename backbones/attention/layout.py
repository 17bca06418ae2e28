"""The shapes that a rule, a projection and the kernel agree on.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
r heads of a group, H/G   R maps that read one key set, r M/K
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadLayout:
    """How many queries, keys and values a rule needs.

    G divides H; K is M, or 1 where maps share keys.
    """

    heads: int
    groups: int
    maps: int
    key_sets: int
    query_dim: int
    value_dim: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """What a projection supplies. `lift` makes values of what was read, and is linear.

    Values are E wide, unless a projection has them read in a narrower form than E, which `lift`
    widens: then G of k or v may be fewer than the layout says, down to one.
    """

    q: Tensor  # [B, H, M, T, D]
    k: Tensor  # [B, G, K, S, D]
    v: Tensor  # [B, G, 1, S, E]
    lift: Callable[[Tensor], Tensor]  # [B, H, ..., E or narrower] -> [B, H, ..., E]


def as_it_is(reads: Tensor) -> Tensor:
    """The `lift` of values that were read in full."""
    return reads


def split(x: Tensor, heads: int, sets: int) -> Tensor:
    """[B, T, heads*sets*width] -> [B, heads, sets, T, width]."""
    return x.unflatten(-1, (heads, sets, -1)).permute(0, 2, 3, 1, 4)


def by_key_set(q: Tensor, groups: int, sets: int) -> Tensor:
    """[B, H, M, T, D] -> [B, G, K, R, T, D]: what reads one key set is together."""
    b, heads, _, t, d = q.shape
    if sets == 1 or groups == heads:  # it is already
        return q.reshape(b, groups, sets, -1, t, d)
    return q.unflatten(1, (groups, -1)).transpose(2, 3)  # of [B, G, r, M, T, D]


def by_head(x: Tensor, maps: int) -> Tensor:
    """[B, G, K, R, T, .] -> [B, H, M, T, .]: the other way."""
    b, _, sets, r, t, d = x.shape
    if sets == 1 or r == 1:
        return x.reshape(b, -1, maps, t, d)
    return x.transpose(2, 3).flatten(1, 2)
