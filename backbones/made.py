"""What is made of weights alone, made once for all tokens that are drawn with them.

A learned scale, or weights side by side: a pass over many positions makes them for next to nothing,
but a pass over one spends much of its time on them. Whoever draws tokens holds a `Made`; while it
is in use `once` finds in it what was made before. It does not notice when weights change, and
neither could it by torch's counters, which fused optimisers do not move: so it belongs to a
decoding, not to a model.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

T = TypeVar("T")

in_use: ContextVar[dict[nn.Module, Any] | None] = ContextVar("in_use", default=None)


@dataclass(frozen=True, slots=True)
class Made:
    """What modules have made of their weights, which do not change as long as this is used."""

    by_module: dict[nn.Module, Any] = field(default_factory=dict)

    @contextmanager
    def used(self) -> Generator[None]:
        """Inside, nothing is made twice; RuntimeError where gradients are wanted of it."""
        if torch.is_grad_enabled():
            raise RuntimeError("weights are made into others once only without gradients: no_grad")
        before = in_use.set(self.by_module)
        try:
            yield
        finally:
            in_use.reset(before)


def once(module: nn.Module, make: Callable[[], T]) -> T:
    """What `make` makes of that module's weights, a thing a module."""
    made = current()
    if made is None:
        return make()
    if module not in made:
        made[module] = make()
    return made[module]


def decoding() -> bool:
    """Whether what is made of weights now serves many tokens: then it may cost more to make."""
    return current() is not None


def current() -> dict[nn.Module, Any] | None:
    """What was made so far, where a `Made` is used; to ask would break a compiled graph in two."""
    return None if torch.compiler.is_compiling() else in_use.get()
