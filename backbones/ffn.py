"""The position-wise branch: GELU or SwiGLU.

B batch   T positions   C model width   m d_ffn
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import BackboneConfig
from .init import initial_std
from .layers import Linear


class Gelu(nn.Module):
    """down(gelu(up x)), in the tanh form of gelu.

    Source: Hendrycks and Gimpel 2016, section 2; the tanh form is GPT-2's (Hugging Face: gelu_new).
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.up, self.down = reader(config), writer(config)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGlu(nn.Module):
    """down(silu(gate x) * up x).

    Source: Shazeer 2020, eq. 6. With m = 8 C / 3 it has as many parameters as a GELU branch of m =
    4 C.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.gate, self.up, self.down = reader(config), reader(config), writer(config)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


def reader(config: BackboneConfig) -> Linear:
    """C -> m."""
    std = initial_std(config).reader
    return Linear(config.d_model, config.d_ffn, sphere="in", std=std, bias=config.bias)


def writer(config: BackboneConfig) -> Linear:
    """m -> C."""
    std = initial_std(config).writer
    return Linear(config.d_ffn, config.d_model, sphere="out", std=std, bias=config.bias)


def build_ffn(config: BackboneConfig) -> Gelu | SwiGlu:
    """The branch that `config.ffn` names."""
    match config.ffn:
        case "gelu":
            return Gelu(config)
        case "swiglu":
            return SwiGlu(config)
