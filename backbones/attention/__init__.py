"""Causal self-attention: project, read through the maps, combine, project back.

No variant is named here.

B batch   T queries   S keys so far   C model width   H heads   E value width
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..init import initial_std
from ..layers import Linear
from .kernel import Reading
from .layout import LayerCache
from .projections import build_projection
from .rules import build_rule

__all__ = ["Attention", "LayerCache"]


class Attention(nn.Module):
    """One attention branch, of any projection and any rule."""

    def __init__(self, config: BackboneConfig, depth: int) -> None:
        super().__init__()
        self.rule = build_rule(config, depth)
        layout, std = self.rule.layout, initial_std(config).writer
        self.projection = build_projection(config, layout)
        width = layout.heads * layout.value_dim
        self.out = Linear(width, config.d_model, sphere="out", std=std, bias=config.bias)

    def forward(self, x: Tensor, past: LayerCache) -> Tensor:
        """x [B, T, C] -> [B, T, C]; `past` grows by T positions."""
        start = past.length
        q = self.projection.queries(x, start)
        k, v = self.projection.keys_values(past.remember(self.projection.memory(x, start)))
        reading = Reading(q=q, k=k, v=v, x=x, past=past, start=start, scale=self.projection.scale)
        return self.out(self.rule(reading).transpose(1, 2).flatten(-2))  # [B, H, T, E] -> [B, T, C]
