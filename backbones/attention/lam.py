"""How much of the second map is taken away: DIFF's lambda, one a layer, or one a token and head.

B batch   T positions   C model width   H heads   d query width
"""

import math

import torch
from torch import Tensor, nn

from ..config import BackboneConfig
from ..init import LAMBDA_STD, initial_std, stored_at
from ..layers import Linear
from ..made import once
from ..stream import build_amplifier


class LayerLambda(nn.Module):
    """exp(q1.k1) - exp(q2.k2) + lam_init, one number for all heads of a layer.

    Source: Ye et al. 2024 (DIFF), eq. 2 and 3; lam_init = 0.8 - 0.6 exp(-0.3 depth), depth from 0.
    Departure: on the sphere the four vectors are stored at 1/sqrt(C), as all that nGPT learns.
    """

    def __init__(self, config: BackboneConfig, depth: int) -> None:
        super().__init__()
        self.lam_init = 0.8 - 0.6 * math.exp(-0.3 * depth)
        self.gain = LAMBDA_STD / stored_at(config) if config.on_sphere else 1.0
        for name in ("q1", "k1", "q2", "k2"):
            drawn = torch.randn(config.query_dim) * (LAMBDA_STD / self.gain)
            self.register_parameter(name, nn.Parameter(drawn))

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002 one signature with TokenLambda
        """-> a scalar."""
        return once(self, self.number)

    def number(self) -> Tensor:
        """-> the same, made of the four vectors."""
        q1, k1, q2, k2 = (self.get_parameter(n) * self.gain for n in ("q1", "k1", "q2", "k2"))
        return (q1 @ k1).exp() - (q2 @ k2).exp() + self.lam_init


class TokenLambda(nn.Module):
    """sigmoid(W x), one number a token and head, without a bias.

    Source: Ye et al. 2026 (DIFF V2, Microsoft). Departure: on the sphere, sigmoid(s sqrt(C) W x +
    b): a product of unit vectors has size 1/sqrt(C), and would leave the sigmoid at a half.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        sphere = "in" if config.on_sphere else None
        std, heads = initial_std(config).reader, config.n_heads
        self.gate = Linear(config.d_model, heads, sphere=sphere, std=std, bias=False)
        self.gain = build_amplifier(config, heads, config.d_model**0.5)
        self.bias = nn.Parameter(torch.zeros(heads)) if config.scheme == "ngpt" else None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, H, T, 1]."""
        score = self.gate(x, self.gain)
        score = score if self.bias is None else score + self.bias
        return score.sigmoid().mT.unsqueeze(-1)
