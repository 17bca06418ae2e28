"""The shapes that a rule, a projection and the kernel agree on, and what a layer keeps of the past.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
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


@dataclass(slots=True)
class LayerCache:
    """The past of one layer: what its projection rebuilds keys from, positions on axis -2.

    `running` is what its rule's mean goes on from, in float32 or wider: a running sum in bfloat16
    was wrong by a third after 4096 positions.
    """

    memory: tuple[Tensor, ...] | None = None
    running: Tensor | None = None

    @property
    def length(self) -> int:
        """Positions seen so far."""
        return 0 if self.memory is None else self.memory[0].shape[-2]

    def remember(self, new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Append along the position axis and return all of it."""
        if self.memory is not None:
            pairs = zip(self.memory, new, strict=True)
            new = tuple(torch.cat(pair, dim=-2) for pair in pairs)
        self.memory = new
        return new


def split(x: Tensor, heads: int, sets: int) -> Tensor:
    """[B, T, heads*sets*width] -> [B, heads, sets, T, width]."""
    return x.unflatten(-1, (heads, sets, -1)).permute(0, 2, 3, 1, 4)
