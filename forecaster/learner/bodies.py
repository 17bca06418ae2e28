"""What reads a window of bars: any preset of backbones, or a control that lacks one thing.

    mlp              the same blocks without attention: each bar is all that its forecast sees
    NAME-shuffled    the preset, with the bars before the last in an order drawn anew each time

B windows, T bars, C model width.
"""

from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn

from backbones.config import BackboneConfig
from backbones.model import Backbone
from backbones.presets import Sizes, preset, sized
from forecaster.config import LearnerConfig
from forecaster.errors import UsageError

MLP = "mlp"
SHUFFLED = "-shuffled"


class PerBarConfig(BaseModel):
    """Sizes of a body without attention."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    d_model: PositiveInt
    n_layers: PositiveInt
    dropout: float


class PerBar(nn.Module):
    """Pre-norm residual MLPs on each bar alone: LLaMA's blocks without their attention."""

    def __init__(self, config: PerBarConfig) -> None:
        super().__init__()
        width = config.d_model
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.RMSNorm(width),
                nn.Linear(width, 4 * width),
                nn.GELU(),
                nn.Linear(4 * width, width),
                nn.Dropout(config.dropout),
            )
            for _ in range(config.n_layers)
        )
        self.exit = nn.RMSNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        for block in self.blocks:
            x = x + block(x)
        return self.exit(x)


def is_shuffled(name: str) -> bool:
    """Whether the order of a window's past is hidden from this body."""
    return name.endswith(SHUFFLED)


def body_config(name: str, learner: LearnerConfig) -> BackboneConfig | PerBarConfig:
    """The named body at the learner's sizes. Raises UsageError of backbones for an unknown one."""
    if name == MLP:
        return PerBarConfig(
            d_model=learner.d_model, n_layers=learner.n_layers, dropout=learner.dropout
        )
    sizes = Sizes(
        vocab_size=None,
        context=learner.context,
        d_model=learner.d_model,
        n_layers=learner.n_layers,
        n_heads=learner.n_heads,
    )
    axes = preset(name.removesuffix(SHUFFLED))
    return sized(axes, sizes).replace(dropout=learner.dropout)


def require_attention(name: str, config: BackboneConfig | PerBarConfig) -> None:
    """Raises UsageError for a body that cannot read several symbols by the moments of their bars.

    A convolution goes by the order of a sequence, which says nothing there.
    """
    why = None
    if isinstance(config, PerBarConfig):
        why = "has no attention"
    elif is_shuffled(name):
        why = "hides when a bar was"
    elif config.short_conv is not None:
        why = "has a short convolution, which goes by the order of a sequence"
    if why is not None:
        raise UsageError(f"{name} {why}: panel needs another preset, for example llama")


def build_body(config: BackboneConfig | PerBarConfig) -> nn.Module:
    """Untrained; the caller has seeded torch."""
    return PerBar(config) if isinstance(config, PerBarConfig) else Backbone(config)
