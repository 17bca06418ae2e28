"""DINT's integrals: equal to the maps they stand for, exact in pieces, and kept in float32."""

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.attention import LayerCache, integral
from backbones.attention.integral import prefix_mean, visible_mean
from backbones.attention.kernel import Reading, weights
from backbones.attention.layout import Heads

B, H, G, D, E = 2, 4, 2, 6, 10
MEANS = pytest.mark.parametrize("mean", [prefix_mean, visible_mean])


def drawn(t: int, dtype: torch.dtype = torch.float64) -> Heads:
    return Heads(
        q=3 * torch.randn(B, H, 2, t, D, dtype=dtype),
        k=torch.randn(B, G, 2, t, D, dtype=dtype),
        v=torch.randn(B, G, 1, t, E, dtype=dtype),
        lift=torch.nn.Identity(),
    )


def reading_of(heads: Heads, past: LayerCache, start: int = 0) -> Reading:
    return Reading(heads=heads, x=heads.v, past=past, start=start, scale=0.7)


def run(mean: integral.Integral, heads: Heads, past: LayerCache, start: int = 0) -> Tensor:
    reading = reading_of(heads, past, start)
    return mean(reading, reading.through_maps()[:, :, 0])


def matrix(mean: integral.Integral, heads: Heads) -> Tensor:
    """G [B, H, T, T] by its definition, from the first map A."""
    a = weights(heads.q, heads.k, scale=0.7)[:, :, 0]
    age = torch.arange(a.shape[-1])
    queries = (age[:, None] - age + 1).clamp_min(1) if mean is visible_mean else age[:, None] + 1
    g = a.cumsum(-2) / queries
    return g / g.sum(-1, keepdim=True) if mean is visible_mean else g


@MEANS
def test_the_mean_is_its_matrix_forward_and_backward(mean: integral.Integral) -> None:
    heads = drawn(13)
    inputs = [x.requires_grad_() for x in (heads.q, heads.k, heads.v)]
    g = matrix(mean, heads)
    assert g.triu(1).abs().max() == 0
    torch.testing.assert_close(g.sum(-1), torch.ones_like(g[..., 0]), rtol=0, atol=1e-12)
    expected = g @ heads.v[:, :, 0].repeat_interleave(H // G, dim=1)
    ours, weight = run(mean, heads, LayerCache()), torch.randn_like(expected)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        rtol=0,
        atol=1e-12,
    )


@MEANS
def test_more_rows_than_are_held_at_once(
    mean: integral.Integral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of rows, computed again in the backward pass, change nothing."""
    heads, found = drawn(23), []
    inputs = [x.requires_grad_() for x in (heads.q, heads.k, heads.v)]
    for rows in (128, 5):
        monkeypatch.setattr(integral, "ROWS", rows)
        out = run(mean, heads, LayerCache())
        found.append((out, torch.autograd.grad(out.square().sum(), inputs)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_the_visible_mean_holds_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No map of more than ROWS rows is ever made."""
    made: list[int] = []

    def counted(q: Tensor, k: Tensor, *, scale: float, order: Tensor | None) -> Tensor:
        made.append(q.shape[-2])
        return weights(q, k, scale=scale, order=order)

    monkeypatch.setattr(integral, "weights", counted)
    monkeypatch.setattr(integral, "ROWS", 8)
    run(visible_mean, drawn(30), LayerCache())
    assert made == [8, 8, 8, 6]


def piece(heads: Heads, begin: int, end: int) -> Heads:
    return Heads(
        q=heads.q[..., begin:end, :],
        k=heads.k[..., :end, :],
        v=heads.v[..., :end, :],
        lift=heads.lift,
    )


@MEANS
@pytest.mark.parametrize("cuts", [[1] * 12, [5, 7], [1, 10, 1], [11, 1]])
def test_in_pieces_with_a_past(mean: integral.Integral, cuts: list[int]) -> None:
    heads, past, parts, begin = drawn(12), LayerCache(), [], 0
    for n in cuts:
        parts.append(run(mean, piece(heads, begin, begin + n), past, begin))
        begin += n
    whole = run(mean, heads, LayerCache())
    torch.testing.assert_close(torch.cat(parts, -2), whole, rtol=0, atol=1e-12)


@MEANS
def test_planted_a_past_that_forgets_its_sum(mean: integral.Integral) -> None:
    heads, past = drawn(12), LayerCache()
    run(mean, piece(heads, 0, 6), past)
    past.running = None if mean is prefix_mean else torch.zeros_like(past.running)  # type: ignore[arg-type]
    forgetful = run(mean, piece(heads, 6, 12), past, 6)
    assert (forgetful - run(mean, heads, LayerCache())[..., 6:, :]).abs().max() > 1e-2


@MEANS
def test_the_state_is_wide(mean: integral.Integral) -> None:
    """In bfloat16 too, the sum runs in float32."""
    past = LayerCache()
    out = run(mean, drawn(7, torch.bfloat16), past)
    assert past.running is not None
    assert (out.dtype, past.running.dtype) == (torch.bfloat16, torch.float32)


def test_the_state_does_not_grow_with_the_past() -> None:
    """Prefix: E numbers a head. Visible: a number a head and key."""
    for name, size in (("dint_v1", 16), ("dint_v2", 13), ("dint_v1_pair2", 8)):
        model = laws.sharpened(SMALL_PRESETS[name])
        caches = model.new_caches()
        model(laws.tokens(model.config), caches)
        running = caches[0].running
        assert running is not None
        assert running.shape[-1] == size


def test_early_keys_weigh_more_in_the_prefix_mean_and_not_in_the_visible_one() -> None:
    """Of uniform maps: token 0 is seen by every row."""
    heads = drawn(50)
    uniform = Heads(q=0 * heads.q, k=heads.k, v=heads.v, lift=heads.lift)
    last = {m: matrix(m, uniform)[0, 0, -1] for m in (prefix_mean, visible_mean)}
    harmonic = sum(1 / (i + 1) for i in range(50)) / 50
    torch.testing.assert_close(last[prefix_mean][0].item(), harmonic)
    assert last[visible_mean][0] < 3 / 50
