"""Positions that share moments: each sees all that are not later, and their order says nothing.

B batch   T positions   C model width
"""

from collections.abc import Callable

import laws
import pytest
import torch
from torch import Tensor
from variants import COVER, SMALL_PRESETS

from backbones.attention import integral, kernel
from backbones.config import BackboneConfig
from backbones.model import Backbone
from backbones.past import Start
from backbones.positions import Rotary

WITHOUT = [name for name, config in SMALL_PRESETS.items() if config.short_conv is None]
COVERED = {name: config for name, config in COVER.items() if config.short_conv is None}
MOMENTS = torch.tensor(  # gaps, moments of one and of many, padding
    [
        [0, 0, 0, 1, 1, 2, 2, 2, 4, 4, 5, 5, 5],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        [-1, -1, -1, 1, 1, 1, 1, 3, 3, 3, 3, 5, 9],
        [-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)


def backbone_of(config: BackboneConfig) -> Backbone:
    return laws.sharpened(config).backbone


def drawn(config: BackboneConfig) -> Tensor:
    return torch.randn(*MOMENTS.shape, config.d_model, dtype=torch.float64)


@torch.no_grad()
def read(model: Backbone, x: Tensor, moments: Tensor | None = MOMENTS) -> Tensor:
    torch.manual_seed(7)  # the same dropout each time
    return model(x, None, moments)


def no_moment_sees_a_later_one(model: Backbone) -> None:
    """Bit-equal outputs before a change, in both modes; gradients from later inputs exactly 0."""
    x = drawn(model.config)
    for training in (False, True):
        model.train(training)
        before = read(model, x)
        for t in (0, 1, 4):
            later = t < MOMENTS
            changed = torch.where(later.unsqueeze(-1), -3 * x.flip(-1), x)
            after = read(model, changed)
            assert torch.equal(after[~later], before[~later]), f"moment {t} train={training}"
            assert later.sum() == (after != before)[later].any(dim=-1).sum()
        x_ = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x_, None, MOMENTS)[MOMENTS <= 2].square().sum(), x_)
        assert gradient[MOMENTS > 2].abs().max() == 0
    model.eval()


def a_moment_is_seen_whole(model: Backbone) -> None:
    """What enters at a moment moves all that is said at it, the first of it too."""
    x = drawn(model.config)
    before = read(model, x)
    x[0, 2] += 1.0
    assert (read(model, x) != before)[0].any(dim=-1).all()


def order_within_a_moment_says_nothing(model: Backbone) -> None:
    x = drawn(model.config)
    order = torch.argsort(MOMENTS + 0.9 * torch.rand(MOMENTS.shape))
    rows = torch.arange(len(x)).unsqueeze(-1)
    assert torch.equal(MOMENTS[rows, order], MOMENTS)
    there, here = read(model, x[rows, order]), read(model, x)[rows, order]
    real = MOMENTS >= 0
    torch.testing.assert_close(there[real], here[real], rtol=0, atol=1e-10)


def padding_is_seen_by_nobody(model: Backbone) -> None:
    x = drawn(model.config)
    whole, padding = read(model, x), (MOMENTS < 0).unsqueeze(-1)
    assert whole.isfinite().all()
    other = read(model, torch.where(padding, 100 * x, x))
    assert torch.equal(other[MOMENTS >= 0], whole[MOMENTS >= 0])
    for row, said, when in zip(x, whole, MOMENTS, strict=True):
        alone = read(model, row[when >= 0].unsqueeze(0), when[when >= 0].unsqueeze(0))[0]
        torch.testing.assert_close(said[when >= 0], alone, rtol=0, atol=1e-10)


@torch.no_grad()
def moments_fed_one_by_one_are_one_pass(model: Backbone) -> None:
    """Rows are fed alone, for their moments do not end together."""
    x = drawn(model.config)
    for row, when in zip(x, MOMENTS, strict=True):
        whole = read(model, row.unsqueeze(0), when.unsqueeze(0))[0]
        caches, sizes = model.new_caches(), torch.unique_consecutive(when, return_counts=True)[1]
        parts = zip(row.split(sizes.tolist()), when.split(sizes.tolist()), strict=True)
        said = [model(part.unsqueeze(0), caches, at.unsqueeze(0))[0] for part, at in parts]
        torch.testing.assert_close(torch.cat(said)[when >= 0], whole[when >= 0], rtol=0, atol=1e-10)


LAWS = [
    no_moment_sees_a_later_one,
    a_moment_is_seen_whole,
    order_within_a_moment_says_nothing,
    padding_is_seen_by_nobody,
    moments_fed_one_by_one_are_one_pass,
]


@pytest.mark.parametrize("name", WITHOUT)
def test_moments(name: str) -> None:
    model = backbone_of(SMALL_PRESETS[name])
    for law in LAWS:
        law(model)


@pytest.mark.slow
@pytest.mark.parametrize("config", COVERED.values(), ids=COVERED.keys())
def test_moments_of_every_pair_of_axes(config: BackboneConfig) -> None:
    model = backbone_of(config)
    for law in LAWS:
        law(model)


@pytest.mark.parametrize("name", WITHOUT)
def test_moments_that_are_indices_are_the_plain_pass(name: str) -> None:
    model = backbone_of(SMALL_PRESETS[name])
    x = drawn(model.config)
    index = torch.arange(x.shape[1]).expand(len(x), -1)
    torch.testing.assert_close(read(model, x, index), read(model, x, None), rtol=0, atol=1e-12)


def test_chunks_of_the_visible_mean_part_no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integral, "ROWS", 2)
    model = backbone_of(SMALL_PRESETS["dint_v2"])
    order_within_a_moment_says_nothing(model)


def test_refusals_say_what_is_wanted() -> None:
    model = backbone_of(SMALL_PRESETS["llama"])
    x = drawn(model.config)
    with pytest.raises(ValueError, match="moments go back: sort positions by moment"):
        model(x, None, MOMENTS.flip(-1))
    with pytest.raises(ValueError, match=r"shape \[4, 12\] for positions of shape \[4, 13\]"):
        model(x, None, MOMENTS[:, 1:])
    with pytest.raises(ValueError, match="a past that goes by index"):
        model(x, model.new_caches(torch.tensor([0, 1, 2, 3])), MOMENTS)
    caches = model.new_caches()
    model(x[:, :6], caches, MOMENTS[:, :6])
    with pytest.raises(ValueError, match="a moment goes on after its past was read"):
        model(x[:, 6:], caches, MOMENTS[:, 6:])
    with pytest.raises(ValueError, match="go on with them"):
        model(x[:, 6:], caches)
    conv = backbone_of(SMALL_PRESETS["llama_conv"])
    with pytest.raises(ValueError, match="set short_conv=None for moments"):
        conv(x, None, MOMENTS)


# planted


def broken(name: str, law: Callable[[Backbone], None]) -> None:
    model = backbone_of(SMALL_PRESETS[name])
    with pytest.raises(AssertionError):
        law(model)


@pytest.mark.parametrize("law", [a_moment_is_seen_whole, order_within_a_moment_says_nothing])
@pytest.mark.parametrize("name", ["llama", "mla", "diff_v1"])
def test_planted_a_mask_by_index(
    name: str, law: Callable[[Backbone], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = kernel.seen

    def by_index(t: int, s: int, device: torch.device, order: Tensor) -> Tensor:
        return seen(t, s, device, order) & seen(t, s, device)

    monkeypatch.setattr(kernel, "seen", by_index)
    broken(name, law)


@pytest.mark.parametrize("name", ["llama", "mla", "diff_v2", "dint_v1"])
def test_planted_one_moment_too_many(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mask by opening times would have it: seen from one moment before they are known."""

    def early(t: int, s: int, device: torch.device, order: Tensor) -> Tensor:  # noqa: ARG001
        key, query = order[:, None, None], order[:, None, s - t :, None]
        eye = torch.ones(t, s, dtype=torch.bool).tril(s - t).triu(s - t)
        return ((key <= query + 1) & (key >= 0)) | eye

    monkeypatch.setattr(kernel, "seen", early)
    broken(name, no_moment_sees_a_later_one)


def test_planted_a_rotation_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Rotary.forward

    def by_index(self: Rotary, x: Tensor, start: Start) -> Tensor:
        return forward(self, x, start if isinstance(start, int) else 0)

    monkeypatch.setattr(Rotary, "forward", by_index)
    broken("llama", order_within_a_moment_says_nothing)


@pytest.mark.parametrize("name", ["dint_v1", "dint_v2", "dint_ngpt_mla"])
def test_planted_a_mean_over_rows_so_far(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by index it takes in a part of a moment, which depends on how that is sorted."""

    def index_alone(order: Tensor) -> tuple[Tensor, Tensor]:
        index = torch.arange(order.shape[-1]).expand_as(order)
        return index, index

    monkeypatch.setattr(integral, "same_moment", index_alone)
    broken(name, order_within_a_moment_says_nothing)
