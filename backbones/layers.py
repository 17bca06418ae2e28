"""The parts that every variant shares: the linear map and the norms.

B batch   T positions   C model width
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import BackboneConfig


class Linear(nn.Module):
    """y = W x + b, and which side of W faces the residual stream.

    `sphere="in"`: each row reads the stream. `sphere="out"`: each column writes to it. A scheme
    that keeps the stream on a sphere normalises W along that side, so what must be normalised is
    data, not a list.
    """

    def __init__(
        self, n_in: int, n_out: int, *, sphere: Literal["in", "out"], std: float, bias: bool
    ) -> None:
        super().__init__()
        self.sphere = sphere
        self.weight = nn.Parameter(torch.empty(n_out, n_in).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., n_in] -> [..., n_out]."""
        return F.linear(x, self.weight, self.bias)


class RmsNorm(nn.Module):
    """g x / sqrt(mean(x^2) + eps).

    Source: Zhang and Sennrich 2019, eq. 4. The mean is taken in float32 for narrower types, as in
    LLaMA.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> [..., width]."""
        return F.rms_norm(x, self.gain.shape, self.gain, self.eps)


class LayerNorm(nn.Module):
    """g (x - mean(x)) / sqrt(var(x) + eps) + b, the variance being the biased one.

    Source: Ba et al. 2016, eq. 4; b is left out where the config has bias=False, as in nanoGPT.
    """

    def __init__(self, width: int, eps: float, *, bias: bool) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> [..., width]."""
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.eps)


def build_norm(config: BackboneConfig) -> RmsNorm | LayerNorm:
    """The norm over the model width that `config.norm` names."""
    match config.norm:
        case "rms":
            return RmsNorm(config.d_model, config.norm_eps)
        case "layer":
            return LayerNorm(config.d_model, config.norm_eps, bias=config.bias)
