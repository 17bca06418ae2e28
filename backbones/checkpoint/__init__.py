"""Keep and restore a run to the last bit: safetensors and JSON, never pickle.

    checkpoints/LATEST                     the name of the newest complete checkpoint
    checkpoints/step-000500/
        model.safetensors                  the weights to use: the average where the run keeps one
        optimizer.safetensors              "<moment>/<parameter>", "raw/<parameter>" (the weights in
                                           training, where the average is kept too), "rng/torch"
        config.json                        what the run is: resuming another one is refused
        state.json                         step, loss scale, threads, versions, sha256 of the
                                           other files

A checkpoint is written beside its place, synced, and renamed: a reader sees all of it or none.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import CheckpointError
from ..optim import Together
from ..storage import replace_file, to_json, write_folder
from .files import (
    differences,
    latest,
    load_tensors,
    read_config,
    read_state,
    refuse_other_config,
    sealed,
)

__all__ = [
    "TrainingState",
    "differences",
    "latest",
    "load_weights",
    "read_config",
    "restore_checkpoint",
    "save_checkpoint",
    "trainable",
]


@dataclass(slots=True)
class TrainingState:
    """All that a step changes. `average` maps parameter names to their running average."""

    model: nn.Module
    optimizer: Together
    average: dict[str, Tensor] | None
    step: int = 0
    scale: float = 1.0  # of the loss, against underflow in float16
    steady: int = 0  # steps since that scale changed


def save_checkpoint(folder: Path, state: TrainingState, config: Mapping[str, Any]) -> Path:
    """Write `folder/step-N` and point LATEST at it; StorageError where the disk refuses."""
    weights, rest = weight_tensors(state), optimizer_tensors(state)
    files = {
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "optimizer.safetensors": save(rest),
        "config.json": to_json(config),
    }
    about = {
        "step": state.step,
        "scale": state.scale,
        "steady": state.steady,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    place = folder / f"step-{state.step:06d}"
    write_folder(place, files | {"state.json": sealed(about)})
    replace_file(folder / "LATEST", f"{place.name}\n".encode())
    return place


def restore_checkpoint(place: Path, state: TrainingState, config: Mapping[str, Any]) -> None:
    """Put a checkpoint into `state` and torch's generator; CheckpointError for another run's."""
    refuse_other_config(place, config)
    about = read_state(place)
    threads = torch.get_num_threads()
    if about["threads"] != threads:
        raise CheckpointError(
            f"{place} was made with {about['threads']} torch threads, this process has {threads}: "
            "sums would round differently, set the same number"
        )
    if about["torch"] != torch.__version__:
        raise CheckpointError(
            f"{place} was made with torch {about['torch']}, this is {torch.__version__}: the run "
            "would end differently, install that one or start a new run"
        )
    weights, rest = load_tensors(place, "model"), load_tensors(place, "optimizer")
    if state.average is not None:
        assign(
            place, state.average, {name: w for name, w in weights.items() if name in state.average}
        )
        weights |= take(rest, "raw/")
    assign(place, state.model.state_dict(), weights)
    for name, parameter in trainable(state.model).items():
        forms = state.optimizer.forms(parameter)
        moments = {kind: rest.pop(f"{kind}/{name}") for kind in forms if f"{kind}/{name}" in rest}
        refuse_other_moments(f"{place}: {{}} of {name}", moments, forms)
        state.optimizer.restore(parameter, moments)
    generator = rest.pop("rng/torch")
    if rest:
        raise CheckpointError(f"{place} holds {min(rest)!r}, which this model does not have")
    state.step, state.scale, state.steady = about["step"], about["scale"], about["steady"]
    torch.set_rng_state(generator)  # last: nothing after it may draw


def load_weights(place: Path, model: nn.Module) -> None:
    """Put a checkpoint's weights into `model`; CheckpointError where a name or shape differs."""
    assign(place, model.state_dict(), load_tensors(place, "model"))


def weight_tensors(state: TrainingState) -> dict[str, Tensor]:
    """The weights to use, buffers included: the average where there is one."""
    return state.model.state_dict() | (state.average or {})


def optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Everything else that the next step depends on."""
    tensors = {"rng/torch": torch.get_rng_state()}
    for name, parameter in trainable(state.model).items():
        moments = state.optimizer.moments(parameter)  # empty where no gradient has come yet
        tensors |= {f"{kind}/{name}": moment for kind, moment in moments.items()}
        if state.average is not None:
            tensors[f"raw/{name}"] = parameter.detach()
    return tensors


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors under a prefix and return them without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


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
        target.copy_(tensors[name])


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
