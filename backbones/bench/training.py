"""What variants cost: whole steps of training, a feed-forward branch, precisions, sampling."""

import torch
from torch import Tensor

from ..config import BackboneConfig
from ..ffn import build_ffn
from ..generate import Sampling, generate, next_token
from ..model import LanguageModel
from ..presets import PRESETS
from .cases import Case, Check, Scale, Way
from .models import RECIPE, count, model_config, training_way

SAME_SIZE = Check(of="parameters", limit=0.02)


def step_cases(scale: Scale) -> list[Case]:
    """Every preset against `llama`, at one width."""

    def build() -> list[Way]:
        names = ["llama", *(name for name in PRESETS if name != "llama")]
        return [training_way(name, model_config(name, scale), scale) for name in names]

    return [Case(label="training step", build=build, check=Check(of="nothing"))]


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


def sampling_cases(scale: Scale) -> list[Case]:
    """The same tokens, written with the past cached and with all of it read again each time."""

    def build() -> list[Way]:
        model = LanguageModel(model_config("llama", scale)).eval()
        prompt, how = torch.zeros(1, 1, dtype=torch.long), Sampling(seed=0)
        return [
            Way(name="cached", run=lambda: [generate(model, prompt, scale.written, how)]),
            Way(name="uncached", run=lambda: [uncached(model, prompt, scale.written, how)]),
        ]

    label = f"{scale.written} tokens"
    return [Case(label=label, build=build, check=Check(of="outputs"))]


@torch.no_grad()
def uncached(model: LanguageModel, ids: Tensor, tokens: int, how: Sampling) -> Tensor:
    """Ids [B, T] -> [B, T + tokens], each after a pass over all before it."""
    draw = torch.Generator().manual_seed(how.seed)
    for _ in range(tokens):
        ids = torch.cat((ids, next_token(model(ids)[:, -1], how, draw)), dim=-1)
    return ids
