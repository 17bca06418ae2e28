"""Whether the tensors of a checkpoint are those of a model, and how they get into it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..distributed.shards import fill
from ..errors import CheckpointError


@torch.no_grad()
def assign(place: Path, targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy each tensor into the target of its name.

    The names, shapes and types must be the same.
    """
    if targets.keys() != tensors.keys():
        odd = min(targets.keys() ^ tensors.keys())
        where = "the model" if odd in targets else "the checkpoint"
        raise CheckpointError(f"{place}: only {where} has a tensor {odd!r}")
    for name, target in targets.items():
        refuse_other_form(f"{place}: {name}", tensors[name], target)
        fill(target, tensors[name])


def refuse_other_moments(
    subject: str, moments: Mapping[str, Tensor], forms: Mapping[str, Tensor]
) -> None:
    """CheckpointError unless all moments are there, or none, each of its form's shape and type.

    torch's own `load_state_dict` checks neither shape nor type.
    """
    for kind, form in forms.items() if moments else ():
        if kind not in moments:
            raise CheckpointError(f"{subject.format(kind)} is missing, {sorted(moments)} are there")
        refuse_other_form(subject.format(kind), moments[kind], form)


def refuse_other_form(subject: str, found: Tensor, wanted: Tensor) -> None:
    """CheckpointError unless shape and type agree."""
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise CheckpointError(
            f"{subject} is {list(found.shape)} {found.dtype}, "
            f"{list(wanted.shape)} {wanted.dtype} is wanted"
        )
