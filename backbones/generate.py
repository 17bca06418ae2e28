"""Draw tokens one after another, each from the model's distribution given those before.

B batch   T positions   V vocabulary
"""

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from .config import Record
from .model import LanguageModel


class Sampling(Record):
    """How the next token is drawn."""

    temperature: NonNegativeFloat = 1.0  # 0: the likeliest token
    top_k: PositiveInt | None = None  # draw among the k likeliest
    seed: NonNegativeInt = 0
    window: PositiveInt | None = None  # most positions to look back on; None: what the model can


@torch.no_grad()
def generate(model: LanguageModel, ids: Tensor, count: int, sampling: Sampling) -> Tensor:
    """Prompt ids [B, T], T >= 1, -> [B, T + count]. The model should be in eval mode.

    The past is cached. When the window is full it is left, and its later half is encoded anew as
    the start of the next one: one full pass every half window, and a look back of half a window or
    more.
    """
    if ids.shape[-1] == 0:
        raise ValueError("the prompt is empty: at least one token is wanted")
    window = window_of(model, sampling)
    draw = torch.Generator().manual_seed(sampling.seed)
    caches, new = model.new_caches(), ids
    for _ in range(count):
        if window is not None and caches[0].length + new.shape[-1] > window:
            caches, new = model.new_caches(), ids[:, -max(1, window // 2) :]
        new = next_token(model(new, caches)[:, -1], sampling, draw)
        ids = torch.cat((ids, new), dim=-1)
    return ids


def window_of(model: LanguageModel, sampling: Sampling) -> int | None:
    """The most positions in one context; ValueError for more than a table of positions holds."""
    limit = model.config.max_positions
    if limit is not None and sampling.window is not None and sampling.window > limit:
        raise ValueError(f"window={sampling.window} is above max_positions={limit} of the model")
    return limit if sampling.window is None else sampling.window


def next_token(logits: Tensor, sampling: Sampling, draw: torch.Generator) -> Tensor:
    """Logits [B, V] -> a token each, [B, 1]."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=draw)
