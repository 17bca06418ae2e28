"""Bar-parallel network: one position a bar, fields and inputs summed; a body reads, a head says.

B windows, T bars, F fields, I inputs, C model width.
"""

import torch
from torch import Tensor, nn

from backbones.config import BackboneConfig
from forecaster.config import LearnerConfig
from forecaster.features import GEOMETRY
from forecaster.learner.bodies import PerBarConfig, build_body
from forecaster.learner.heads import build_head
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
    ) -> None:
        super().__init__()
        rows = tokenizer.field_bins + 1
        self.fields = nn.Embedding(len(GEOMETRY) * rows, config.d_model)
        nn.init.normal_(self.fields.weight, std=EMBEDDING_DEVIATION)
        self.inputs = nn.Linear(len(tokenizer.input_mean), config.d_model)
        self.backbone = build_body(config)
        self.head = build_head(config.d_model, tokenizer, learner)
        self.register_buffer("offset", rows * torch.arange(len(GEOMETRY)), persistent=False)

    def forward(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """tokens [B, T, F], inputs [B, T, I] -> [B, T, ...] as the head says."""
        x = self.fields(tokens + self.offset).sum(dim=-2) + self.inputs(inputs)
        return self.head(self.backbone(x))
