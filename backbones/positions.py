"""Where a token stands: by turning queries and keys (RoPE), or by adding a vector to the stream.

B batch   T positions   C model width   D query width
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from .by_hand import by_hand, turned
from .config import BackboneConfig
from .past import Start, positions

LEAST = 256  # positions whose turns are kept


class Rotary(nn.Module):
    """Turn pair i of a query or key at position p by the angle p base^(-2i/D).

    Source: Su et al. 2021, eq. 34. Pairs are (i, i + D/2) in layout "half" (Hugging Face's LLaMA)
    and (2i, 2i+1) in layout "interleaved" (the paper, Meta's LLaMA): the same up to an order of
    W_q's rows. Departure: angles are taken in float64, so that position 10^5 turns as exactly as
    position 1.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.base, self.interleaved = config.rope_base, config.rope_layout == "interleaved"

    def forward(self, x: Tensor, start: Start, stay: int = 0) -> Tensor:
        """x [B, ..., T, D], of which the first is at position `start` -> the same shape.

        The first `stay` numbers of each are not turned: D is then what is behind them.
        """
        if stay and not by_hand(x):
            return torch.cat((x[..., :stay], self(x[..., stay:], start)), dim=-1)
        cos, sin = turns_of(x[..., stay:], start, self.base)  # [T, D]
        if cos.ndim == 3:  # rows that start apart
            between = [1] * (x.ndim - 3)
            cos, sin = (c.view(len(c), *between, *c.shape[1:]) for c in (cos, sin))
        half = cos.shape[-1] // 2
        if not self.interleaved and not by_hand(x):
            return torch.addcmul(x * cos, x.roll(half, dims=-1), sin)
        cos, sin = cos[..., half:], sin[..., half:]
        if by_hand(x):
            return turned(x, cos, sin, interleaved=self.interleaved)
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)

    def halves(self, x: Tensor, start: Start) -> tuple[Tensor, Tensor, bool]:
        """For x [..., T, D] cosines and sines [T, D/2], and whether pairs are (2i, 2i + 1)."""
        cos, sin = turns_of(x, start, self.base)
        half = cos.shape[-1] // 2
        return cos[..., half:], sin[..., half:], self.interleaved


class Unturned(nn.Module):
    """Queries and keys as they are, for models whose positions are added to the stream."""

    def forward(self, x: Tensor, start: Start, stay: int = 0) -> Tensor:  # noqa: ARG002 as Rotary
        """x [..., T, D] -> the same."""
        return x


class LearnedPositions(nn.Module):
    """A trained vector for each of `rows` positions (Radford et al. 2018).

    There is nothing beyond them.
    """

    def __init__(self, rows: int, width: int, std: float) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width)
        nn.init.normal_(self.table.weight, std=std)

    def forward(self, x: Tensor, start: Start) -> Tensor:
        """x [B, T, C] -> x plus its positions' vectors; ValueError past the last row."""
        end = int(positions(start, x.shape[-2]).max()) + 1
        rows = self.table.num_embeddings
        if end > rows:
            raise ValueError(
                f"position {end} is past max_positions={rows}: "
                f"learned positions do not extrapolate, at most {rows} tokens fit in one context"
            )
        if isinstance(start, int):
            return x + self.table.weight[start:end]
        return x + self.table(positions(start, x.shape[-2], x.device).clamp_min(0))


class SinusoidalPositions(nn.Module):
    """Add f sin(p 10000^(-2i/C)) at channel 2i and f times the cosine at 2i+1.

    Source: Vaswani et al. 2017, section 3.5, where f is 1.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, start: Start) -> Tensor:
        """x [B, T, C] -> x plus the sinusoids of its positions."""
        half = x.shape[-1] // 2
        cos, sin = (part[..., half:] for part in turns_of(x, start, 10_000.0))
        return x + self.factor * torch.stack((sin, cos), dim=-1).flatten(-2)


def turns_of(x: Tensor, start: Start, base: float) -> tuple[Tensor, Tensor]:
    """For x [..., T, D] from position `start` on: (cos, cos) and (-sin, sin) of its D/2 pairs.

    They are of its type and on its device, [T, D], or [B, T, D] for rows that start apart. Those of
    a start that all rows share are computed once and kept: of `LEAST` positions, or of the next
    power of two that holds the last of them.
    """
    count, width = x.shape[-2:]
    if not isinstance(start, int) or torch.compiler.is_compiling():
        cos, sin = signed(*turns(start, count, width, base))
        return cos.to(x), sin.to(x)
    rows = max(LEAST, 1 << (start + count - 1).bit_length())
    cos, sin = kept_turns(rows, width, base, x.dtype, x.device)
    return cos[start : start + count], sin[start : start + count]


def signed(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """[..., D/2] each -> what the two halves of a vector, and the halves swapped, are times."""
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


@lru_cache(maxsize=8)
def kept_turns(
    rows: int, width: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The turns of the first `rows` positions, as tensors that training may keep too."""
    with torch.inference_mode(False), torch.device("cpu"):
        cos, sin = signed(*turns(0, rows, width, base))
        return cos.to(device, dtype), sin.to(device, dtype)


def turns(start: Start, count: int, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position times base^(-2i/width), float64.

    Each is [count, width/2], or [B, count, width/2] for rows that start apart.
    """
    speed = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = positions(start, count, speed.device).double().unsqueeze(-1) * speed
    return angle.cos(), angle.sin()


def build_rotation(config: BackboneConfig) -> Rotary | Unturned:
    """What `config.positions` does to queries and keys."""
    return Rotary(config) if config.positions == "rope" else Unturned()
