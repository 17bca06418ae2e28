"""Causal self-attention: project, read through the maps, combine, project back.

No variant is named here.

B batch   T queries   S keys so far   C model width   H heads   E value width
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..past import LayerCache
from ..stream import writer
from .kernel import Reading
from .projections import build_projection
from .rules import build_rule

__all__ = ["Attention", "LayerCache"]


class Attention(nn.Module):
    """One attention branch, of any projection and any rule."""

    def __init__(self, config: BackboneConfig, depth: int) -> None:
        super().__init__()
        self.rule = build_rule(config, depth)
        layout = self.rule.layout
        self.projection = build_projection(config, layout)
        self.out = writer(config, layout.heads * layout.value_dim, config.d_model)

    def forward(self, x: Tensor, past: LayerCache) -> Tensor:
        """x [B, T, C] -> [B, T, C]; `past` grows by T positions."""
        start = past.start
        q, new = self.projection.asked(x, start)
        heads = self.projection.heads(q, past.remember(new))
        reading = Reading(heads=heads, x=x, past=past, start=start, scale=self.projection.scale)
        return self.out(self.rule(reading).transpose(1, 2).flatten(-2))  # [B, H, T, E] -> [B, T, C]
