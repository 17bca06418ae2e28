"""How a process finds out that torchrun started it, and joins the others."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist

from ..errors import RankError, UsageError
from . import CPU, DeviceKind, Means, Ranks, Strategy

SPREAD = ("ddp", "fsdp")
# What gloo and NCCL say, in errors of no type of their own, when a peer is no longer there.
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "NCCL")


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun started together; 0 where it started none."""
    return int(environment["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in environment else 0


def rank_here(environment: Mapping[str, str] = os.environ) -> int:
    """Which of torchrun's processes this is; 0 too where it is none of them."""
    return int(environment["RANK"]) if started_by_torchrun(environment) else 0


@contextmanager
def joined(
    strategy: Strategy | None,
    device: DeviceKind = "cpu",
    *,
    compiled: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Generator[Ranks]:
    """The processes of this run, as long as it lasts: alone, or those that torchrun started.

    On CUDA each has the device of its number on the machine. UsageError where the strategy and the
    way this process was started do not fit, or there is no such device; RankError where another
    process is gone.
    """
    count = started_by_torchrun()
    refuse_misfit(strategy, count)
    means = Means(device=device_here(device), compiled=compiled, tell=tell)
    if strategy not in SPREAD:
        yield Ranks(means=means)
        return
    dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    with lost_ranks_named():
        yield Ranks(strategy, rank=dist.get_rank(), count=dist.get_world_size(), means=means)
        dist.barrier()  # nobody hangs up on one that still talks
    dist.destroy_process_group()  # after a failure it could wait for one that is gone


def device_here(kind: DeviceKind) -> torch.device:
    """Where this process computes; UsageError where there is no such device."""
    if kind == "cpu":
        return CPU
    own, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if own >= found:
        raise UsageError(
            f"--device cuda: torch {torch.__version__} finds {found} CUDA devices, process {own} "
            "of this machine wants one of its own: fewer processes or --device cpu are wanted"
        )
    torch.cuda.set_device(own)
    # Some sums along time have no fixed order there: torch warns of each, and goes on.
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda", own)


def refuse_misfit(strategy: Strategy | None, count: int) -> None:
    """UsageError, in the first process alone, where a strategy wants another start."""
    if strategy in SPREAD and not count:
        raise UsageError(
            f"--strategy {strategy} is of several processes, this is one: "
            "torchrun --nproc-per-node 2 -m backbones train ... starts them"
        )
    if strategy not in SPREAD and count > 1:
        if rank_here():
            raise RankError("the first process says why")
        found = "--strategy is missing" if strategy is None else f"--strategy {strategy}"
        raise UsageError(
            f"torchrun started {count} processes, and {found}: each would train all of it, "
            "--strategy ddp or fsdp is wanted"
        )


@contextmanager
def lost_ranks_named() -> Generator[None]:
    """Errors that say that another process is gone, as RankError."""
    try:
        yield
    except RuntimeError as error:
        found = [words for words in LOST if words in str(error)]
        if isinstance(error, dist.DistError):
            found.append(type(error).__name__)
        if not found:
            raise
        raise RankError(
            f"another process of the run is gone ({found[0]}): "
            "the newest checkpoint stands, go on from it with --resume"
        ) from error
