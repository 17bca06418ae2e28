"""The one softmax over positions against loops straight from the equation, at every layout."""

import pytest
import torch
from torch import Tensor

from backbones.attention.kernel import Reading, attend
from backbones.attention.layout import LayerCache

CASES = [
    # H, G, M, K, T, S
    (4, 4, 1, 1, 5, 5),
    (4, 2, 1, 1, 5, 5),
    (4, 1, 1, 1, 3, 7),
    (4, 2, 2, 2, 5, 5),
    (4, 2, 2, 1, 3, 7),
    (2, 2, 3, 3, 1, 6),
]


def naive(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One query at a time: which keys it sees, their weights, their mean."""
    batch, heads, maps, t, _ = q.shape
    groups, key_sets, s, _ = k.shape[1:]
    out = torch.empty(batch, heads, maps, t, v.shape[-1], dtype=q.dtype)
    for b, h, m, i in torch.cartesian_prod(*map(torch.arange, (batch, heads, maps, t))).tolist():
        group, seen = h // (heads // groups), s - t + i + 1
        scores = k[b, group, m % key_sets, :seen] @ q[b, h, m, i] * scale
        out[b, h, m, i] = scores.softmax(dim=0) @ v[b, group, 0, :seen]
    return out


def drawn(case: tuple[int, ...], value_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    heads, groups, maps, key_sets, t, s = case
    q = torch.randn(2, heads, maps, t, 8, dtype=torch.float64)
    k = torch.randn(2, groups, key_sets, s, 8, dtype=torch.float64)
    return q, k, torch.randn(2, groups, 1, s, value_dim, dtype=torch.float64)


@pytest.mark.parametrize("value_dim", [8, 6])
@pytest.mark.parametrize("case", CASES)
def test_attend_is_the_equation(case: tuple[int, ...], value_dim: int) -> None:
    q, k, v = drawn(case, value_dim)
    torch.testing.assert_close(attend(q, k, v, scale=0.7), naive(q, k, v, 0.7), rtol=0, atol=1e-12)


def test_planted_groups_that_are_tiled() -> None:
    """GQA repeats each key head in place; a tile gives query head 1 the second key head."""
    q, k, v = drawn((4, 2, 1, 1, 5, 5), 8)
    tiled = attend(q, k.repeat(1, 2, 1, 1, 1), v.repeat(1, 2, 1, 1, 1), scale=0.7)
    assert (tiled - naive(q, k, v, 0.7)).abs().max() > 0.1


def test_a_rule_can_read_the_maps_themselves() -> None:
    q, k, v = drawn((4, 2, 2, 1, 3, 7), 8)
    x = torch.zeros(2, 3, 32, dtype=torch.float64)
    reading = Reading(q=q, k=k, v=v, x=x, past=LayerCache(), start=4, scale=0.7)
    maps = reading.through(torch.eye(7, dtype=torch.float64).expand(2, 2, 1, 7, 7))
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    values = v.repeat_interleave(2, dim=1)
    torch.testing.assert_close(maps @ values, reading.through(v), rtol=0, atol=1e-12)
