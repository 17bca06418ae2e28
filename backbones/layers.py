"""The parts that every variant shares: linear maps, tables, norms and learned scales.

B batch   T positions   C model width
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .by_hand import by_hand, normed, product, torchs_product
from .config import BackboneConfig
from .lengths import SMALLEST, rms, smallest_mean, unit
from .made import decoding, once

Side = Literal["in", "out"]

LARGEST = 2**17  # numbers in weights that are put side by side: reading more outweighs the calls


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, gain: "Amplifier | None" = None
) -> Tensor:
    """x [..., n_in], weight [n_out, n_in], bias [n_out] -> [..., n_out], amplified by the gain.

    In training, where there are more vectors than a weight has columns, the gain is multiplied into
    the weight: that is less work.
    """
    if decoding() and x.numel() == x.shape[-1]:  # one vector: nothing is to be chosen
        out = F.linear(x, weight, bias)
    elif not by_hand(x, weight, bias):
        out = torchs_product(x, weight, bias)
    elif gain is not None and bias is None and x.numel() > x.shape[-1] ** 2:
        return product(x, gain.weights(weight))
    else:
        out = product(x, weight, bias)
    return out if gain is None else gain(out)


def together(x: Tensor, *maps: "Linear") -> tuple[Tensor, ...]:
    """What each map makes of x [..., n_in]; in training by one product: narrow ones are slow."""
    biases: list[Tensor] = [m.bias for m in maps if m.bias is not None]
    if not by_hand(x, *(m.weight for m in maps), *biases):
        return tuple(m(x) for m in maps)
    bias = torch.cat(biases) if len(biases) == len(maps) else None
    wide = product(x, torch.cat([m.weight for m in maps]), bias)
    return wide.split([len(m.weight) for m in maps], dim=-1)


def side_by_side(x: Tensor, owner: nn.Module, *maps: "Linear") -> Tensor:
    """What the maps make of x [..., n_in], one after another: [..., sum of n_out].

    For decoding: one product, where the weights are not large.
    """
    if sum(m.weight.numel() for m in maps) > LARGEST:
        return torch.cat([m(x) for m in maps], dim=-1)
    weight, bias = once(owner, lambda: joined_weights(maps))
    return F.linear(x, weight, bias)


def joined_weights(maps: Sequence["Linear"]) -> tuple[Tensor, Tensor | None]:
    """Weights, and biases if there are any, of maps that all have them or have none."""
    weights: list[Tensor] = [m.weight for m in maps]
    biases: list[Tensor] = [m.bias for m in maps if m.bias is not None]
    return torch.cat(weights), torch.cat(biases) if biases else None


def normalize_(weight: Tensor, dim: int = -1) -> None:
    """`unit` in place."""
    if weight.dtype in {torch.float32, torch.float64}:
        weight.div_(torch.linalg.vector_norm(weight, dim=dim, keepdim=True).clamp(min=SMALLEST))
    else:
        weight.copy_(unit(weight, dim=dim))


class Linear(nn.Module):
    """y = W x + b, and which side of W holds directions.

    `sphere="in"`: each row is one, of the space that is read. `sphere="out"`: each column is one,
    of the space that is written. None: neither, and W is free. So what a scheme normalises is data,
    not a list.
    """

    def __init__(
        self, n_in: int, n_out: int, *, sphere: Side | None, std: float, bias: bool
    ) -> None:
        super().__init__()
        self.sphere: Side | None = sphere
        self.weight = nn.Parameter(torch.empty(n_out, n_in).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.normalize_()

    @torch.no_grad()
    def normalize_(self) -> None:
        """Bring every direction back to length one."""
        if self.sphere is not None:
            normalize_(self.weight, dim=1 if self.sphere == "in" else 0)

    def forward(self, x: Tensor, gain: "Amplifier | None" = None) -> Tensor:
        """x [..., n_in] -> [..., n_out], amplified by the gain if there is one."""
        return linear(x, self.weight, self.bias, gain)


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
        if by_hand(x, self.gain):
            return normed(x, self.gain, eps=self.eps)
        if decoding() and x.is_cpu:
            return rms(x, self.gain, once(self, lambda: smallest_mean(x, self.eps)))
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


class UnitNorm(nn.Module):
    """x / |x|: `unit` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> [..., width]."""
        return unit(x)


class LearnedScale(nn.Module):
    """Trained numbers that start at `init` and are stored at `scale`.

    Source: Loshchilov et al. 2024 (nGPT), section 2.5. Adam moves what is stored by about lr a
    step, and so what is used by lr init / scale. They are stored flat: optimisers take them for the
    vectors that they are.
    """

    def __init__(self, *shape: int, init: float, scale: float) -> None:
        super().__init__()
        self.shape, self.gain = shape, init / scale
        self.raw = nn.Parameter(torch.full((math.prod(shape),), scale))

    def forward(self) -> Tensor:
        """-> [*shape]."""
        return once(self, lambda: (self.raw * self.gain).view(self.shape))


class Amplifier(nn.Module):
    """x times a fixed factor, and times a learned scale where there is one."""

    def __init__(self, factor: float, scale: LearnedScale | None = None) -> None:
        super().__init__()
        self.factor, self.scale = factor, scale

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> [..., width]."""
        if self.scale is None:
            return x * self.factor
        scale = self.scale
        return x * once(self, lambda: scale() * self.factor)

    def weights(self, weight: Tensor) -> Tensor:
        """The weight [width, n_in] of a map that is amplified already."""
        return self.forward(weight.mT).mT


def build_norm(config: BackboneConfig) -> RmsNorm | LayerNorm:
    """The norm over the model width that `config.norm` names."""
    match config.norm:
        case "rms":
            return RmsNorm(config.d_model, config.norm_eps)
        case "layer":
            return LayerNorm(config.d_model, config.norm_eps, bias=config.bias)
