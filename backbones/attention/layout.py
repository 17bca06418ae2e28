"""The shapes that a rule, a projection and the kernel agree on, and what a layer keeps of the past.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

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


@dataclass(slots=True)
class LayerCache:
    """The past of one layer: what its projection rebuilds keys from, positions on axis -2."""

    memory: tuple[Tensor, Tensor] | None = None

    @property
    def length(self) -> int:
        """Positions seen so far."""
        return 0 if self.memory is None else self.memory[0].shape[-2]

    def remember(self, new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Append along the position axis and return all of it."""
        if self.memory is not None:
            first, second = self.memory
            new = torch.cat((first, new[0]), dim=-2), torch.cat((second, new[1]), dim=-2)
        self.memory = new
        return new


def split(x: Tensor, heads: int, sets: int) -> Tensor:
    """[B, T, heads*sets*width] -> [B, heads, sets, T, width]."""
    return x.unflatten(-1, (heads, sets, -1)).permute(0, 2, 3, 1, 4)
