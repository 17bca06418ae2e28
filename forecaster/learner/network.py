"""Bar-parallel network: one position a bar, fields and inputs summed; return bins out.

B windows, T bars, F fields, I inputs, H horizons, K return bins, C model width.
"""

import torch
from torch import Tensor, nn

from backbones.config import BackboneConfig
from backbones.model import Backbone
from forecaster.features import GEOMETRY
from forecaster.tokens import BarTokenizer

EMBEDDING_DEVIATION = (
    0.3  # of each of the five summed embeddings: the stream enters at about one half
)
INPUTS = 11  # columns of features.Features.inputs


class BarNetwork(nn.Module):
    """Corrections to the tokeniser's bin masses; the head starts at zero, as no correction.

    p[k] = w[k] exp(l[k]) / sum over bins of the same, w the bin masses and l the logits.
    """

    log_mass: Tensor  # [H, K]
    offset: Tensor  # [F] first row of each field's embeddings

    def __init__(self, config: BackboneConfig, tokenizer: BarTokenizer) -> None:
        super().__init__()
        self.horizons, self.bins = len(tokenizer.horizons), tokenizer.return_bins
        rows = tokenizer.field_bins + 1
        self.fields = nn.Embedding(len(GEOMETRY) * rows, config.d_model)
        nn.init.normal_(self.fields.weight, std=EMBEDDING_DEVIATION)
        self.inputs = nn.Linear(INPUTS, config.d_model)
        self.backbone = Backbone(config)
        self.head = nn.Linear(config.d_model, self.horizons * self.bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        mass = torch.from_numpy(tokenizer.bin_masses()).clamp_min(1e-12)
        self.register_buffer("log_mass", mass.log().float())
        self.register_buffer("offset", rows * torch.arange(len(GEOMETRY)), persistent=False)

    def forward(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """tokens [B, T, F], inputs [B, T, I] -> log probabilities [B, T, H, K]."""
        x = self.fields(tokens + self.offset).sum(dim=-2) + self.inputs(inputs)
        logits = self.head(self.backbone(x)).unflatten(-1, (self.horizons, self.bins))
        return (logits.float() + self.log_mass).log_softmax(dim=-1)
