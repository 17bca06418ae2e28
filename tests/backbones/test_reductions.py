"""Where one variant becomes another, with the same weights and to rounding."""

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones import stream
from backbones.attention.lam import LayerLambda, TokenLambda
from backbones.config import BackboneConfig, Latent
from backbones.model import LanguageModel

LLAMA = SMALL_PRESETS["llama"]
WIDTH, HEADS = LLAMA.d_model, LLAMA.n_heads


def same(one: LanguageModel, other: LanguageModel) -> float:
    ids = laws.tokens(one.config)
    with torch.no_grad():
        return (one(ids) - other(ids)).abs().max().item()


def given(config: BackboneConfig, weights: dict[str, Tensor]) -> LanguageModel:
    model = LanguageModel(config).double().eval()
    model.load_state_dict(weights)
    return model


def with_lam(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    monkeypatch.setattr(LayerLambda, "forward", lambda _, x: x.new_tensor(value))
    monkeypatch.setattr(TokenLambda, "forward", lambda _, x: x.new_tensor(value))


@pytest.mark.parametrize("contrast", ["v1", "v2"])
@pytest.mark.parametrize("integral", ["none", "prefix", "visible"])
@pytest.mark.parametrize("latent", [None, SMALL_PRESETS["mla"].latent])
def test_without_lam_the_second_map_and_the_integral_are_gone(
    contrast: str, integral: str, latent: Latent | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LLAMA.replace(contrast=contrast, integral=integral, latent=latent)
    model = laws.sharpened(config)
    scrambled = given(config, model.state_dict())
    with torch.no_grad():
        for block in scrambled.backbone.blocks:
            q = block.get_parameter("attention.projection.q.weight")
            pairs = q.unflatten(0, (-1, 2, config.query_dim))
            pairs[:, 1] = torch.randn_like(pairs[:, 1])
    assert same(model, scrambled) > 1e-3
    with_lam(monkeypatch, 0.0)
    assert same(model, scrambled) < 1e-13


@torch.no_grad()
def test_diff_v2_without_lam_is_attention_on_even_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    diff = laws.sharpened(LLAMA.replace(contrast="v2", n_kv_heads=2))
    weights = {n: w for n, w in diff.state_dict().items() if ".rule." not in n}
    for name in [n for n in weights if n.endswith("projection.q.weight")]:
        weights[name] = weights[name].unflatten(0, (HEADS, 2, -1))[:, 0].flatten(0, 1)
    with_lam(monkeypatch, 0.0)
    assert same(diff, given(LLAMA.replace(n_kv_heads=2), weights)) < 1e-13


@pytest.mark.parametrize("name", ["dint_v1", "dint_v2", "dint_v1_pair2"])
def test_without_its_integral_dint_is_diff(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides the factor (1 - lam_init), which DINT leaves out."""
    config = SMALL_PRESETS[name].replace(n_layers=1)
    dint = laws.sharpened(config)
    diff = given(config.replace(integral="none"), dint.state_dict())
    rule = diff.backbone.blocks[0].get_submodule("attention.rule")
    assert same(dint, diff) > 1e-3
    if config.contrast == "v1":
        monkeypatch.setattr(rule, "factor", 1.0)
    monkeypatch.setattr(dint.backbone.blocks[0].get_submodule("attention.rule"), "integral", None)
    assert same(dint, diff) == 0


@torch.no_grad()
@pytest.mark.parametrize("contrast", ["none", "v1", "v2"])
def test_groups_of_one_head_are_mha(contrast: str) -> None:
    """Each key head written out once for each of the heads that it serves."""
    config = LLAMA.replace(contrast=contrast, n_kv_heads=2)
    grouped = laws.sharpened(config)
    weights = grouped.state_dict()
    groups = 1 if contrast == "v1" else 2
    for name in [n for n in weights if n.endswith(("projection.k.weight", "projection.v.weight"))]:
        heads = weights[name].unflatten(0, (groups, -1))
        weights[name] = heads.repeat_interleave(2, dim=0).flatten(0, 1)
    assert same(grouped, given(config.replace(n_kv_heads=4), weights)) < 1e-13


@torch.no_grad()
@pytest.mark.parametrize("contrast", ["none", "v1", "v2"])
def test_a_full_latent_with_identities_is_full_attention(
    contrast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c = norm(x) is x where the stream is normed already; keys then come straight from it.

    The turning part is one key for all heads, so all that a full model turns must be alike.
    """
    monkeypatch.setattr(stream, "LATENT_EPS", 0.0)
    d = LLAMA.head_dim
    latent = Latent(rank=WIDTH, nope_dim=d, rope_dim=2, value_dim=d)
    config = LLAMA.replace(contrast=contrast, latent=latent, norm_eps=1e-30, n_layers=1)
    compressed = laws.sharpened(config)
    projection = compressed.backbone.blocks[0].get_submodule("attention.projection")
    compressed.backbone.blocks[0].get_parameter("join_attention.norm.gain").fill_(1.0)
    projection.get_parameter("latent.down.weight").copy_(torch.eye(WIDTH))
    projection.get_parameter("latent.norm.gain").fill_(1.0)
    projection.get_parameter("turning_k.weight").zero_()
    weights = {
        name: weight
        for name, weight in compressed.state_dict().items()
        if "latent" not in name and "turning" not in name
    }
    q = "backbone.blocks.0.attention.projection.q.weight"
    weights[q] = weights[q].unflatten(0, (-1, d + 2))[:, :d].flatten(0, 1)
    factor = (d / (d + 2)) ** 0.5  # of the scores: widths differ, what turns is zero
    weights[q] = weights[q] * factor
    full = config.replace(latent=None, positions="learned", max_positions=16)
    table = "backbone.entry.positions.table.weight"
    weights[table] = torch.zeros(16, WIDTH, dtype=torch.float64)
    if contrast == "v1":
        for name in ("q1", "k1", "q2", "k2"):
            key = f"backbone.blocks.0.attention.rule.lam.{name}"
            weights[key] = weights[key][:d]
            compressed.get_parameter(key)[d:] = 0.0
    assert same(compressed, given(full, weights)) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("scheme", ["ngpt", "ngpt_simple"])
@pytest.mark.parametrize("ends", [("in",), ("out",), ("in", "out")])
def test_full_rank_ends_are_a_plain_swiglu_on_the_sphere(
    scheme: str, ends: tuple[str, ...]
) -> None:
    """Norms of directions are the directions, and the residual takes lengths away."""
    config = SMALL_PRESETS["ngpt"].replace(scheme=scheme)
    plain = laws.sharpened(config)
    ranks = {f"ffn_rank_{end}": WIDTH for end in ends}
    narrow = LanguageModel(config.replace(**ranks)).double().eval()
    weights, eye = plain.state_dict(), torch.eye(WIDTH, dtype=torch.float64)
    for i in range(config.n_layers):
        ffn = f"backbone.blocks.{i}.ffn"
        if "in" in ends:
            weights[f"{ffn}.enter.down.weight"] = eye
        if "out" in ends:
            weights[f"{ffn}.leave.down.weight"] = weights[f"{ffn}.down.weight"]
            weights[f"{ffn}.down.weight"] = eye
    narrow.load_state_dict(weights)
    assert same(plain, narrow) < 1e-12


@torch.no_grad()
def test_a_full_rank_input_is_a_plain_swiglu_off_the_sphere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "LATENT_EPS", 0.0)
    config = LLAMA.replace(norm_eps=1e-30)
    plain = laws.sharpened(config)
    weights = plain.state_dict()
    for i in range(config.n_layers):
        block = f"backbone.blocks.{i}"
        weights[f"{block}.join_ffn.norm.gain"] = torch.ones(WIDTH, dtype=torch.float64)
        weights[f"{block}.ffn.enter.down.weight"] = torch.eye(WIDTH, dtype=torch.float64)
        weights[f"{block}.ffn.enter.norm.gain"] = torch.ones(WIDTH, dtype=torch.float64)
    narrow = given(config.replace(ffn_rank_in=WIDTH), weights)
    plain.load_state_dict({n: w for n, w in weights.items() if "enter" not in n})
    assert same(plain, narrow) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("name", ["ngpt", "dint_ngpt_standard"])
def test_split_with_equal_gains_is_standard(name: str) -> None:
    config = SMALL_PRESETS[name].replace(contrast="v1", qk_norm="standard")
    standard = laws.sharpened(config)
    weights = standard.state_dict()
    for key in [n for n in weights if n.endswith("norm.q.raw")]:
        per_head = weights[key].unflatten(0, (config.n_heads // 2, 1, -1))
        weights[key] = per_head.expand(-1, 2, -1).flatten()
    assert same(standard, given(config.replace(qk_norm="split"), weights)) < 1e-13


@torch.no_grad()
@pytest.mark.parametrize("name", ["diff_v1", "dint_ngpt"])
def test_on_the_sphere_constants_before_the_output_cancel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hence no factor (1 - lam_init) there; off the sphere it matters."""
    model = laws.sharpened(SMALL_PRESETS[name])
    ids = laws.tokens(model.config)
    before = model(ids)
    for block in model.backbone.blocks:
        monkeypatch.setattr(block.get_submodule("attention.rule"), "factor", 0.37)
    moved = (model(ids) - before).abs().max()
    assert moved < 1e-12 if model.config.on_sphere else moved > 1e-3
