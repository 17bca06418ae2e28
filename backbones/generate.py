"""Draw tokens one after another, each from the model's distribution given those before.

B batch   T positions   V vocabulary
"""

from collections.abc import Iterator, Sequence

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .config import Record
from .losses import Link, log_scores
from .made import Made
from .model import LanguageModel
from .past import LayerCache


class Sampling(Record):
    """How the next token is drawn."""

    link: Link = "softmax"  # what the model was trained with: it makes logits probabilities
    temperature: NonNegativeFloat = 1.0  # divides the link's log scores; 0: the likeliest token
    top_k: PositiveInt | None = None  # draw among the k likeliest
    seed: NonNegativeInt = 0
    window: PositiveInt | None = None  # most positions to look back on; None: what the model can


def generate(
    model: LanguageModel,
    ids: Tensor,
    count: int,
    sampling: Sampling,
    padding: Tensor | None = None,
) -> Tensor:
    """Prompt ids [B, T], T >= 1, -> [B, T + count]: the prompt and the tokens of `stream`."""
    return torch.cat((ids, *stream(model, ids, count, sampling, padding)), dim=-1)


@torch.no_grad()
def stream(
    model: LanguageModel,
    ids: Tensor,
    count: int,
    sampling: Sampling,
    padding: Tensor | None = None,
) -> Iterator[Tensor]:
    """`count` tokens more than ids [B, T], T >= 1, each [B, 1], as soon as it is drawn.

    The model should be in eval mode, and its weights stay as they are until the last token: what is
    made of them alone is made once.

    Shorter prompts are padded on the left, `padding` [B] says by how much (see `left_padded`): each
    row is continued as if it were alone, though of the draws of one seed.

    The past is cached. When the window is full it is left, and its later half is encoded anew as
    the start of the next one: one full pass every half window, and a look back of half a window or
    more.
    """
    if ids.shape[-1] == 0:
        raise ValueError("the prompt is empty: at least one token is wanted")
    window = window_of(model, sampling)
    draw = torch.Generator().manual_seed(sampling.seed)
    starts = [0] * len(ids) if padding is None else starts_of(padding, ids)
    caches, new = opened(model, ids, starts)
    made = Made()
    for _ in range(count):
        end = ids.shape[-1]
        if window is not None and any(end - start > window for start in starts):
            kept = max(1, window // 2)
            starts = [end - kept if end - start > window else start for start in starts]
            caches, new = opened(model, ids, starts)
        with torch.inference_mode(), made.used():
            new = next_token(model(new, caches)[:, -1], sampling, draw)
        new = new.clone()  # it may be trained on, which nothing of inference mode may
        ids = torch.cat((ids, new), dim=-1)
        yield new


def left_padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Prompts [T_b] of any lengths -> ids [B, T] and the padding [B] that `generate` takes."""
    longest = max(len(prompt) for prompt in prompts)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts])
    rows = [F.pad(p, (n, 0)) for p, n in zip(prompts, padding.tolist(), strict=True)]
    return torch.stack(rows), padding


def starts_of(padding: Tensor, ids: Tensor) -> list[int]:
    """Where each row's prompt begins; ValueError unless each has a token."""
    starts = padding.tolist()
    if len(starts) != len(ids) or min(starts) < 0 or max(starts) >= ids.shape[-1]:
        raise ValueError(
            f"padding={starts} is not of prompts of shape {list(ids.shape)}: a number a row is "
            "wanted, which leaves at least one token"
        )
    return starts


def opened(model: LanguageModel, ids: Tensor, starts: list[int]) -> tuple[list[LayerCache], Tensor]:
    """New caches, and what they are first to read: each row from where its context starts."""
    first = min(starts)
    apart = torch.tensor(starts, device=ids.device) - first if max(starts) > first else None
    return model.new_caches(apart), ids[:, first:]


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
