"""What is done to queries and keys before they turn, and the scale of their product.

B batch   T positions   H heads   M maps a head   G key/value heads   K key sets a head
D query width   R width of the part of a key that all heads share, 0 where there is none
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from ..by_hand import by_hand, normed
from ..config import BackboneConfig
from ..init import stored_at
from ..layers import LearnedScale
from ..lengths import rms, smallest_mean, unit
from ..made import decoding, once
from .layout import HeadLayout

SMALLEST = 1e-24  # of a sum of squares: a zero vector has no direction, and stays zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where queries and keys are read from: the widths, and how much of a key all heads share."""

    query: int
    key: int
    shared: int = 0


class Gain(nn.Module):
    """One trained factor a channel, for all heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self) -> Tensor:
        """-> [1, 1, 1, width]."""
        return self.gain.expand(1, 1, 1, -1)


class QkNorm(nn.Module):
    """Queries and keys brought to a known size, head by head, then times a learned gain.

    none       as they are
    rms        RMS 1, a gain a channel (Henry et al. 2020; in this form in Qwen3)
    standard   length 1, a gain a head and channel, the same for both maps of a pair
    split      length 1, a gain a map, head and channel

    The latter two are nGPT's (Loshchilov et al. 2024, eq. 15 and 16), whose gains queries and keys
    share where they are as many. All act before RoPE, for a gain after it would make scores depend
    on more than distance (nGPT's code has it after). On the sphere `none` keeps its gains, and
    ngpt_simple has one number for each vector.

    The scale gives scores of unit variance at the start: 1/sqrt(D) for numbers of size one,
    sqrt(D) for vectors of length one, sqrt(n_q n_k / D) for numbers of size 1/sqrt(n).
    """

    def __init__(self, config: BackboneConfig, layout: HeadLayout, origin: Origin) -> None:
        super().__init__()
        self.layout, d = layout, layout.query_dim
        self.kind, self.eps, self.scale = config.qk_norm, config.norm_eps, d**-0.5
        if config.qk_norm in {"standard", "split"}:
            self.scale = d**0.5
        elif config.qk_norm == "none" and config.on_sphere:
            self.scale = (origin.query * origin.key / d) ** 0.5
        self.q = build_gain(config, (layout.heads, layout.maps, d))
        own = layout.groups, layout.key_sets, d - origin.shared
        shares = gain_shape(config, own) == gain_shape(config, (layout.heads, layout.maps, d))
        self.k = None if shares and config.qk_norm != "rms" else build_gain(config, own)
        self.shared = build_gain(config, (1, 1, origin.shared)) if origin.shared else None

    def queries(self, q: Tensor) -> Tensor:
        """[B, H, M, T, D] -> the same shape."""
        return self.sized(q, None if self.q is None else self.q())

    def keys(self, k: Tensor) -> Tensor:
        """[B, G, K, T, D] -> the same shape."""
        return self.sized(k, self.key_gain())

    def both(self, x: Tensor) -> Tensor:
        """[B, H M + G K, 1, D], queries and then keys, to the same shape: for decoding."""
        gain, eps = once(self, lambda: (self.both_gains(), smallest_mean(x, self.eps)))
        if self.kind == "rms" and gain is not None:
            return rms(x, gain, eps)
        return times(x if self.kind == "none" else unit(x), gain)

    def both_gains(self) -> Tensor | None:
        """Of all queries and keys, [H M + G K, 1, D]."""
        if self.q is None:
            return None
        h, q, k = self.layout, self.q(), (self.q if self.k is None else self.k)()
        asking = q.expand(h.heads, h.maps, 1, h.query_dim).flatten(0, 1)
        return torch.cat((asking, k.expand(h.groups, h.key_sets, 1, h.query_dim).flatten(0, 1)))

    def sized(self, x: Tensor, gain: Tensor | None) -> Tensor:
        """x [..., D] at its known size, times the gain."""
        if self.kind != "none" and by_hand(x, gain):
            return normed(x, gain, eps=self.eps if self.kind == "rms" else None)
        if decoding() and self.kind in {"standard", "split"}:
            return times(unit(x), gain)
        return times(x, self.inverse_length(x), gain)

    def key_gain(self) -> Tensor | None:
        """Of the part of a key that is each head's own."""
        gain = self.q if self.k is None else self.k
        return None if gain is None else gain()

    def shared_gain(self) -> Tensor | None:
        """Of the part of a key that all heads share, [R]."""
        return None if self.shared is None else self.shared().flatten()

    def inverse_length(self, *parts: Tensor) -> Tensor | None:
        """1 / size of vectors given in parts [..., width], which may broadcast: [..., 1]."""
        if self.kind == "none":
            return None
        wide = [p if p.dtype == torch.float64 else p.float() for p in parts]
        squares = reduce(torch.add, [p.square().sum(dim=-1, keepdim=True) for p in wide])
        if self.kind == "rms":
            squares = squares / sum(p.shape[-1] for p in parts) + self.eps
        return squares.clamp_min(SMALLEST).rsqrt().to(parts[0].dtype)


def times(x: Tensor, *factors: Tensor | None) -> Tensor:
    """x times all factors that there are."""
    for factor in factors:
        x = x if factor is None else x * factor
    return x


def gain_shape(config: BackboneConfig, vectors: tuple[int, int, int]) -> tuple[int, ...] | None:
    """Shape of the gain of [heads, sets, width] vectors, against [heads, sets, T, width]."""
    heads, sets, width = vectors
    if config.qk_norm == "none" and config.scheme != "ngpt":
        return None
    sets = 1 if config.qk_norm == "standard" else sets
    return (1, sets, 1, 1) if config.scheme == "ngpt_simple" else (heads, sets, 1, width)


def build_gain(config: BackboneConfig, vectors: tuple[int, int, int]) -> Gain | LearnedScale | None:
    """The gain of [heads, sets, width] vectors, if `config` has one."""
    if config.qk_norm == "rms":
        return Gain(vectors[-1])
    shape = gain_shape(config, vectors)
    return None if shape is None else LearnedScale(*shape, init=1.0, scale=stored_at(config))
