"""Keep and restore a run to the last bit: safetensors and JSON, never pickle.

    checkpoints/LATEST                     the name of the newest complete checkpoint
    checkpoints/step-000500/
        model.safetensors                  the weights to use: the average where the run keeps one
        optimizer.safetensors              "<moment>/<parameter>", "raw/<parameter>" (the weights in
                                           training, where the average is kept too), "rng/torch"
        config.json                        what the run is: resuming another one is refused
        state.json                         step, loss scale, threads, versions, sha256 of the
                                           other files

A run of several processes keeps "rng/torch/1" and so on too. Where each has a share of the rows,
each writes its own, as model-00001-of-00002.safetensors; any number of processes reads them.

A checkpoint is written beside its place, synced, and renamed: a reader sees all of it or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..distributed import ALONE, Ranks
from ..distributed.shards import like
from ..errors import CheckpointError
from ..optim import Together
from ..storage import replace_file
from .files import (
    PROCESSES,
    differences,
    latest,
    load_tensors,
    read_config,
    read_state,
    refuse_other_config,
)
from .fitting import assign, refuse_other_moments
from .generators import generators_of, set_generators
from .writing import write_checkpoint

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
    ranks: Ranks = ALONE


def save_checkpoint(folder: Path, state: TrainingState, config: Mapping[str, Any]) -> Path:
    """Write `folder/step-N` and point LATEST at it; StorageError where the disk refuses.

    All processes of a run call it; the first one, or each its own shard, writes.
    """
    tensors = {"model": weight_tensors(state), "optimizer": optimizer_tensors(state)}
    about = {
        "step": state.step,
        "scale": state.scale,
        "steady": state.steady,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if state.ranks.count > 1:
        about[PROCESSES] = state.ranks.count
    place = folder / f"step-{state.step:06d}"
    write_checkpoint(place, tensors, config, about, state.ranks)
    with state.ranks.together():
        if state.ranks.first:
            replace_file(folder / "LATEST", f"{place.name}\n".encode())
    return place


def restore_checkpoint(place: Path, state: TrainingState, config: Mapping[str, Any]) -> int:
    """Put a checkpoint into `state` and torch's generators; CheckpointError for another run's.

    Returns how many processes made it: as many or others may go on.
    """
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
        state.optimizer.restore(parameter, dealt(parameter, moments))
    generators = take(rest, "rng/")
    if rest:
        raise CheckpointError(f"{place} holds {min(rest)!r}, which this model does not have")
    state.step, state.scale, state.steady = about["step"], about["scale"], about["steady"]
    set_generators(generators, state.ranks)  # last: nothing after it may draw
    return about.get(PROCESSES, 1)


def load_weights(place: Path, model: nn.Module) -> None:
    """Put a checkpoint's weights into `model`; CheckpointError where a name or shape differs."""
    assign(place, model.state_dict(), load_tensors(place, "model"))


def weight_tensors(state: TrainingState) -> dict[str, Tensor]:
    """The weights to use, buffers included: the average where there is one."""
    return state.model.state_dict() | (state.average or {})


def optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Everything else that the next step depends on."""
    tensors = {f"rng/{name}": each for name, each in generators_of(state.ranks).items()}
    for name, parameter in trainable(state.model).items():
        moments = state.optimizer.moments(parameter)  # empty where no gradient has come yet
        tensors |= {f"{kind}/{name}": moment for kind, moment in moments.items()}
        if state.average is not None:
            tensors[f"raw/{name}"] = parameter.detach()
    return tensors


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def dealt(parameter: Tensor, moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Moments as the parameter is dealt out: those of its shape are, a count of steps is not."""
    return {
        kind: like(parameter, moment) if moment.shape == parameter.shape else moment
        for kind, moment in moments.items()
    }


def take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors under a prefix and return them without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
