"""The two ends of the stream: how ids or embeddings enter it, and how it becomes logits.

B batch   T positions   C model width   V vocabulary
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import BackboneConfig
from .init import initial_std
from .positions import LearnedPositions, SinusoidalPositions


class Entry(nn.Module):
    """x_0 = dropout(s E[ids] + P), or dropout(e + P) for embeddings e.

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

    def forward(self, x: Tensor, start: int) -> Tensor:
        """Ids [B, T] (integers) or embeddings [B, T, C] (floats) -> [B, T, C].

        `start` is the first position.
        """
        x = self.embeddings(x) if x.is_floating_point() else self.factor * self.table_rows(x)
        return self.dropout(x if self.positions is None else self.positions(x, start))

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
    """logits = U h, U being the token table itself when the two are tied."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.weight = None
        if not config.tie_embeddings:
            rows = torch.empty(vocabulary(config), config.d_model)
            self.weight = nn.Parameter(rows.normal_(std=initial_std(config).head))

    def forward(self, h: Tensor, table: Tensor) -> Tensor:
        """h [B, T, C], table [V, C] -> [B, T, V]."""
        return F.linear(h, table if self.weight is None else self.weight)


def vocabulary(config: BackboneConfig) -> int:
    """The size of the vocabulary; ValueError where there is none."""
    if config.vocab_size is None:
        raise ValueError("vocab_size=None has no tokens to predict: a number of tokens is wanted")
    return config.vocab_size


def build_table(config: BackboneConfig) -> nn.Embedding | None:
    """The token table, where there is a vocabulary."""
    if config.vocab_size is None:
        return None
    table = nn.Embedding(config.vocab_size, config.d_model)
    nn.init.normal_(table.weight, std=initial_std(config).tokens)
    return table


def build_added_positions(config: BackboneConfig) -> LearnedPositions | SinusoidalPositions | None:
    """What `config.positions` adds to the stream."""
    if config.positions == "sinusoidal":
        return SinusoidalPositions()
    if config.max_positions is None:  # set for learned positions, and for no others
        return None
    return LearnedPositions(config.max_positions, config.d_model, initial_std(config).positions)
