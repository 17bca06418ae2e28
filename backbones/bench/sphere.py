"""When and how nGPT's weights are brought back to length one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..embedding import Head, Table
from ..layers import Linear, unit
from ..losses import cross_entropy
from ..model import LanguageModel
from ..sphere import normalize_weights_
from .cases import Case, Check, Scale, Way
from .models import model_config, random_batch, training_way


def normalisation_cases(scale: Scale) -> list[Case]:
    """All weights once; a pass forward and back with its share of it; a whole step."""
    equal = Check(of="outputs", limit=1e-4)
    return [
        Case(label="all weights once", build=lambda: one_call(scale), check=equal),
        Case(label="forward and back", build=lambda: around_a_pass(scale), check=equal),
        Case(
            label="training step",
            build=lambda: around_a_step(scale),
            check=Check(of="parameters"),
        ),
    ]


def directions(model: nn.Module) -> dict[str, int]:
    """The names of weights that hold directions, and the axis along which those lie."""
    axes: dict[str, int] = {}
    for name, module in model.named_modules():
        match module:
            case Linear(sphere="out"):
                axes[f"{name}.weight"] = 0
            case Linear(sphere="in") | Table(sphere=True):
                axes[f"{name}.weight"] = 1
            case Head(sphere=True) if module.weight is not None:
                axes[f"{name}.weight"] = 1
            case _:
                pass
    return axes


def one_call(scale: Scale) -> list[Way]:
    """A matrix at a time, as `sphere` has it, and those of one shape and axis together."""
    models = [LanguageModel(model_config("ngpt", scale)) for _ in range(2)]
    axes = directions(models[0])
    with torch.no_grad():
        for name, parameter in models[0].named_parameters():
            parameter.add_(torch.randn_like(parameter) if name in axes else 0.0)
    models[1].load_state_dict(models[0].state_dict())
    weights = [[model.get_parameter(name) for name in axes] for model in models]
    groups: dict[tuple[torch.Size, int], list[Tensor]] = {}
    for name, axis in axes.items():
        parameter = models[1].get_parameter(name)
        groups.setdefault((parameter.shape, axis), []).append(parameter)

    def one_by_one() -> list[nn.Parameter]:
        normalize_weights_(models[0])
        return weights[0]

    @torch.no_grad()
    def together() -> list[nn.Parameter]:
        for (_, axis), matrices in groups.items():
            for matrix, new in zip(matrices, unit(torch.stack(matrices), axis + 1), strict=True):
                matrix.copy_(new)
        return weights[1]

    return [
        Way(name="a matrix at a time", run=one_by_one),
        Way(name="those of a shape together", run=together),
    ]


def around_a_pass(scale: Scale) -> list[Way]:
    """Weights normalised after the pass, or, as a parametrisation, inside it.

    From unit weights the losses are equal; the parametrised gradient is the other one without its
    part along each direction, which is taken off before they are compared.
    """
    model = LanguageModel(model_config("ngpt", scale))
    batch = random_batch(scale.vocab_size, scale.batch, scale.context)
    parameters, axes = dict(model.named_parameters()), directions(model)

    def passed(weights: dict[str, Tensor]) -> list[Tensor]:
        loss = cross_entropy(functional_call(model, weights, (batch[0],)), batch[1])
        return [loss, *torch.autograd.grad(loss, list(parameters.values()))]

    def after() -> list[Tensor]:
        results = passed(dict(parameters))
        normalize_weights_(model)
        return results

    def inside() -> list[Tensor]:
        return passed({n: unit(p, axes[n]) if n in axes else p for n, p in parameters.items()})

    def tangent(results: Sequence[Tensor]) -> list[Tensor]:
        loss, *slopes = results
        across = [loss]
        for (name, parameter), slope in zip(parameters.items(), slopes, strict=True):
            along = axes.get(name)
            w = parameter.detach()
            off = 0 if along is None else w * (slope * w).sum(along, keepdim=True)
            across.append(slope - off)
        return across

    return [
        Way(name="after the pass", run=after, view=tangent),
        Way(name="inside the pass", run=inside),
    ]


def around_a_step(scale: Scale) -> list[Way]:
    """What normalising after every step adds to it."""
    config = model_config("ngpt", scale)
    return [
        training_way("with", config, scale),
        training_way("without", config, scale, renormalized=False),
    ]
