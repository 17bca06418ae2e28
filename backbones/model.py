"""The model: what enters, a stack of blocks, what leaves. No variant is named here.

B batch   T positions   C model width   V vocabulary
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .attention import Attention
from .config import BackboneConfig
from .embedding import Entry, Head, vocabulary
from .ffn import build_ffn
from .past import LayerCache
from .residual import build_exit, build_residual


class Block(nn.Module):
    """Attention, then feed-forward, each joined to the stream by the residual rule.

    `depth` counts from 0.
    """

    def __init__(self, config: BackboneConfig, depth: int) -> None:
        super().__init__()
        self.attention = Attention(config, depth)
        self.join_attention = build_residual(config, "attention")
        self.ffn, self.join_ffn = build_ffn(config), build_residual(config, "ffn")

    def forward(self, x: Tensor, past: LayerCache) -> Tensor:
        """x [B, T, C] -> [B, T, C]; `past` grows by T positions."""
        x = self.join_attention(x, lambda h: self.attention(h, past), past)
        return self.join_ffn(x, self.ffn, past)


class Backbone(nn.Module):
    """Ids or embeddings in, hidden states out."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config, self.entry = config, Entry(config)
        self.blocks = nn.ModuleList(Block(config, depth) for depth in range(config.n_layers))
        self.exit = build_exit(config)

    def forward(
        self,
        x: Tensor,
        caches: Sequence[LayerCache] | None = None,
        moments: Tensor | None = None,
    ) -> Tensor:
        """Ids [B, T] or embeddings [B, T, C] -> [B, T, C].

        With caches, T continues what they hold. `moments` [B, T] say when each position is, where
        that is not its index: it sees all that are not later, and those of its own moment too.
        They never go back along T; what is below 0 is padding. ValueError otherwise.
        """
        caches = self.new_caches() if caches is None else caches
        if moments is not None and moments.shape != x.shape[:2]:
            shapes = f"{list(moments.shape)} for positions of shape {list(x.shape[:2])}"
            raise ValueError(f"moments have shape {shapes}: one each is wanted")
        for past in caches:
            past.expect(moments)
        x = self.entry(x, caches[0].start)
        for block, past in zip(self.blocks, caches, strict=True):
            x = block(x, past)
        return self.exit(x)

    def new_caches(self, padding: Tensor | None = None) -> list[LayerCache]:
        """An empty past, one a layer.

        `padding` [B] says how many positions on the left of each row are none. They may hold any
        token: no other position sees them, and each row counts from its first real one.
        """
        return [LayerCache(padding=padding) for _ in self.blocks]


class LanguageModel(nn.Module):
    """Ids in, next-token logits out; ValueError for a config without a vocabulary."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        vocabulary(config)
        self.config = config
        self.backbone, self.head = Backbone(config), Head(config)

    def forward(self, ids: Tensor, caches: Sequence[LayerCache] | None = None) -> Tensor:
        """Ids [B, T] -> logits [B, T, V]. With caches, T continues what they hold."""
        return self.head(self.backbone(ids, caches), self.backbone.entry.table)

    def new_caches(self, padding: Tensor | None = None) -> list[LayerCache]:
        """An empty past, one a layer; see `Backbone.new_caches`."""
        return self.backbone.new_caches(padding)


def parameters_of(config: BackboneConfig) -> int:
    """How many numbers a language model of that config trains; none of them is made."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in LanguageModel(config).parameters())
