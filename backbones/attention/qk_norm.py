"""What is done to queries and keys before they turn, and the scale of their product.

B batch   H heads   M maps a head   T positions   D query width
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..layers import RmsNorm


class QkNorm(nn.Module):
    """Each query and key as it is, or RMS-normalised over its D numbers, one gain for all heads.

    Source: Henry et al. 2020; in this form, before RoPE, in Qwen3. RMSNorm makes a length of
    sqrt(D), so the scale stays 1/sqrt(D).
    """

    def __init__(self, config: BackboneConfig, query_dim: int) -> None:
        super().__init__()
        self.scale = query_dim**-0.5
        rms = config.qk_norm == "rms"
        self.q = RmsNorm(query_dim, config.norm_eps) if rms else nn.Identity()
        self.k = RmsNorm(query_dim, config.norm_eps) if rms else nn.Identity()

    def queries(self, q: Tensor) -> Tensor:
        """[B, H, M, T, D] -> the same shape."""
        return self.q(q)

    def keys(self, k: Tensor) -> Tensor:
        """[B, G, K, T, D] -> the same shape."""
        return self.k(k)
