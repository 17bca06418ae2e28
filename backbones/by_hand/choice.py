"""Where derivatives written by hand are used, and that they are taken once."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import torch
from torch import Tensor

TYPES = {torch.float32, torch.float64}
wanted: ContextVar[bool] = ContextVar("wanted", default=True)


def by_hand(x: Tensor, *others: Tensor | None) -> bool:
    """Whether a function of these is to be differentiated here: with gradients, where `ours`."""
    if not torch.is_grad_enabled():
        return False
    given = [x, *(other for other in others if other is not None)]
    return any(tensor.requires_grad for tensor in given) and ours(*given)


def ours(*given: Tensor) -> bool:
    """Whether all are on a CPU, in one wide type, and nothing but the caller chooses how.

    Autocast chooses types itself, and torch.compile fuses the plain way better.
    """
    if torch.compiler.is_compiling():  # asked first: to ask `wanted` would break a graph in two
        return False
    dtype = given[0].dtype
    return (
        dtype in TYPES
        and all(tensor.dtype == dtype and tensor.device.type == "cpu" for tensor in given)
        and wanted.get()
        and not torch.is_autocast_enabled("cpu")
    )


@contextmanager
def plainly() -> Generator[None]:
    """Inside, all is differentiated by torch: for comparisons, and for second derivatives."""
    before = wanted.set(False)
    try:
        yield
    finally:
        wanted.reset(before)


def once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function's slopes, with a RuntimeError where they are to be differentiated again.

    torch's once_differentiable leaves such a slope out, without a word, where another path leads to
    the same input.
    """

    @wraps(backward)
    def checked(ctx: Any, *slopes: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True through a derivative written by hand, which is taken once: "
                "call the model inside backbones.by_hand.plainly()"
            )
        return backward(ctx, *slopes)

    return checked
