"""What a model's text is worth: nats a character, whatever its tokens and its link.

B windows   T context   V vocabulary
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses import Link, cross_entropy, fitted_temperature
from ..model import LanguageModel
from ..text.batches import every_window
from ..text.tokenizer import Tokenizer
from ..train import device_of

SCORED_AT_ONCE = 64  # windows; memory depends on it, results do not
FITTED_ON = 512  # windows, the last of the training part, to fit a temperature

Windows = tuple[Tensor, Tensor]  # inputs and targets, each [B, T]
Watch = Callable[[int], None]  # is told how many windows more have been read


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """The windows of a text that do not overlap, and how many characters their targets are."""

    windows: Windows
    characters: int

    @property
    def tokens(self) -> int:
        """How many tokens are predicted."""
        return self.windows[1].numel()


def held_out(text: str, tokenizer: Tokenizer, context: int) -> HeldOut:
    """All of `text` that fills windows; CorpusError where it fills none."""
    ids = tokenizer.encode(text)
    windows = every_window(ids, context)
    predicted = ids[1 : windows[0].numel() + 1]
    return HeldOut(windows=windows, characters=tokenizer.count_characters(predicted))


def loss_of(model: nn.Module, windows: Windows, link: Link) -> Tensor:
    """Mean nats a token over windows, where the model is."""
    inputs, targets = (side.to(device_of(model)) for side in windows)
    return cross_entropy(model(inputs), targets, link)


@torch.no_grad()
def mean_nats(
    model: LanguageModel, text: HeldOut, link: Link, on_windows: Watch | None = None
) -> float:
    """Mean nats a character, some windows at a time; the model should be in eval mode."""
    total = 0.0
    for windows in some_at_a_time(text.windows):
        total += loss_of(model, windows, link).item() * windows[0].numel()
        if on_windows:
            on_windows(len(windows[0]))
    return total / text.characters


@torch.no_grad()
def softmax_nats(
    model: LanguageModel, text: HeldOut, fitted_on: HeldOut, on_windows: Watch | None = None
) -> tuple[float, float]:
    """Mean nats a character under a softmax of logits / T, and the T that suits `fitted_on` best.

    Links differ in what they make of a logit; after one number is fitted, their logits compare.
    """
    last = tuple(side[-FITTED_ON:] for side in fitted_on.windows)
    logits = torch.cat([model(inputs).flatten(0, 1).float() for inputs in last[0].split(64)])
    temperature = fitted_temperature(logits, last[1].flatten())
    total = 0.0
    for inputs, targets in some_at_a_time(text.windows):
        logits = model(inputs).float() / temperature
        total += cross_entropy(logits, targets).item() * targets.numel()
        if on_windows:
            on_windows(len(inputs))
    return total / text.characters, temperature


def some_at_a_time(windows: Windows) -> list[Windows]:
    """The windows in parts of a size that fits in memory."""
    return list(zip(*(side.split(SCORED_AT_ONCE) for side in windows), strict=True))
