"""How a branch reads the stream and writes to it, on the sphere and off it.

C model width
"""

from torch import Tensor, nn

from .config import BackboneConfig
from .init import initial_std
from .layers import Amplifier, LearnedScale, Linear, RmsNorm, UnitNorm

LATENT_EPS = 1e-6  # of the norm on a narrow vector: DeepSeek-V2's code


def reader(config: BackboneConfig, n_in: int, n_out: int) -> Linear:
    """A map that reads the stream, or a narrow vector that stands for it."""
    sphere = "in" if config.on_sphere else None
    return Linear(n_in, n_out, sphere=sphere, std=initial_std(config).reader, bias=config.bias)


def writer(config: BackboneConfig, n_in: int, n_out: int) -> Linear:
    """A map that writes to the stream, or to a narrow vector on the way to it."""
    sphere = "out" if config.on_sphere else None
    return Linear(n_in, n_out, sphere=sphere, std=initial_std(config).writer, bias=config.bias)


class Bottleneck(nn.Module):
    """norm(W x): a narrow vector of known size, RMS 1 by RMSNorm or, on the sphere, length 1."""

    def __init__(self, config: BackboneConfig, down: Linear) -> None:
        super().__init__()
        self.down = down
        rank = len(down.weight)
        self.norm = UnitNorm() if config.on_sphere else RmsNorm(rank, LATENT_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., n_in] -> [..., rank]."""
        return self.norm(self.down(x))


def build_amplifier(config: BackboneConfig, width: int, factor: float) -> Amplifier | None:
    """What brings a product of unit vectors back to a useful size; nothing off the sphere."""
    match config.scheme:
        case "pre_norm":
            return None
        case "ngpt":
            return Amplifier(factor, LearnedScale(width, init=1.0, scale=1.0))
        case "ngpt_simple":
            return Amplifier(factor)
