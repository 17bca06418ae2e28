"""How a branch joins the residual stream, and how the stream is left.

B batch   T positions   C model width
"""

from collections.abc import Callable

from torch import Tensor, nn

from .config import BackboneConfig
from .layers import LayerNorm, RmsNorm, build_norm

Branch = Callable[[Tensor], Tensor]


class PreNorm(nn.Module):
    """x + dropout(branch(norm(x))), as in GPT-2 and LLaMA (Xiong et al. 2020, figure 1b)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.norm = build_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        return x + self.dropout(branch(self.norm(x)))


def build_residual(config: BackboneConfig) -> PreNorm:
    """The rule by which each branch of `config` joins the stream."""
    return PreNorm(config)


def build_exit(config: BackboneConfig) -> RmsNorm | LayerNorm:
    """What the stream passes before it is read: a pre-norm stack ends with a norm of its own."""
    return build_norm(config)
