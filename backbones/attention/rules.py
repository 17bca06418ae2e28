"""How a head turns what its attention maps read into its output.

Attention variants differ here only.
With o_m = softmax(scale q_m k_m') v, and r the integral's mean of o_1 or of its map:

    softmax   o_1
    DIFF      o_1 - lam o_2
    DINT      o_1 - lam o_2 + lam r

A constant value is read as 1, 1 - lam, 1.
"""

from torch import Tensor, nn

from ..config import BackboneConfig
from ..layers import RmsNorm, UnitNorm
from .integral import Integral, build_integral
from .kernel import Reading
from .lam import LayerLambda, TokenLambda
from .layout import HeadLayout


class Softmax(nn.Module):
    """One map a head, read as it is (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.layout = HeadLayout(
            heads=config.n_heads,
            groups=config.n_kv_heads,
            maps=1,
            key_sets=1,
            query_dim=config.query_dim,
            value_dim=config.value_dim,
        )

    def forward(self, reading: Reading) -> Tensor:
        """-> [B, H, T, E]."""
        return reading.through_maps().squeeze(2)


class ContrastV1(nn.Module):
    """Half the heads, each of two maps with their own keys, values twice as wide, a norm a head.

    Source: Ye et al. 2024 (DIFF), section 2.1, with the pairing of its flash modules: pair i is
    query heads 2i and 2i+1 against key heads 2j and 2j+1 of its group. Under an integral (Cang et
    al. 2025, DINT) rows sum to one, and the factor (1 - lam_init) is left out.
    Departures: on the sphere, where constants before W_o cancel, the norm has neither gain nor
    factor, and there is none under an integral.
    """

    def __init__(self, config: BackboneConfig, depth: int) -> None:
        super().__init__()
        self.layout = HeadLayout(
            heads=config.n_heads // 2,
            groups=config.n_kv_heads // 2,
            maps=2,
            key_sets=2,
            query_dim=config.query_dim,
            value_dim=2 * config.value_dim,
        )
        self.lam, self.integral = LayerLambda(config, depth), build_integral(config)
        self.norm = build_head_norm(config, self.layout.value_dim)
        scaled = config.integral == "none" and not config.on_sphere
        self.factor = 1 - self.lam.lam_init if scaled else 1.0

    def forward(self, reading: Reading) -> Tensor:
        """-> [B, H, T, E]."""
        return self.factor * self.norm(combined(reading, self.lam(reading.x), self.integral))


class ContrastV2(nn.Module):
    """Every head of two maps over the same keys and values; lam a token and head; no norm.

    Source: Ye et al. 2026 (DIFF V2, Microsoft): query heads 2i and 2i+1, of one group, are a pair.
    Against V1 queries are doubled where heads were halved. An integral over it is ours.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.layout = HeadLayout(
            heads=config.n_heads,
            groups=config.n_kv_heads,
            maps=2,
            key_sets=1,
            query_dim=config.query_dim,
            value_dim=config.value_dim,
        )
        self.lam, self.integral = TokenLambda(config), build_integral(config)

    def forward(self, reading: Reading) -> Tensor:
        """-> [B, H, T, E]."""
        return combined(reading, self.lam(reading.x), self.integral)


def combined(reading: Reading, lam: Tensor, integral: Integral | None) -> Tensor:
    """o_1 - lam o_2, plus lam times the integral where there is one: [B, H, T, E]."""
    if integral is None:
        return reading.through_contrast(lam)
    first, second = reading.through_maps().unbind(dim=2)
    return first - lam * (second - integral(reading, first))


def build_head_norm(config: BackboneConfig, width: int) -> RmsNorm | UnitNorm | nn.Identity:
    """What V1 does to each head's output."""
    if not config.on_sphere:
        return RmsNorm(width, config.norm_eps)
    return UnitNorm() if config.integral == "none" else nn.Identity()


def build_rule(config: BackboneConfig, depth: int) -> Softmax | ContrastV1 | ContrastV2:
    """The rule that `config.contrast` names, in layer `depth`, counted from 0."""
    match config.contrast:
        case "none":
            return Softmax(config)
        case "v1":
            return ContrastV1(config, depth)
        case "v2":
            return ContrastV2(config)
