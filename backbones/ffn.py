"""The position-wise branch: GELU, ReLU^2 or SwiGLU, the last with narrow ends if asked for.

B batch   T positions   C model width   m d_ffn
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .by_hand import by_hand, gated, smooth_gelu
from .config import BackboneConfig
from .stream import Bottleneck, build_amplifier, reader, writer


class Plain(nn.Module):
    """down(f(up x)), f being gelu in its tanh form, or relu squared.

    Sources: Hendrycks and Gimpel 2016, section 2, whose tanh form is GPT-2's (Hugging Face:
    gelu_new); So et al. 2021 (Primer), section 3. On the sphere up x is amplified by sqrt(C) s, as
    SwiGLU's gate is; of relu squared only s counts there, for a factor leaves its direction.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.up = reader(config, config.d_model, config.d_ffn)
        self.down = writer(config, config.d_ffn, config.d_model)
        self.up_gain = build_amplifier(config, config.d_ffn, config.d_model**0.5)
        self.activation = gelu if config.ffn == "gelu" else relu_squared

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        return self.down(self.activation(self.up(x, self.up_gain)))


def gelu(x: Tensor) -> Tensor:
    """x Phi(x), with tanh for Phi."""
    return smooth_gelu(x) if by_hand(x) else F.gelu(x, approximate="tanh")


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    return F.relu(x).square()


class SwiGlu(nn.Module):
    """down(silu(gate z) * up z), with z = x.

    Source: Shazeer 2020, eq. 6. With m = 8 C / 3 it has as many parameters as a GELU branch of m =
    4 C. On the sphere: silu(sqrt(C) s_v gate z) * s_u up z (nGPT, eq. 20, 21).

    With ffn_rank_in, z = norm(W x) is narrow; with ffn_rank_out, what down reads is norm(W h), h
    being the product. Both norms are those of latent attention, whose idea this takes over (no
    publication is followed). On the sphere the gate then has sqrt(ffn_rank_in).
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        c, m = config.d_model, config.d_ffn
        n_in, n_out = config.ffn_rank_in or c, config.ffn_rank_out or m
        self.enter = self.leave = nn.Identity()
        if config.ffn_rank_in is not None:
            self.enter = Bottleneck(config, reader(config, c, n_in))
        self.gate, self.up = reader(config, n_in, m), reader(config, n_in, m)
        if config.ffn_rank_out is not None:
            self.leave = Bottleneck(config, writer(config, m, n_out))
        self.down = writer(config, n_out, c)
        self.gate_gain = build_amplifier(config, m, n_in**0.5)
        self.up_gain = build_amplifier(config, m, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        z = self.enter(x)
        gate, up = self.gate(z, self.gate_gain), self.up(z, self.up_gain)
        h = gated(gate, up) if by_hand(gate, up) else F.silu(gate) * up
        return self.down(self.leave(h))


def build_ffn(config: BackboneConfig) -> Plain | SwiGlu:
    """The branch that `config.ffn` names."""
    match config.ffn:
        case "gelu" | "relu2":
            return Plain(config)
        case "swiglu":
            return SwiGlu(config)
