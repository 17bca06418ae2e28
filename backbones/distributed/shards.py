"""Tensors of which each process has some rows, as torch's fully_shard deals them.

Of n rows on N processes each has ceil(n / N) in a row, the last ones fewer or none.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..model import Block


def shard_(model: nn.Module, count: int) -> None:
    """Deal the model's rows out to `count` processes, in place: a group a block, one for the rest.

    All groups are given back after each pass, for what is kept whole is seen by nobody as a shard.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(model.parameters()).device.type, (count,))
    for module in blocks_of(model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model: what is put together, and compiled, at a time."""
    return [module for module in model.modules() if isinstance(module, Block)]


def is_shard(tensor: Tensor) -> bool:
    """Whether this process has some of its rows only."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor: its rows, or all of it."""
    return shard_of(tensor).to_local() if is_shard(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process must ask for a shard."""
    return shard_of(tensor).full_tensor() if is_shard(tensor) else tensor


@torch.no_grad()
def fill(target: Tensor, values: Tensor) -> None:
    """Copy all of a tensor's values into it, or those that this process has of it."""
    if is_shard(target):
        local(target).copy_(own_rows(target, values))
    else:
        target.copy_(values)


def like(target: Tensor, values: Tensor) -> Tensor:
    """A new tensor of all these values, dealt out as `target` is; each process gives all."""
    if not is_shard(target):
        return values.to(target.device)
    from torch.distributed.tensor import DTensor

    shard = shard_of(target)
    return DTensor.from_local(
        own_rows(target, values).to(local(target).device),
        shard.device_mesh,
        shard.placements,
        run_check=False,
        shape=shard.shape,
        stride=shard.stride(),
    )


def own_rows(target: Tensor, values: Tensor) -> Tensor:
    """Those of `values` that this process has of `target`, which is dealt out."""
    mesh = shard_of(target).device_mesh
    each = -(-len(values) // mesh.size())
    rows = values[mesh.get_local_rank() * each :][:each]
    assert rows.shape == local(target).shape
    return rows.clone()


def shard_of(tensor: Tensor) -> Any:
    """The tensor as torch's DTensor, whose module takes a second to import."""
    return tensor
