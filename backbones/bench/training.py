"""What variants cost: whole steps of training, a feed-forward branch, precisions."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..by_hand import plainly
from ..config import BackboneConfig
from ..ffn import build_ffn
from ..presets import PRESETS
from .cases import Case, Check, Scale, Way
from .models import RECIPE, count, model_config, training_way

SAME_SIZE = Check(of="parameters", limit=0.02)
KINDS = ("llama", "diff_v1", "diff_v2", "dint_v1", "ngpt", "ngpt_simple", "mla")


def step_cases(scale: Scale) -> list[Case]:
    """Every preset against `llama` at the first shape, one of each kind at the others."""
    every = ("llama", *(name for name in PRESETS if name != "llama"))

    def build(each: Scale, names: Sequence[str]) -> list[Way]:
        return [training_way(name, model_config(name, each), each) for name in names]

    return [
        Case(
            label=each.shape,
            build=lambda each=each, names=names: build(each, names),
            check=Check(of="nothing"),
        )
        for each, names in zip(scale.shapes(), (every, KINDS, KINDS, KINDS), strict=False)
    ]


def simple_cases(scale: Scale) -> list[Case]:
    """nGPT with all its learned scales, and without most of them."""

    def build() -> list[Way]:
        names = ("ngpt", "ngpt_simple")
        return [training_way(name, model_config(name, scale), scale) for name in names]

    return [Case(label="training step", build=build, check=SAME_SIZE)]


def precision_cases(scale: Scale) -> list[Case]:
    """One model in float32 and under autocast; their first losses and gradient norms are near."""

    def build() -> list[Way]:
        config = model_config("llama", scale)
        return [
            training_way(kind, config, scale, RECIPE.replace(precision=kind))
            for kind in ("fp32", "bf16-mixed")
        ]

    return [Case(label="training step", build=build, check=Check(of="outputs", limit=0.03))]


def ffn_cases(scale: Scale) -> list[Case]:
    """A SwiGLU and one between narrow ends, as many parameters each, forward and back."""

    def build() -> list[Way]:
        x = torch.randn(scale.batch, scale.context, scale.d_model, requires_grad=True)
        slope = torch.randn_like(x)
        return [
            ffn_way("full", model_config("llama", scale), x, slope),
            ffn_way("low rank", model_config("swiglu_low_rank", scale), x, slope),
        ]

    return [Case(label="forward and back", build=build, check=SAME_SIZE)]


def ffn_way(name: str, config: BackboneConfig, x: Tensor, slope: Tensor) -> Way:
    """The branch's output, and the slopes of a fixed sum by its input and parameters."""
    ffn = build_ffn(config)

    def run() -> list[Tensor]:
        out = ffn(x)
        return [out, *torch.autograd.grad(out, [x, *ffn.parameters()], slope)]

    return Way(name=name, run=run, parameters=count(ffn))


def by_hand_cases(scale: Scale) -> list[Case]:
    """`llama` at each shape, its derivatives taken by torch and by hand."""

    def build(scale: Scale) -> list[Way]:
        config = model_config("llama", scale)
        plain = training_way("by torch", config, scale)

        def run() -> Sequence[Tensor]:
            with plainly():
                return plain.run()

        return [replace(plain, run=run), training_way("by hand", config, scale)]

    same = Check(of="outputs", limit=1e-4)
    return [
        Case(label=each.shape, build=lambda each=each: build(each), check=same)
        for each in scale.shapes()
    ]
