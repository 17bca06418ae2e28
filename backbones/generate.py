"""Draw tokens one after another, each from the model's distribution given those before.

B batch   T positions   V vocabulary
"""

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from .config import Record
from .losses import Link, log_scores
from .model import LanguageModel


class Sampling(Record):
    """How the next token is drawn."""

    link: Link = "softmax"  # what the model was trained with: it makes logits probabilities
    temperature: NonNegativeFloat = 1.0  # divides the link's log scores; 0: the likeliest token
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
    """Logits [B, V] -> a token each, [B, 1].

    The largest logit is not always the likeliest token (Taylor), the largest log score is.
    """
    scores = log_scores(logits, sampling.link)
    if sampling.temperature == 0:
        return scores.argmax(dim=-1, keepdim=True)
    scores = scores / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    return torch.multinomial(scores.softmax(dim=-1), 1, generator=draw)
