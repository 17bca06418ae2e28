"""Muon: its orthogonal matrices, three ways to multiply; its step, and that of torch's."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from ..layers import Linear
from ..model import LanguageModel
from ..optim.muon import Muon, newton_schulz, orthogonal
from .cases import Case, Check, Scale, Way
from .models import model_config

SAME = Check(of="outputs", limit=1e-4)
UNLIKE = Check(of="nothing")


def muon_cases(scale: Scale) -> list[Case]:
    """Slopes of all linear maps of `llama`, at the first shape of `peers` and at the last."""
    shapes = scale.shapes()
    matrices = [
        Case(label=each.shape, build=lambda each=each: muon_ways(each), check=SAME)
        for each in (shapes[0], shapes[-1])
    ]
    steps = [
        Case(label=f"step, {each.shape}", build=lambda each=each: step_ways(each), check=UNLIKE)
        for each in (shapes[0], shapes[-1])
    ]
    return matrices + steps


def hidden(scale: Scale) -> list[Parameter]:
    """The matrices of all linear maps of `llama`."""
    model = LanguageModel(model_config("llama", scale))
    return [module.weight for module in model.modules() if isinstance(module, Linear)]


def step_ways(scale: Scale) -> list[Way]:
    """A step of torch's Muon, in bfloat16, and of ours, so and in float32: one method."""
    narrow = partial(Muon, narrow=torch.bfloat16)
    ways = []
    for name, build, apart in (
        ("torch.optim.Muon", torch.optim.Muon, False),
        ("ours, bfloat16", narrow, False),
        ("ours, bfloat16, a group a matrix", narrow, True),  # shapes meet within a group only
        ("ours, float32", Muon, False),
    ):
        weights = hidden(scale)
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        parts = [[weight] for weight in weights] if apart else [weights]
        groups = [{"params": part, "weight_decay": 0.0} for part in parts]
        ways.append(Way(name=name, run=stepping(build(groups, lr=1e-6, momentum=0.95))))
    return ways


def stepping(optimizer: Optimizer) -> Callable[[], list[Tensor]]:
    """One step a call."""

    def run() -> list[Tensor]:
        optimizer.step()
        return []

    return run


def muon_ways(scale: Scale) -> list[Way]:
    """Made-up slopes, stacked by shape: [n, R, C] each."""
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for weight in hidden(scale):
        by_shape.setdefault(weight.shape, []).append(torch.randn(weight.shape))
    stacks = [torch.stack(slopes) for slopes in by_shape.values()]

    def way(name: str, each: Callable[[Tensor], Tensor]) -> Way:
        return Way(name=name, run=lambda: [each(stack) for stack in stacks])

    return [
        way("a matrix at a time", lambda s: torch.stack([by_torch(x) for x in s])),
        way("all of a shape", by_torch),
        way("ours", orthogonal),
    ]


def by_torch(x: Tensor) -> Tensor:
    """[..., R, C] by torch's own products."""
    tall = x.shape[-2] > x.shape[-1]
    wide = x.mT if tall else x
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True)
    found = newton_schulz(wide, lambda one, other: one @ other.mT)
    return found.mT if tall else found
