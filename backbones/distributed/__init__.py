"""Several processes that train one model: who they are, what they tell each other, who is first.

"ddp": each process has the whole model and a share of every batch, gradients are averaged (Li et
al. 2020, PyTorch Distributed). "fsdp": each keeps a share of the rows of every tensor too, and
blocks are put together when they are computed (Zhao et al. 2023; torch's fully_shard). Nothing of
it is pickled: what is told is numbers and text.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import RankError
from .shards import blocks_of, shard_

__all__ = ["ALONE", "CPU", "DeviceKind", "Means", "Ranks", "Strategy"]

Strategy = Literal["single", "ddp", "fsdp"]
DeviceKind = Literal["cpu", "cuda"]
T = TypeVar("T")
CPU = torch.device("cpu")
LONGEST_TEXT = 4096  # bytes of what `same` tells


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a process computes with, and how it tells of it (the first one of a run alone)."""

    device: torch.device = CPU
    compiled: bool = False  # blocks through torch.compile, which takes up to minutes at first
    tell: Callable[[str], None] = lambda _: None


class Ranks:
    """The processes of a run: this one is `rank` of `count`. Alone, it costs and changes nothing.

    All of them must make the same calls in the same order, but for `first`, `tell` and `quiet`.
    """

    def __init__(
        self,
        strategy: Strategy = "single",
        *,
        rank: int = 0,
        count: int = 1,
        means: Means | None = None,
    ) -> None:
        self.strategy: Strategy = strategy
        self.rank, self.count, self.means = rank, count, means or Means()
        self._replica: DistributedDataParallel | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that prints, and writes the run's folder."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether a process has rows of each tensor only."""
        return self.strategy == "fsdp"

    def tell(self, text: str) -> None:
        """A line of progress, in the first process."""
        if self.first:
            self.means.tell(text)

    def __str__(self) -> str:
        device, how = self.means.device, ", compiled blocks" if self.means.compiled else ""
        if self.strategy == "single":
            return f"{device}{how}"
        backend = "nccl" if device.type == "cuda" else "gloo"
        return f"{self.strategy} of {self.count} processes over {backend} on {device.type}{how}"

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call in training instead of the model, which must have its final type and place.

        Under "ddp" all get the first one's weights; under "fsdp" the model itself is sharded, in
        place.
        """
        for block in blocks_of(model) if self.means.compiled else ():
            block.compile()
        match self.strategy:
            case "single":
                return model
            case "ddp":
                self._replica = DistributedDataParallel(model, gradient_as_bucket_view=True)
                return self._replica
            case "fsdp":
                shard_(model, self.count)
                return model

    def quiet(self, on: bool = True) -> AbstractContextManager[None]:
        """Where `on`, the gradients of replicas only add up here: a later backward averages them.

        Shards are averaged in each backward pass: whole gradients would not fit.
        """
        return self._replica.no_sync() if on and self._replica is not None else nullcontext()

    def mean(self, value: float) -> float:
        """The mean of each process' value."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(told)
        return told.item() / self.count

    def seed(self, seed: int) -> int:
        """Of this process' own draws: the first one's is `seed` itself."""
        if self.first:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)[0])

    def all_of(self, numbers: Tensor) -> list[Tensor]:
        """The tensor of every process, of one shape and type on the CPU, in order."""
        if self.count == 1:
            return [numbers]
        told = [torch.empty_like(numbers) for _ in range(self.count)]
        dist.all_gather(told, numbers)
        return told

    def same(self, text: str) -> str:
        """The first process' text, of up to LONGEST_TEXT bytes; ValueError for a longer one."""
        if self.count == 1:
            return text
        data = text.encode()
        if len(data) > LONGEST_TEXT:
            raise ValueError(f"a text of {len(data)} bytes: at most {LONGEST_TEXT} are wanted")
        told = torch.zeros(LONGEST_TEXT + 1, dtype=torch.int32)
        told[: len(data)] = torch.tensor(list(data), dtype=torch.int32)
        dist.broadcast(told, src=0)
        return bytes(told[: int(told.count_nonzero())].tolist()).decode()

    @contextmanager
    def together(self) -> Generator[None]:
        """What is inside fails for all where it fails for one: RankError where it was another.

        It must not wait for another process itself.
        """
        try:
            yield
        except Exception:  # an interrupted process waits for nobody
            self._any(True)
            raise
        if self._any(False):
            raise RankError("another process of the run failed: its own message says why")

    def first_then_rest(self, do: Callable[[], T]) -> T:
        """`do()` in the first process, then, when it is done there, in the others.

        What it raises in the first is raised there alone: the others raise RankError.
        """
        if self.count == 1:
            return do()
        with self.together():
            made = [do()] if self.first else []
        with self.together():
            if not made:
                made.append(do())
        return made[0]

    def _any(self, failed: bool) -> bool:
        """Whether any process says so."""
        if self.count == 1:
            return False
        return any(flag.item() for flag in self.all_of(torch.tensor(int(failed))))


ALONE = Ranks()
