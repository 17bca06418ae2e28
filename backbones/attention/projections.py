"""Where queries, keys and values come from, and what of them is worth keeping for the next token.

`memory` is all that a cache stores; `heads` makes the rest of it. A projection norms, then turns.

B batch   T queries   S keys so far   C model width
H heads   G key/value heads   M maps a head   K key sets a head   D query width   E value width
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..past import Start
from ..positions import build_rotation
from ..stream import reader
from .latent import Compressed
from .layout import HeadLayout, Heads, split
from .qk_norm import Origin, QkNorm


class Grouped(nn.Module):
    """MHA, GQA and MQA: full keys and values, G of each.

    Memory is the turned keys, and the values.
    """

    def __init__(self, config: BackboneConfig, layout: HeadLayout) -> None:
        super().__init__()
        c = config.d_model
        self.layout, self.rotation = layout, build_rotation(config)
        self.norm = QkNorm(config, layout, Origin(query=c, key=c))
        self.q = reader(config, c, layout.heads * layout.maps * layout.query_dim)
        self.k = reader(config, c, layout.groups * layout.key_sets * layout.query_dim)
        self.v = reader(config, c, layout.groups * layout.value_dim)

    @property
    def scale(self) -> float:
        """Factor of q k' before the softmax."""
        return self.norm.scale

    def queries(self, x: Tensor, start: Start) -> Tensor:
        """x [B, T, C] -> [B, H, M, T, D]."""
        q = split(self.q(x), self.layout.heads, self.layout.maps)
        return self.rotation(self.norm.queries(q), start)

    def memory(self, x: Tensor, start: Start) -> tuple[Tensor, ...]:
        """x [B, T, C] -> keys [B, G, K, T, D], values [B, G, 1, T, E]."""
        k = split(self.k(x), self.layout.groups, self.layout.key_sets)
        v = split(self.v(x), self.layout.groups, 1)
        return self.rotation(self.norm.keys(k), start), v

    def asked(self, x: Tensor, start: Start) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Queries and memory of x."""
        memory = self.memory(x, start)
        return self.queries(x, start), memory

    def heads(self, q: Tensor, memory: tuple[Tensor, ...]) -> Heads:
        """What is read: memory as it is."""
        k, v = memory
        return Heads(q=q, k=k, v=v, lift=nn.Identity())


def build_projection(config: BackboneConfig, layout: HeadLayout) -> Grouped | Compressed:
    """The projection that `config` asks for, of the shapes that its rule needs."""
    if config.latent is None:
        return Grouped(config, layout)
    return Compressed(config, config.latent, layout)
