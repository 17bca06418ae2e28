"""Bar-parallel network: one position a bar, fields and inputs summed; return bins out.

B windows, T bars, F fields, I inputs, H horizons, K return bins, C model width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from backbones.attention import LayerCache
from backbones.config import BackboneConfig
from backbones.model import Backbone
from forecaster.config import LearnerConfig
from forecaster.features import GEOMETRY
from forecaster.tokens import BarTokenizer, smooth_basis

EMBEDDING_DEVIATION = (
    0.3  # of each of the five summed embeddings: the stream enters at about one half
)


class BarNetwork(nn.Module):
    """Corrections to the tokeniser's bin masses; the head starts at zero, as no correction.

    p[k] = w[k] exp(l[k]) / sum over bins of the same, w the bin masses and l the tilt: free
    (`categorical`) or a combination of a few smooth functions (`low_rank`).
    """

    log_mass: Tensor  # [H, K]
    offset: Tensor  # [F] first row of each field's embeddings
    basis: Tensor  # [H, R, K] rows of the tilts that can be said; the identity for a free one

    def __init__(
        self, config: BackboneConfig, tokenizer: BarTokenizer, learner: LearnerConfig
    ) -> None:
        super().__init__()
        rows = tokenizer.field_bins + 1
        self.fields = nn.Embedding(len(GEOMETRY) * rows, config.d_model)
        nn.init.normal_(self.fields.weight, std=EMBEDDING_DEVIATION)
        self.inputs = nn.Linear(len(tokenizer.input_mean), config.d_model)
        self.backbone = Backbone(config)
        basis = tilts(tokenizer, learner)
        self.head = nn.Linear(config.d_model, basis.shape[0] * basis.shape[1])
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        mass = torch.from_numpy(tokenizer.bin_masses()).clamp_min(1e-12)
        self.register_buffer("basis", basis)
        self.register_buffer("log_mass", mass.log().float())
        self.register_buffer("offset", rows * torch.arange(len(GEOMETRY)), persistent=False)

    def forward(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """tokens [B, T, F], inputs [B, T, I] -> tilts [B, T, H, K] in nats."""
        return self.tilt(self.hidden(tokens, inputs))

    def hidden(
        self, tokens: Tensor, inputs: Tensor, caches: Sequence[LayerCache] | None = None
    ) -> Tensor:
        """What the backbone makes of the bars, [B, T, C]; with caches, they go on from those."""
        x = self.fields(tokens + self.offset).sum(dim=-2) + self.inputs(inputs)
        return self.backbone(x, caches)

    def new_caches(self) -> list[LayerCache]:
        """An empty past."""
        return self.backbone.new_caches()

    def tilt(self, hidden: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, H, K] in nats."""
        weights = self.head(hidden).unflatten(-1, self.basis.shape[:2])
        return torch.einsum("bthr,hrk->bthk", weights.float(), self.basis)

    def log_probability(self, tilt: Tensor) -> Tensor:
        """Tilts [..., H, K] -> log probabilities of the bins."""
        return (tilt + self.log_mass).log_softmax(dim=-1)


def tilts(tokenizer: BarTokenizer, learner: LearnerConfig) -> Tensor:
    """[H, R, K] float32."""
    horizons, bins = len(tokenizer.horizons), tokenizer.return_bins
    if learner.head == "categorical":
        return torch.eye(bins).repeat(horizons, 1, 1)
    edges = np.array(tokenizer.return_edges)
    smooth = smooth_basis(tokenizer.prior.base(), edges, learner.basis)
    return torch.from_numpy(smooth).float().mT.contiguous()
