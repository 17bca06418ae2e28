"""What a layer keeps of the past, and where the next positions stand.

Rows of a batch may be padded on the left: then each row counts from its own first token. And
positions may share a moment: then nobody goes by their order, and those of one moment see one
another.

B batch   T positions   S positions so far, padding included   C model width
"""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

Start = int | Tensor
"""Position of the first of T: one for all rows, or [B], negative where a row is still padding.

Where the caller has said when each of them is, all T of each row: [B, T].
"""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last inputs of a short convolution, and how many came before and with them."""

    inputs: Tensor  # [B, taps - 1, C]
    length: int


@dataclass(slots=True)
class Room:
    """Space for more positions than there are yet, so that a new one need not move the others."""

    space: tuple[Tensor, ...]  # positions on axis -2
    used: int

    @classmethod
    def of(cls, memory: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> Self:
        """Twice the space that memory and what is new need, with memory in it."""
        used = memory[0].shape[-2]
        rows = 2 * (used + new[0].shape[-2])
        space = tuple(x.new_empty(*x.shape[:-2], rows, x.shape[-1]) for x in memory)
        for all_of_it, x in zip(space, memory, strict=True):
            all_of_it[..., :used, :] = x
        return cls(space, used)

    def goes_on(self, memory: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> bool:
        """Whether memory is all that is in here, and the new positions fit behind it.

        It is not where two caches began as one: the first to go on has the space.
        """
        held, rows = memory[0], self.space[0].shape[-2]
        mine = held.data_ptr() == self.space[0].data_ptr() and held.shape[-2] == self.used
        return mine and self.used + new[0].shape[-2] <= rows

    def filled_up(self, new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Write what is new; a view of all that is in here."""
        begin = self.used
        self.used += new[0].shape[-2]
        for all_of_it, x in zip(self.space, new, strict=True):
            all_of_it.narrow(-2, begin, x.shape[-2]).copy_(x)
        return tuple(x.narrow(-2, 0, self.used) for x in self.space)


@dataclass(slots=True)
class LayerCache:
    """The past of one layer: what its projection rebuilds keys from, positions on axis -2.

    `running` is what its rule's mean goes on from, in float32 or wider: a running sum in bfloat16
    was wrong by a third after 4096 positions. `tails` are by the branch that reads them.
    """

    padding: Tensor | None = None  # [B]: how many positions on the left of each row are none
    moments: Tensor | None = None  # [B, S]: when each is, those that are about to come included
    memory: tuple[Tensor, ...] | None = None
    room: "Room | None" = None  # of which memory is a view, where it has been appended to
    running: Tensor | None = None
    tails: dict[str, Tail] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Positions seen so far, padding included."""
        return 0 if self.memory is None else self.memory[0].shape[-2]

    @property
    def start(self) -> Start:
        """Position of the next one; of all that are about to come where moments say it."""
        if self.moments is not None:
            return self.moments[:, self.length :]
        return self.length if self.padding is None else self.length - self.padding

    @property
    def order(self) -> Tensor | None:
        """[B, S] when each position so far is, negative for padding; None where its index says it.

        Never less than the one before.
        """
        if self.padding is None:
            return self.moments
        return positions(-self.padding, self.length)

    def expect(self, moments: Tensor | None) -> None:
        """Say when the next positions [B, T] are; ValueError for what cannot go on the past.

        They never go back, and begin after all that is known: what was said of a moment cannot
        take in what else belonged to it.
        """
        if moments is None:
            if self.moments is not None:
                raise ValueError("moments=None, but the past was told its moments: go on with them")
            return
        if self.padding is not None or (self.length and self.moments is None):
            raise ValueError("moments were given to a past that goes by index: give it new caches")
        known = moments if self.moments is None else torch.cat((self.moments, moments), dim=-1)
        if (known.diff(dim=-1) < 0).any():
            raise ValueError("moments go back: sort positions by moment, padding (-1) first")
        before = known[:, : self.length]
        if self.length and ((before[:, -1] == moments[:, 0]) & (moments[:, 0] >= 0)).any():
            raise ValueError("a moment goes on after its past was read: feed it whole")
        self.moments = known

    def remember(self, new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Append along the position axis and return all of it."""
        if self.memory is None:
            self.memory = new
        elif torch.is_grad_enabled():
            pairs = zip(self.memory, new, strict=True)
            self.memory = tuple(torch.cat(pair, dim=-2) for pair in pairs)
        else:
            if self.room is None or not self.room.goes_on(self.memory, new):
                self.room = Room.of(self.memory, new)
            self.memory = self.room.filled_up(new)
        return self.memory

    def with_tail(self, branch: str, x: Tensor, count: int) -> Tensor:
        """x [B, T, C] after the `count` inputs before it, zeros where there were none.

        Padding counts as zeros too. -> [B, count + T, C]; the last `count` are kept.
        """
        if self.moments is not None:
            raise ValueError("a short convolution goes by index: set short_conv=None for moments")
        tail, t = self.tails.get(branch), x.shape[1]
        length = 0 if tail is None else tail.length
        if self.padding is not None:
            real = positions(length - self.padding, t, x.device) >= 0
            x = x.masked_fill(~real.unsqueeze(-1), 0.0)
        before = x.new_zeros(len(x), count, x.shape[-1]) if tail is None else tail.inputs
        known = torch.cat((before, x), dim=1)
        self.tails[branch] = Tail(known[:, t:], length + t)
        return known


def positions(start: Start, count: int, device: torch.device | None = None) -> Tensor:
    """`count` positions from `start`: [count], or [B, count]."""
    if isinstance(start, int):
        return torch.arange(start, start + count, device=device)
    if start.ndim == 2:
        return start.to(device)
    return start.to(device).unsqueeze(-1) + torch.arange(count, device=device)
