"""A short convolution over the positions before: each channel sees its own last values.

B batch   T positions   C model width
"""

import torch
from torch import Tensor, nn

from .config import BackboneConfig, Branch
from .layers import UnitNorm
from .past import LayerCache


class ShortConv(nn.Module):
    """x_t + w_1 x_{t-1} + ... + w_n x_{t-n}, a weight a channel and distance, n = taps - 1.

    Source: So et al. 2021 (Primer), section 3, whose convolutions follow the projections; here one
    stands before them, on what the branch reads. Weights start at 0, so that the branch is at first
    what it is without them; they are stored flat, for they are vectors to an optimiser. On the
    sphere the sum is brought back to length one (ours).
    """

    def __init__(self, config: BackboneConfig, taps: int, branch: Branch) -> None:
        super().__init__()
        self.branch, self.before = branch, taps - 1
        self.taps = nn.Parameter(torch.zeros(self.before * config.d_model))
        self.land = UnitNorm() if config.on_sphere else nn.Identity()

    def forward(self, x: Tensor, past: LayerCache) -> Tensor:
        """x [B, T, C] -> the same shape; `past` keeps the last taps - 1 inputs."""
        known, out = past.with_tail(self.branch, x, self.before), x
        for distance, weight in enumerate(self.taps.view(self.before, -1), start=1):
            begin = self.before - distance
            out = torch.addcmul(out, weight, known[:, begin : begin + x.shape[1]])
        return self.land(out)


def build_short_conv(config: BackboneConfig, branch: Branch) -> ShortConv | None:
    """What `config.short_conv` does to what that branch reads; None where nothing."""
    conv = config.short_conv
    if conv is None or conv.before not in {branch, "both"}:
        return None
    return ShortConv(config, conv.taps, branch)
