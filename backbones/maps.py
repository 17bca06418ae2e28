"""The attention maps of a model, written out: what each query reads of each key, layer by layer.

A rule is linear in the values, so its maps are what it reads where the values are an identity. In
names of `attention.rules`, with A_m the softmaxes and G the integral's mean of A_1:

    softmax   A_1
    DIFF      A_1 - lam A_2
    DINT      A_1 - lam A_2 + lam G

Each row of a softmax and of G sums to 1, so those of DIFF to 1 - lam and those of DINT to 1. What a
head does after reading (V1's norm and factor) is no part of a map.

B batch   T positions   H heads
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from .attention import Attention
from .attention.kernel import Reading, weights
from .attention.rules import ContrastV1, ContrastV2, Softmax
from .past import LayerCache

NAMES = ("first", "second", "difference", "integral", "sum")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerMaps:
    """One layer's maps by name, each [B, H, T, T] in float32 or wider; rows are queries.

    Softmax attention has `first` alone, DIFF `second` and `difference` besides, DINT also
    `integral`, which is G, and `sum`, which is what its heads read through.
    """

    layer: int
    maps: dict[str, Tensor]
    lam: Tensor | None  # a scalar, or [B, H, T, 1]

    @property
    def read(self) -> str:
        """The name of the map that the heads read through."""
        return next(name for name in ("sum", "difference", "first") if name in self.maps)


@contextmanager
def recorded(model: nn.Module) -> Generator[list[LayerMaps]]:
    """Every layer's maps of the forward passes inside, in order of the layers.

    Memory is B H T T a map. Raises ValueError for a pass that goes on from caches: its rows would
    lack their past.
    """
    found: list[LayerMaps] = []
    rules = [each.rule for each in model.modules() if isinstance(each, Attention)]
    hooks = [
        rule.register_forward_pre_hook(partial(_note, found, layer))
        for layer, rule in enumerate(rules)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _note(found: list[LayerMaps], layer: int, rule: nn.Module, given: tuple[Reading]) -> None:
    with torch.no_grad():
        found.append(_written_out(rule, given[0], layer))


def _written_out(rule: nn.Module, reading: Reading, layer: int) -> LayerMaps:
    heads = reading.heads
    t, s = heads.q.shape[-2], heads.k.shape[-2]
    if t != s:
        raise ValueError(f"{t} queries of {s} keys: maps are of whole passes, give no caches")
    a = weights(heads.q, heads.k, scale=reading.scale, order=reading.past.order)
    if isinstance(rule, Softmax):
        return LayerMaps(layer=layer, maps={"first": a[:, :, 0]}, lam=None)
    if not isinstance(rule, ContrastV1 | ContrastV2):
        raise TypeError(f"{type(rule).__name__} has no maps that are known here")
    first, second = a.unbind(dim=2)
    lam = rule.lam(reading.x).to(a.dtype)
    maps = {"first": first, "second": second, "difference": first - lam * second}
    if rule.integral is not None:
        maps["integral"] = rule.integral(_of_identity(reading, a), first)
        maps["sum"] = maps["difference"] + lam * maps["integral"]
    return LayerMaps(layer=layer, maps=maps, lam=lam)


def _of_identity(reading: Reading, a: Tensor) -> Reading:
    """The same reading where the values are an identity, with a past that nobody else writes to."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(len(a), 1, 1, -1, -1)
    past = reading.past
    own = LayerCache(padding=past.padding, moments=past.moments, memory=past.memory)
    return replace(reading, heads=replace(reading.heads, v=eye, lift=nn.Identity()), past=own)
