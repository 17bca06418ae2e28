"""Where queries, keys and values come from, and what of them is worth keeping for the next token.

`memory` is all that a cache stores; `keys_values` makes the rest of it. A projection norms, then
turns.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..init import initial_std
from ..layers import Linear
from ..positions import build_rotation
from .layout import HeadLayout, split
from .qk_norm import QkNorm


class Grouped(nn.Module):
    """MHA, GQA and MQA: full keys and values, G of each.

    Memory is the turned keys, and the values.
    """

    def __init__(self, config: BackboneConfig, layout: HeadLayout) -> None:
        super().__init__()
        self.layout, self.rotation = layout, build_rotation(config)
        self.norm = QkNorm(config, layout.query_dim)
        self.q = reader(config, layout.heads * layout.maps * layout.query_dim)
        self.k = reader(config, layout.groups * layout.key_sets * layout.query_dim)
        self.v = reader(config, layout.groups * layout.value_dim)

    @property
    def scale(self) -> float:
        """Factor of q k' before the softmax."""
        return self.norm.scale

    def queries(self, x: Tensor, start: int) -> Tensor:
        """x [B, T, C] -> [B, H, M, T, D]."""
        q = split(self.q(x), self.layout.heads, self.layout.maps)
        return self.rotation(self.norm.queries(q), start)

    def memory(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """x [B, T, C] -> keys [B, G, K, T, D], values [B, G, 1, T, E]."""
        k = split(self.k(x), self.layout.groups, self.layout.key_sets)
        v = split(self.v(x), self.layout.groups, 1)
        return self.rotation(self.norm.keys(k), start), v

    def keys_values(self, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Memory -> keys [B, G, K, S, D], values [B, G, 1, S, E]: here the memory itself."""
        return memory


def reader(config: BackboneConfig, n_out: int) -> Linear:
    """C -> n_out."""
    std = initial_std(config).reader
    return Linear(config.d_model, n_out, sphere="in", std=std, bias=config.bias)


def build_projection(config: BackboneConfig, layout: HeadLayout) -> Grouped:
    """The projection that `config` asks for, of the shapes that its rule needs."""
    return Grouped(config, layout)
