"""Bar-parallel network: one position a bar, fields and inputs summed; a body reads, a head says.

B windows, T bars, F fields, I inputs, C model width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.attention import LayerCache
from backbones.config import BackboneConfig
from backbones.model import Backbone
from forecaster.config import LearnerConfig
from forecaster.features import GEOMETRY
from forecaster.learner.bodies import PerBarConfig, build_body
from forecaster.learner.heads import build_head
from forecaster.learner.windows import Company
from forecaster.tokens import BarTokenizer

EMBEDDING_DEVIATION = (
    0.3  # of each of the five summed embeddings: the stream enters at about one half
)


class BarNetwork(nn.Module):
    """Windows in; what the head says of each bar out."""

    offset: Tensor  # [F] first row of each field's embeddings

    def __init__(
        self,
        config: BackboneConfig | PerBarConfig,
        tokenizer: BarTokenizer,
        learner: LearnerConfig,
        symbols: int = 0,
    ) -> None:
        super().__init__()
        rows = tokenizer.field_bins + 1
        self.fields = nn.Embedding(len(GEOMETRY) * rows, config.d_model)
        nn.init.normal_(self.fields.weight, std=EMBEDDING_DEVIATION)
        self.inputs = nn.Linear(len(tokenizer.input_mean), config.d_model)
        self.backbone = build_body(config)
        self.head = build_head(config.d_model, tokenizer, learner)
        self.register_buffer("offset", rows * torch.arange(len(GEOMETRY)), persistent=False)
        self.symbols = None if learner.panel is None else named(symbols, config.d_model)

    def forward(self, tokens: Tensor, inputs: Tensor, company: Company | None = None) -> Tensor:
        """tokens [B, T, F], inputs [B, T, I] -> [B, T, ...] as the head says.

        Of a company, T are the positions of its sequences.
        """
        if company is None:
            return self.head(self.hidden(tokens, inputs))
        x = self.embedded(tokens, inputs)
        if self.symbols is not None:
            x = x + self.symbols(company.symbols)
        return self.head(self.backbone(x, None, company.moments))

    def hidden(
        self, tokens: Tensor, inputs: Tensor, caches: Sequence[LayerCache] | None = None
    ) -> Tensor:
        """What the body makes of the bars, [B, T, C]; with caches, they go on from those."""
        x = self.embedded(tokens, inputs)
        return self.backbone(x) if caches is None else self.backbone(x, caches)

    def embedded(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """What enters the body, [B, T, C]."""
        return self.fields(tokens + self.offset).sum(dim=-2) + self.inputs(inputs)

    def new_caches(self) -> list[LayerCache]:
        """An empty past. Raises TypeError where the body remembers none."""
        if not isinstance(self.backbone, Backbone):
            raise TypeError(f"{type(self.backbone).__name__} has no past")
        return self.backbone.new_caches()


def named(symbols: int, width: int) -> nn.Embedding:
    """A vector for each symbol, after one for all that are not known by name."""
    table = nn.Embedding(1 + symbols, width)
    nn.init.normal_(table.weight, std=EMBEDDING_DEVIATION)
    return table
