"""The two ends of the stream: how ids or embeddings enter it, and how it becomes logits.

B batch   T positions   C model width   V vocabulary
"""

import torch
from torch import Tensor, nn

from .config import BackboneConfig
from .init import initial_std, stored_at
from .layers import Amplifier, LearnedScale, UnitNorm, linear, normalize_
from .past import Start
from .positions import LearnedPositions, SinusoidalPositions


class Table(nn.Embedding):
    """A vector for each of `rows` ids; under `sphere`, each is a direction."""

    def __init__(self, rows: int, width: int, *, sphere: bool, std: float) -> None:
        super().__init__(rows, width)
        self.sphere = sphere
        nn.init.normal_(self.weight, std=std)
        self.normalize_()

    @torch.no_grad()
    def normalize_(self) -> None:
        """Bring every direction back to length one."""
        if self.sphere:
            normalize_(self.weight)


class Entry(nn.Module):
    """x_0 = dropout(s E[ids] + P), or dropout(e + P) for embeddings e; on the sphere, unit(x_0).

    Embeddings come at their own scale. For ids, s is 1, sqrt(C) (Vaswani et al. 2017, section 3.4)
    or 1/sqrt(C).
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.d_model, self.tokens = config.d_model, build_table(config)
        self.positions = build_added_positions(config)
        exponent = {"none": 0.0, "sqrt_d": 0.5, "inv_sqrt_d": -0.5}[config.embedding_scale]
        self.factor = config.d_model**exponent
        self.dropout = nn.Dropout(config.dropout)
        self.land = UnitNorm() if config.on_sphere else nn.Identity()

    def forward(self, x: Tensor, start: Start) -> Tensor:
        """Ids [B, T] (integers) or embeddings [B, T, C] (floats) -> [B, T, C].

        `start` is the first position, of each row where they differ.
        """
        x = self.embeddings(x) if x.is_floating_point() else self.factor * self.table_rows(x)
        return self.land(self.dropout(x if self.positions is None else self.positions(x, start)))

    def embeddings(self, x: Tensor) -> Tensor:
        """x as it is; ValueError unless it is [B, T, C]."""
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(
                f"embeddings have shape {list(x.shape)}, "
                f"[batch, positions, d_model={self.d_model}] is wanted"
            )
        return x

    def table_rows(self, ids: Tensor) -> Tensor:
        """Ids [B, T] -> rows of the table [B, T, C]; ValueError where there is no table."""
        if self.tokens is None:
            raise ValueError(
                f"ids of shape {list(ids.shape)} were given, but vocab_size=None: "
                "embeddings are wanted"
            )
        return self.tokens(ids)

    @property
    def table(self) -> Tensor:
        """The token table [V, C]; ValueError where there is none."""
        if self.tokens is None:
            raise ValueError("vocab_size=None has no token table: a number of tokens is wanted")
        return self.tokens.weight


class Head(nn.Module):
    """logits = U h, U being the token table itself when the two are tied.

    On the sphere: logits = s_z U h / sqrt(C), rows of U at length one (nGPT, eq. 3; h comes at RMS
    1, and the root makes it a direction again).
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.weight, self.sphere = None, config.on_sphere
        if not config.tie_embeddings:
            rows = torch.empty(vocabulary(config), config.d_model)
            self.weight = nn.Parameter(rows.normal_(std=initial_std(config).head))
        self.scale = build_logit_scale(config)
        self.normalize_()

    @torch.no_grad()
    def normalize_(self) -> None:
        """Bring every direction back to length one."""
        if self.sphere and self.weight is not None:
            normalize_(self.weight)

    def forward(self, h: Tensor, table: Tensor) -> Tensor:
        """h [B, T, C], table [V, C] -> [B, T, V]."""
        return linear(h, table if self.weight is None else self.weight, gain=self.scale)


def vocabulary(config: BackboneConfig) -> int:
    """The size of the vocabulary; ValueError where there is none."""
    if config.vocab_size is None:
        raise ValueError("vocab_size=None has no tokens to predict: a number of tokens is wanted")
    return config.vocab_size


def build_logit_scale(config: BackboneConfig) -> Amplifier | None:
    """s_z / sqrt(C): a number a token, or one for all; nothing off the sphere."""
    root = stored_at(config)  # 1/sqrt(C): what s_z = 1 is stored at, and what brings h to length 1
    match config.scheme:
        case "pre_norm":
            return None
        case "ngpt":
            return Amplifier(root, LearnedScale(vocabulary(config), init=1.0, scale=root))
        case "ngpt_simple":
            return Amplifier(root, LearnedScale(1, init=1.0, scale=root))


def build_table(config: BackboneConfig) -> Table | None:
    """The token table, where there is a vocabulary."""
    if config.vocab_size is None:
        return None
    std = initial_std(config).tokens
    return Table(config.vocab_size, config.d_model, sphere=config.on_sphere, std=std)


def build_added_positions(config: BackboneConfig) -> LearnedPositions | SinusoidalPositions | None:
    """What `config.positions` adds to the stream; on the sphere it has about a token's length."""
    if config.positions == "sinusoidal":
        return SinusoidalPositions(config.d_model**-0.5 if config.on_sphere else 1.0)
    if config.max_positions is None:  # set for learned positions, and for no others
        return None
    return LearnedPositions(config.max_positions, config.d_model, initial_std(config).positions)
