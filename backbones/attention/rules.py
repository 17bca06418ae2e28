"""How a head turns what its attention maps read into its output.

Attention variants differ here only.
With o_m = softmax(scale q_m k_m') v:

    softmax   o_1
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from .kernel import Reading
from .layout import HeadLayout


class Softmax(nn.Module):
    """One map a head, read as it is (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.layout = HeadLayout(
            heads=config.n_heads,
            groups=config.n_kv_heads,
            maps=1,
            key_sets=1,
            query_dim=config.head_dim,
            value_dim=config.head_dim,
        )

    def forward(self, reading: Reading) -> Tensor:
        """-> [B, H, T, E]."""
        return reading.through(reading.v).squeeze(2)


def build_rule(config: BackboneConfig, depth: int) -> Softmax:  # noqa: ARG001 a seam
    """The rule that `config` asks for, in layer `depth`, counted from 0."""
    return Softmax(config)
