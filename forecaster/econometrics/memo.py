"""Fits are pure functions of what they are given: the last few are kept, by content.

Several rows of one fold (a row, a pool that holds it, the learner's prior) ask for the same fit.
The key is a digest of every argument's bytes, so what is found is what would have been computed, in
any process and order; results are made unwritable before they are kept.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from hashlib import blake2b
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from forecaster.bars import Bars, Floats

P = ParamSpec("P")
R = TypeVar("R")
_EVERY: list[OrderedDict[bytes, Any] | WeakKeyDictionary[Bars, Floats]] = []


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the results of the last `most` different calls. Arguments: records, arrays, scalars."""

    def wrap(fit: Callable[P, R]) -> Callable[P, R]:
        kept: OrderedDict[bytes, R] = OrderedDict()
        _EVERY.append(kept)

        @wraps(fit)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            key = digest((args, sorted(kwargs.items())))
            if key not in kept:
                kept[key] = _frozen(fit(*args, **kwargs))
            kept.move_to_end(key)
            if len(kept) > most:
                kept.popitem(last=False)
            return kept[key]

        return call

    return wrap


def per_bars(of: Callable[[Bars], Floats]) -> Callable[[Bars], Floats]:
    """Keep the array of each `Bars` as long as they live, unwritable: several fits want it."""
    kept: WeakKeyDictionary[Bars, Floats] = WeakKeyDictionary()
    _EVERY.append(kept)

    @wraps(of)
    def call(bars: Bars) -> Floats:
        if bars not in kept:
            found = of(bars)
            found.flags.writeable = False
            kept[bars] = found
        return kept[bars]

    return call


def forget() -> None:
    """Drop everything kept: the next calls compute."""
    for kept in _EVERY:
        kept.clear()


def digest(value: Any) -> bytes:
    """Of the whole content: types, shapes and bytes. Raises TypeError for what has no content."""
    state = blake2b(digest_size=16)
    for part in _parts(value):
        state.update(part)
    return state.digest()


def _parts(value: Any) -> list[bytes | memoryview]:
    if isinstance(value, np.ndarray):
        head = f"{value.dtype.str}{value.shape}".encode()
        # Not `tobytes`: the rows of hundreds of symbols would be there twice.
        return [head, np.ascontiguousarray(value).reshape(-1).view(np.uint8).data]
    if is_dataclass(value):
        value = [type(value).__name__, *(getattr(value, f.name) for f in fields(value))]
    if isinstance(value, tuple | list):
        return [f"[{len(value)}".encode(), *(digest(each) for each in value)]
    if value is None or isinstance(value, str | int | float):
        return [f"{type(value).__name__}:{value!r}".encode()]
    raise TypeError(f"{type(value).__name__} has no content that a fit could be kept by")


def _frozen(result: R) -> R:
    """The result, its arrays unwritable."""
    if is_dataclass(result):
        for field in fields(result):
            held = getattr(result, field.name)
            if isinstance(held, np.ndarray):
                held.flags.writeable = False
    return result
