"""Short contexts in training: maps written out in blocks read what the one kernel reads."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.attention import short
from backbones.attention.kernel import attend
from backbones.attention.layout import Heads
from backbones.attention.short import LONGEST, ROWS, WHOLE, read, read_contrast, short_enough
from backbones.by_hand import plainly
from backbones.past import LayerCache

# heads, groups, maps, key sets, query width, value width: of softmax, its groups, and both pairings
LAYOUTS = {
    "mha": (4, 4, 1, 1, 6, 6),
    "gqa": (4, 2, 1, 1, 6, 6),
    "mqa": (4, 1, 1, 1, 6, 4),
    "v1": (4, 4, 2, 2, 6, 12),
    "v1 gqa": (4, 2, 2, 2, 6, 12),
    "v2": (4, 4, 2, 1, 6, 6),
    "v2 gqa": (4, 2, 2, 1, 6, 6),
}
PAIRED = [name for name, layout in LAYOUTS.items() if layout[2] == 2]
LENGTHS = (1, 5, WHOLE, WHOLE + 1, WHOLE + ROWS + 3)
SCALE = 0.7


def drawn(name: str, t: int, dtype: torch.dtype = torch.float64) -> Heads:
    h, g, m, k, d, e = LAYOUTS[name]
    q, keys, v = (
        torch.randn(2, t, heads, sets, width, dtype=dtype, requires_grad=True).permute(
            0, 2, 3, 1, 4
        )
        for heads, sets, width in ((h, m, d), (g, k, d), (g, 1, e))
    )
    return Heads(q=q, k=keys, v=v, lift=nn.Identity())


def lambdas(name: str, t: int) -> list[Tensor]:
    """One a layer, and one a token and head."""
    shapes = ((), (2, LAYOUTS[name][0], t, 1))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def slopes(out: Tensor, *of: Tensor) -> list[Tensor]:
    along = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad(out, of, along)]


def contrasted(heads: Heads, lam: Tensor) -> Tensor:
    first, second = attend(heads.q, heads.k, heads.v, scale=SCALE).unbind(2)
    return first - lam * second


@pytest.mark.parametrize("t", LENGTHS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_blocks_read_what_the_kernel_reads(name: str, t: int) -> None:
    h = drawn(name, t)
    found = slopes(read(h, SCALE), h.q, h.k, h.v)
    with plainly():
        wanted = slopes(attend(h.q, h.k, h.v, scale=SCALE), h.q, h.k, h.v)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("t", LENGTHS)
@pytest.mark.parametrize("name", PAIRED)
def test_maps_subtracted_before_they_read_are_reads_subtracted(name: str, t: int) -> None:
    h = drawn(name, t)
    for lam in lambdas(name, t):
        found = slopes(read_contrast(h, lam, SCALE), h.q, h.k, h.v, lam)
        wanted = slopes(contrasted(h, lam), h.q, h.k, h.v, lam)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gqa", "v1 gqa", "v2 gqa"])
def test_slopes_are_those_of_finite_differences(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short, "WHOLE", 0)
    monkeypatch.setattr(short, "ROWS", 2)  # three blocks of five rows
    h = drawn(name, 5)

    def of(*given: Tensor) -> Tensor:
        q, k, v, *lam = given
        out: Tensor = short.Read.apply(q, k, v, lam[0] if lam else None, SCALE)  # type: ignore[assignment]
        return out

    assert torch.autograd.gradcheck(of, (h.q, h.k, h.v))
    for lam in lambdas(name, 5) if name in PAIRED else []:
        assert torch.autograd.gradcheck(of, (h.q, h.k, h.v, lam))


def sees_one_more(rows: slice, like: Tensor) -> Tensor:
    n = rows.stop - rows.start
    return torch.full((1, n, rows.stop), -torch.inf, dtype=like.dtype).triu(rows.start + 2)


def other_map(maps: list[Tensor], *more: Any) -> Tensor:
    return true_subtracted(maps[::-1], *more)


def no_slope_of_lam(*given: Any) -> Tensor:
    return torch.zeros_like(true_slope_of_lam(*given))


def mixed_heads(x: Tensor, groups: int) -> list[Tensor]:
    return [each.flip(2) for each in true_by_map(x, groups)]


true_subtracted, true_slope_of_lam = short.subtracted, short.slope_of_lam
true_by_map = short.by_map


@pytest.mark.parametrize(
    ("attribute", "mistake"),
    [
        ("unseen", sees_one_more),
        ("subtracted", other_map),
        ("slope_of_lam", no_slope_of_lam),
        ("by_map", mixed_heads),
    ],
)
def test_a_planted_mistake_is_seen(
    attribute: str, mistake: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, lam = drawn("v2 gqa", 5), lambdas("v2 gqa", 5)[1]
    wanted = slopes(contrasted(h, lam), h.q, h.k, h.v, lam)
    monkeypatch.setattr(short, attribute, mistake)
    found = slopes(read_contrast(h, lam, SCALE), h.q, h.k, h.v, lam)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


def test_no_row_reads_a_later_key_bit_for_bit() -> None:
    h = drawn("v1", WHOLE + 7, torch.float32)
    before = read(h, SCALE)
    with torch.no_grad():
        h.k[..., 40:, :] += 1
        h.v[..., 40:, :] -= 1
    after = read(h, SCALE)
    assert torch.equal(before[..., :40, :], after[..., :40, :])
    assert not torch.equal(before[..., 40:, :], after[..., 40:, :])


def test_only_whole_short_rows_in_training_are_read_so() -> None:
    h, fresh = drawn("mha", 9), LayerCache()
    assert short_enough(h, fresh)
    with torch.no_grad():
        assert not short_enough(h, fresh)
    assert not short_enough(h, LayerCache(padding=torch.tensor([0, 3])))
    assert not short_enough(h, LayerCache(moments=torch.arange(9).expand(2, -1)))
    one = Heads(q=h.q[..., -1:, :], k=h.k, v=h.v, lift=h.lift)
    assert not short_enough(one, fresh)
    assert short_enough(drawn("mha", LONGEST), fresh)
    assert not short_enough(drawn("mha", LONGEST + 1), fresh)
