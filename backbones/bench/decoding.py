"""Sampling with the past cached, and with all of it read again for every token, by preset."""

import torch
from torch import Tensor

from ..generate import Sampling, generate, next_token
from ..model import LanguageModel
from ..presets import PRESETS
from .cases import Case, Check, Scale, Way
from .models import count, model_config

EQUAL = Check(of="outputs")
LARGER = ("llama", "llama_gqa", "diff_v2", "dint_v1", "ngpt", "mla")


def sampling_cases(scale: Scale) -> list[Case]:
    """`llama`, a few tokens."""
    return [
        Case(
            label=f"{scale.written} tokens",
            build=lambda: sampling_ways("llama", scale, scale.written),
            check=EQUAL,
        )
    ]


def decoding_cases(scale: Scale) -> list[Case]:
    """Every preset, and some of them at the last shape of `peers`, until the context is full."""
    last = scale.shapes()[-1]
    asked = [(name, scale) for name in PRESETS] + [(name, last) for name in LARGER]
    return [
        Case(
            label=f"{name}, {size.n_layers} x {size.d_model}, {scale.decoded} tokens",
            build=lambda name=name, size=size: sampling_ways(name, size, scale.decoded),
            check=EQUAL,
        )
        for name, size in asked
    ]


def sampling_ways(name: str, scale: Scale, tokens: int) -> list[Way]:
    """Tokens after one, of one draw."""
    config = model_config(name, scale)
    if config.max_positions is not None:
        config = config.replace(max_positions=max(config.max_positions, tokens + 1))
    model = LanguageModel(config).eval()
    prompt, how = torch.zeros(1, 1, dtype=torch.long), Sampling(seed=0)
    size = count(model)
    return [
        Way(
            name="cached",
            run=lambda: [generate(model, prompt, tokens, how)],
            parameters=size,
        ),
        Way(
            name="uncached",
            run=lambda: [uncached(model, prompt, tokens, how)],
            parameters=size,
        ),
    ]


@torch.inference_mode()
def uncached(model: LanguageModel, ids: Tensor, tokens: int, how: Sampling) -> Tensor:
    """Ids [B, T] -> [B, T + tokens], each after a pass over all before it."""
    draw = torch.Generator().manual_seed(how.seed)
    for _ in range(tokens):
        ids = torch.cat((ids, next_token(model(ids)[:, -1], how, draw)), dim=-1)
    return ids
