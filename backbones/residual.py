"""How a branch joins the residual stream, and how the stream is left.

B batch   T positions   C model width
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .by_hand import by_hand, joined
from .config import BackboneConfig, Branch
from .init import BRANCH_PACE, stored_at
from .layers import Amplifier, LayerNorm, LearnedScale, RmsNorm, build_norm
from .lengths import unit
from .made import once
from .past import LayerCache
from .short_conv import build_short_conv

Work = Callable[[Tensor], Tensor]


class PreNorm(nn.Module):
    """x + dropout(work(conv(norm(x)))), as in GPT-2 and LLaMA (Xiong et al. 2020, figure 1b).

    They have no convolution: see ShortConv.
    """

    def __init__(self, config: BackboneConfig, branch: Branch) -> None:
        super().__init__()
        self.norm, self.conv = build_norm(config), build_short_conv(config, branch)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, work: Work, past: LayerCache) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        h = self.norm(x)
        branch = work(h if self.conv is None else self.conv(h, past))
        return x + (self.dropout(branch) if self.training else branch)


class Hypersphere(nn.Module):
    """unit(x + |alpha| (unit(dropout(work(conv(x)))) - x)): x turns part of the way to a direction.

    Source: Loshchilov et al. 2024 (nGPT), eq. 10 and 11; the absolute value is its code's.
    Departures: dropout and convolution, which the source does not have. `paces` is C, or 1 for one
    pace a branch.
    """

    def __init__(self, config: BackboneConfig, branch: Branch, paces: int) -> None:
        super().__init__()
        self.conv = build_short_conv(config, branch)
        self.alpha = LearnedScale(paces, init=BRANCH_PACE, scale=stored_at(config))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, work: Work, past: LayerCache) -> Tensor:
        """x [B, T, C] of length one -> the same."""
        branch = work(x if self.conv is None else self.conv(x, past))
        branch = self.dropout(branch) if self.training else branch
        pace = once(self, lambda: self.alpha().abs())
        if by_hand(x, branch, pace):
            return joined(x, branch, pace)
        direction = unit(branch).to(x.dtype)  # a branch may be narrower
        return unit(torch.lerp(x, direction, pace))


def build_residual(config: BackboneConfig, branch: Branch) -> PreNorm | Hypersphere:
    """The rule by which a branch of `config` reads the stream and joins it."""
    match config.scheme:
        case "pre_norm":
            return PreNorm(config, branch)
        case "ngpt":
            return Hypersphere(config, branch, config.d_model)
        case "ngpt_simple":
            return Hypersphere(config, branch, 1)


def build_exit(config: BackboneConfig) -> RmsNorm | LayerNorm | Amplifier:
    """What the stream passes before it is read, so that it is read at RMS 1 in every scheme.

    A pre-norm stack ends with a norm of its own. On the sphere there is none: sqrt(C) turns a
    length of one into an RMS of one, and nGPT's head divides by it again.
    """
    return Amplifier(config.d_model**0.5) if config.on_sphere else build_norm(config)
