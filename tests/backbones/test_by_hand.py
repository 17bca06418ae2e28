"""Derivatives written by hand: right by finite differences, and equal to the plain way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel
from variants import SMALL_PRESETS

from backbones.attention import parted as parting
from backbones.attention import rebuilt as rebuilding
from backbones.attention.layout import HeadLayout
from backbones.attention.rebuilt import rebuilt
from backbones.by_hand import (
    by_hand,
    gated,
    gates,
    joined,
    lengths,
    normed,
    plainly,
    product,
    products,
    smooth_gelu,
    torchs_product,
    turned,
    turning,
)
from backbones.config import BackboneConfig
from backbones.layers import Amplifier, LearnedScale, linear
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.optim import build_optimizer
from backbones.positions import kept_turns, turns, turns_of
from backbones.recipe import TrainRecipe

Function = Callable[..., Tensor]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def heads(*shape: int) -> Tensor:
    """[B, T, H, D] as [B, H, T, D]: not in order, as a projection gives it."""
    return drawn(*shape).transpose(1, 2)


def angles(t: int, width: int) -> tuple[Tensor, Tensor]:
    angle = torch.randn(t, width // 2, dtype=torch.float64)
    return angle.cos(), angle.sin()


def turn(x: Tensor, *, interleaved: bool) -> Tensor:
    cos, sin = angles_of[x.shape[-2:]]
    return turned(x, cos, sin, interleaved=interleaved)


angles_of = {torch.Size([5, d]): angles(5, turned) for d, turned in ((6, 6), (8, 6), (2, 2))}
PAIRS = HeadLayout(heads=2, groups=2, maps=2, key_sets=2, query_dim=5, value_dim=4)


def keys_and_values(latent: Tensor, turned: Tensor, up_k: Tensor, up_v: Tensor) -> Tensor:
    k, v = rebuilt(torch.cat((latent, turned), dim=-1), (up_k, up_v), PAIRS)
    return torch.cat((k.flatten(), v.flatten()))


def queries_and_latents(wide: Tensor, gain: Tensor, *, interleaved: bool) -> Tensor:
    turn = (*angles_of[torch.Size([5, 2])], interleaved)
    q, both = parting.Parted.apply(wide, gain, 0.1, turn, PAIRS)  # type: ignore[misc]
    return torch.cat((q.flatten(), both.flatten()))


CASES: dict[str, tuple[Function, Callable[[], tuple[Tensor, ...]]]] = {
    "product": (product, lambda: (drawn(2, 3, 5), drawn(4, 5))),
    "product, bias": (product, lambda: (drawn(2, 3, 5), drawn(4, 5), drawn(4))),
    "product, widening": (product, lambda: (drawn(2, 3, 4), drawn(9, 4))),
    "rms": (lambda x, g: normed(x, g, eps=0.1), lambda: (drawn(2, 3, 6), drawn(6))),
    "rms, no gain": (lambda x: normed(x, None, eps=0.1), lambda: (drawn(2, 3, 6),)),
    "length": (lambda x: normed(x, None, eps=None), lambda: (drawn(2, 3, 6),)),
    "length, a gain a head": (
        lambda x, g: normed(x, g, eps=None),
        lambda: (heads(2, 5, 3, 6), drawn(3, 1, 6)),
    ),
    "length, one gain": (
        lambda x, g: normed(x, g, eps=None),
        lambda: (heads(2, 5, 3, 6), drawn(1, 1, 1)),
    ),
    "joined": (joined, lambda: (drawn(2, 3, 6), drawn(2, 3, 6), drawn(6))),
    "joined, one pace": (joined, lambda: (drawn(2, 3, 6), drawn(2, 3, 6), drawn(1))),
    "turned, half": (lambda x: turn(x, interleaved=False), lambda: (heads(2, 5, 3, 6),)),
    "turned, interleaved": (lambda x: turn(x, interleaved=True), lambda: (heads(2, 5, 3, 6),)),
    "turned at the end": (lambda x: turn(x, interleaved=False), lambda: (heads(2, 5, 3, 8),)),
    "rebuilt": (
        keys_and_values,
        lambda: (drawn(2, 1, 1, 5, 3), drawn(2, 1, 1, 5, 2), drawn(12, 3), drawn(8, 3)),
    ),
    "parted, half": (
        lambda x, g: queries_and_latents(x, g, interleaved=False),
        lambda: (drawn(2, 5, 25), drawn(3)),
    ),
    "parted, interleaved": (
        lambda x, g: queries_and_latents(x, g, interleaved=True),
        lambda: (drawn(2, 5, 25), drawn(3)),
    ),
    "gated": (gated, lambda: (drawn(2, 3, 6), drawn(2, 3, 6))),
    "smooth gelu": (smooth_gelu, lambda: (drawn(2, 3, 6),)),
}


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_those_of_finite_differences(name: str) -> None:
    function, inputs = CASES[name]
    assert torch.autograd.gradcheck(function, inputs())


def not_across(slope: Tensor, _: Tensor, inverse: Tensor, *__: int) -> Tensor:
    return slope.mul_(inverse)


def wrong_way(out: Tensor, x: Tensor, turn: tuple[Tensor, Tensor], *, interleaved: bool) -> None:
    true_turn(out, x, (turn[0], turn[1].abs()), interleaved=interleaved)


true_turn = turning.turn_into


true_slopes = rebuilding.Rebuilt.backward


def of_one_head(ctx: object, of_k: Tensor, of_v: Tensor) -> tuple[Tensor | None, ...]:
    """The turned part of one head alone; all share it."""
    both, weight, layout = true_slopes(ctx, of_k, of_v)
    assert both is not None
    both[..., 3:] = of_k[:, :1, :1, :, 3:]
    return both, weight, layout


def half_slopes(ctx: object, slope: Tensor) -> tuple[Tensor, Tensor]:
    gate, up, opened = ctx.saved_tensors  # type: ignore[attr-defined]
    return slope * up * opened, slope * gate * opened


@pytest.mark.parametrize(
    ("name", "where", "attribute", "mistake"),
    [
        ("rms", lengths, "of_direction", not_across),
        ("length", lengths, "of_direction", not_across),
        ("joined", lengths, "of_direction", not_across),
        ("turned, half", turning, "turn_into", wrong_way),
        ("turned, interleaved", turning, "turn_into", wrong_way),
        ("turned at the end", turning, "turn_into", wrong_way),
        (
            "product, widening",
            products,
            "of_weight",
            lambda s, x: products.rows_times(s.T, x.T) * 2,
        ),
        ("rebuilt", rebuilding.Rebuilt, "backward", staticmethod(of_one_head)),
        ("parted, half", parting, "of_direction", not_across),
        ("parted, interleaved", parting, "turn_into", wrong_way),
        ("gated", gates.Gated, "backward", staticmethod(half_slopes)),
        (
            "product",
            products.Product,
            "backward",
            staticmethod(lambda ctx, slope: (slope @ ctx.saved_tensors[1] * 1.01, None, None)),
        ),
        (
            "smooth gelu",
            gates.SmoothGelu,
            "backward",
            staticmethod(lambda ctx, slope: slope * ctx.saved_tensors[1]),
        ),
    ],
)
def test_a_planted_slope_is_found(
    name: str, where: object, attribute: str, mistake: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, inputs = CASES[name]
    monkeypatch.setattr(where, attribute, mistake)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(function, inputs())


@pytest.mark.parametrize("name", CASES)
def test_a_second_derivative_is_refused(name: str) -> None:
    function, inputs = CASES[name]
    given = inputs()
    with pytest.raises(RuntimeError, match=r"taken once: call the model inside .*plainly"):
        torch.autograd.grad(function(*given).square().sum(), given[0], create_graph=True)


def test_a_zero_vector_stays_zero() -> None:
    x = torch.zeros(2, 6, requires_grad=True)
    for out in (normed(x, None, eps=None), normed(x, None, eps=1e-5)):
        assert torch.equal(out, x)
        (slope,) = torch.autograd.grad(out.sum(), x)
        assert slope.isfinite().all()


def test_gelu_as_a_sigmoid_is_gelu_far_out_too() -> None:
    x = torch.linspace(-30, 30, 2001, dtype=torch.float64)
    torch.testing.assert_close(smooth_gelu(x), F.gelu(x, approximate="tanh"), rtol=0, atol=1e-14)


# ---------------------------------------------------------------------------------------------
# where it is used


def loss_and_slopes(model: LanguageModel, ids: Tensor) -> list[Tensor]:
    loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:])
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def roughened(config: BackboneConfig, dtype: torch.dtype) -> LanguageModel:
    """A model whose gains and biases are not ones and zeros."""
    torch.manual_seed(0)
    model = LanguageModel(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def worst_gap(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Of the largest value in any of them, so that a slope of 0 by symmetry may be rounding."""
    size = max(x.abs().max().item() for x in wanted)
    gaps = [(a - b).abs().max().item() for a, b in zip(found, wanted, strict=True)]
    return max(gaps) / size


@pytest.mark.parametrize("name", SMALL_PRESETS)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_a_model_trains_as_it_does_the_plain_way(
    name: str, dtype: torch.dtype, limit: float
) -> None:
    config = SMALL_PRESETS[name]
    if config.max_positions is not None:
        config = config.replace(max_positions=150)
    model, ids = roughened(config, dtype), torch.randint(11, (2, 150))
    found = loss_and_slopes(model, ids)
    with plainly():
        plain = loss_and_slopes(model, ids)
    assert worst_gap(found, plain) < limit
    assert not all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))  # two ways


def test_a_planted_slope_moves_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = roughened(SMALL_PRESETS["llama"], torch.float64), torch.randint(11, (2, 9))
    right = loss_and_slopes(model, ids)
    monkeypatch.setattr(lengths, "of_direction", not_across)
    assert worst_gap(loss_and_slopes(model, ids), right) > 1e-4


def test_the_plain_way_is_taken_without_gradients_and_in_narrow_types() -> None:
    x, weight = torch.randn(3, 4), torch.randn(5, 4, requires_grad=True)
    assert by_hand(x, weight, None)
    assert not by_hand(x)  # nothing to differentiate
    assert not by_hand(x, weight.double())
    assert not by_hand(x.bfloat16(), weight.bfloat16())
    assert not by_hand(x.to("meta"), weight.to("meta"))
    with torch.no_grad():
        assert not by_hand(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not by_hand(x, weight)
    with plainly():
        assert not by_hand(x, weight)
    assert by_hand(x, weight)


def test_the_plain_way_has_second_derivatives() -> None:
    model, ids = roughened(SMALL_PRESETS["dint_ngpt"], torch.float64), torch.randint(11, (2, 9))
    with plainly(), sdpa_kernel(SDPBackend.MATH):  # the fused one has none
        loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        table = model.backbone.entry.table
        (slope,) = torch.autograd.grad(loss, table, create_graph=True)
        (again,) = torch.autograd.grad(slope.square().sum(), table)
    assert again.abs().max() > 0


def test_products_are_those_of_torch_with_and_without_onednn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(20, 33, 40, requires_grad=True)
    assert x.numel() * 50 > products.WORTH_IT
    weight, bias = torch.randn(50, 40, requires_grad=True), torch.randn(50, requires_grad=True)
    slope = torch.randn(20, 33, 50)
    found = []
    for onednn in (products.ONEDNN, False):
        monkeypatch.setattr(products, "ONEDNN", onednn)
        out = product(x, weight, bias)
        found.append([out.detach(), *torch.autograd.grad(out, (x, weight, bias), slope)])
    out = F.linear(x, weight, bias)
    plain = [out.detach(), *torch.autograd.grad(out, (x, weight, bias), slope)]
    for each in found:
        torch.testing.assert_close(each, plain, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(torchs_product(x, weight, bias), out, rtol=1e-4, atol=1e-4)


def in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the factors that reach oneDNN with gaps, in a step of that preset."""
    found: list[torch.Size] = []

    def seen(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found.extend(
            f.shape for f in (x, weight) if not (f.is_contiguous() or f.mT.is_contiguous())
        )
        return F.linear(x, weight, bias)

    monkeypatch.setattr(products, "onednn", seen)
    monkeypatch.setattr(products, "WORTH_IT", 0)
    monkeypatch.setattr(products, "ONEDNN", True)
    loss_and_slopes(roughened(SMALL_PRESETS[name], torch.float32), torch.randint(11, (2, 17)))
    return found


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_onednn_is_given_factors_in_one_piece(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gaps in the second one it was a thousand times slower, and MLA's step eleven times."""
    assert in_pieces(name, monkeypatch) == []


def test_planted_a_latent_that_is_half_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "dense", lambda x: x)
    assert in_pieces("dint_ngpt_mla", monkeypatch)


@pytest.mark.skipif(not products.ONEDNN, reason="this torch has no oneDNN")
def test_onednn_is_asked_where_it_pays_and_never_in_float64() -> None:
    """By what is called, not by the clock."""
    small, large = torch.randn(1, 40), torch.randn(700, 40)
    weight = torch.randn(50, 40)
    for x, w, asked in (
        (small, weight, False),
        (large, weight, True),
        (large.double(), weight.double(), False),
    ):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            with torch.no_grad():
                torchs_product(x, w)
            product(x, w.clone().requires_grad_())
        calls = [e.key for e in profile.key_averages()].count("mkldnn::_linear_pointwise")
        assert bool(calls) == asked


# ---------------------------------------------------------------------------------------------
# what is computed once, and gains in weights


@pytest.mark.parametrize("start", [0, 1, 200, 250, 1000])
def test_kept_turns_are_those_computed_anew(start: int) -> None:
    x = torch.zeros(2, 9, 6, dtype=torch.float64)
    cos, sin = turns(start, 9, 6, 100.0)
    anew = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    torch.testing.assert_close(turns_of(x, start, 100.0), anew, rtol=0, atol=0)


def test_turns_kept_while_sampling_serve_training() -> None:
    """The planted mistake is a table made inside inference mode: torch refuses to train on it."""
    kept_turns.cache_clear()
    model, ids = LanguageModel(SMALL_PRESETS["llama"]), torch.randint(11, (2, 9))
    with torch.inference_mode():
        model(ids)
        cos = torch.ones(9, 4)
    assert loss_and_slopes(model, ids)[0].isfinite()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        turned(torch.ones(2, 9, 8, requires_grad=True), cos, cos, interleaved=False)


@pytest.mark.parametrize("rows", [2, 200])  # fewer and more than the weight has columns
def test_a_gain_in_the_weight_is_a_gain_of_what_comes_out(rows: int) -> None:
    scale = LearnedScale(5, init=1.0, scale=0.5).double()
    scale.raw.data.uniform_(0.5, 2.0)
    for gain in (Amplifier(3.0, scale), Amplifier(3.0)):
        x, weight, given = drawn(rows, 8), drawn(5, 8), [*gain.parameters()]
        slope = torch.randn(rows, 5, dtype=torch.float64)
        found = torch.autograd.grad(linear(x, weight, gain=gain), [x, weight, *given], slope)
        wanted = torch.autograd.grad(gain(x @ weight.mT), [x, weight, *given], slope)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_groups_of_the_same_rates_are_one_call_of_the_fused_optimiser() -> None:
    model = LanguageModel(SMALL_PRESETS["llama"])
    groups = build_optimizer(model, TrainRecipe(steps=1)).param_groups
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.1]  # tables with vectors
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
