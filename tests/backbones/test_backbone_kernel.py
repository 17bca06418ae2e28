"""The one softmax over positions against loops straight from the equation, at every layout."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backbones.attention.fused import Masking, direct, fused_for, padded, sliced
from backbones.attention.kernel import attend, seen, weights

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


@pytest.mark.parametrize("case", CASES)
def test_the_maps_written_out_are_those_that_are_read_through(case: tuple[int, ...]) -> None:
    q, k, v = drawn(case, 6)
    maps = weights(q, k, scale=0.7)
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    values = v.repeat_interleave(case[0] // case[1], dim=1)
    torch.testing.assert_close(maps @ values, attend(q, k, v, scale=0.7), rtol=0, atol=1e-12)


def two_calls(q: Tensor, k: Tensor, v: Tensor, how: Masking) -> Tensor:
    """Each half of the values on its own, as transformers' DiffLlama has it."""
    return torch.cat([direct(q, k, half, how) for half in v.chunk(2, dim=-1)], dim=-1)


@pytest.mark.parametrize("way", [direct, padded, sliced, two_calls])
@pytest.mark.parametrize("t", [9, 4, 1])
def test_all_ways_to_read_wide_values_agree(
    way: Callable[[Tensor, Tensor, Tensor, Masking], Tensor], t: int
) -> None:
    """Forward and backward: values twice as wide as queries, as DIFF has them."""
    q = torch.randn(2, 4, t, 8, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 4, 9, 16, dtype=torch.float64, requires_grad=True)
    mask = seen(t, 9, q.device) if 1 < t < 9 else None
    how = Masking(mask=mask, is_causal=t == 9, scale=0.7)
    out, weight = way(q, k, v, how), torch.randn(2, 4, t, 16, dtype=torch.float64)
    expected = naive(q[:, :, None], k[:, :, None], v[:, :, None], 0.7).squeeze(2)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    ours = torch.autograd.grad((out * weight).sum(), (q, k, v))
    theirs = torch.autograd.grad((expected * weight).sum(), (q, k, v))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("d", "e", "way"), [(8, 8, direct), (8, 16, padded), (8, 6, padded)])
def test_the_way_chosen_on_a_cpu(
    d: int, e: int, way: Callable[[Tensor, Tensor, Tensor, Masking], Tensor]
) -> None:
    assert fused_for(torch.zeros(1, 1, 3, d), torch.zeros(1, 1, 3, e)) is way
