"""What a trained language model looks at in a prompt: its attention maps, token by token."""

from dataclasses import dataclass

import torch

from ..errors import UsageError
from ..maps import LayerMaps, recorded
from ..train import computing, device_of
from .opened import LanguageRun

MOST_TOKENS = 256  # of a prompt: a map has as many rows


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptMaps:
    """The tokens of a prompt as text, T of them, and each layer's maps [1, H, T, T]."""

    tokens: tuple[str, ...]
    layers: tuple[LayerMaps, ...]


def prompt_maps(run: LanguageRun, prompt: str) -> PromptMaps:
    """One pass over the prompt; UsageError for an empty one or one that the run cannot read."""
    if not prompt:
        raise UsageError("--prompt is empty: a character is wanted")
    ids = run.tokenizer.encode(prompt)
    most = min(run.plan.context, MOST_TOKENS)
    if len(ids) > most:
        raise UsageError(f"--prompt has {len(ids)} tokens: at most {most} are drawn, shorten it")
    with (
        torch.no_grad(),
        computing(run.plan.train.precision, device_of(run.model)),
        recorded(run.model) as layers,
    ):
        run.model(ids.unsqueeze(0).to(device_of(run.model)))
    tokens = tuple(run.tokenizer.decode(each.unsqueeze(0)) for each in ids)
    return PromptMaps(tokens=tokens, layers=tuple(layers))
