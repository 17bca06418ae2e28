"""DIFF: its lambda, its pairs, as many parameters, and equal to transformers' DiffLlama."""

import math
from collections.abc import Callable

import laws
import pytest
import torch
from test_backbone_parity import LLAMA_NAMES, loaded, scaled_up
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModelForCausalLM, DiffLlamaConfig
from variants import SMALL_PRESETS

from backbones.attention import LayerCache
from backbones.attention.lam import LayerLambda, TokenLambda
from backbones.config import BackboneConfig
from backbones.model import LanguageModel


def test_lam_init_by_depth() -> None:
    """Ye et al. 2024: 0.8 - 0.6 exp(-0.3 l), l = 0 for the first layer."""
    config = SMALL_PRESETS["diff_v1"]
    found = [LayerLambda(config, depth).lam_init for depth in range(8)]
    expected = [0.200, 0.356, 0.471, 0.556, 0.619, 0.666, 0.701, 0.727]
    torch.testing.assert_close(found, expected, rtol=0, atol=6e-4)


@pytest.mark.parametrize("scheme", ["pre_norm", "ngpt", "ngpt_simple"])
def test_lam_starts_near_lam_init(scheme: str) -> None:
    """Sums of d products of two N(0, 0.1^2): a deviation of sqrt(2 d) / 100."""
    config = SMALL_PRESETS["diff_v1"].replace(d_model=512, n_heads=8, n_kv_heads=8, scheme=scheme)
    drawn = torch.stack([LayerLambda(config, 3)(torch.zeros(1)) for _ in range(400)])
    assert abs(drawn.mean().item() - 0.556) < 0.03
    assert abs(drawn.std().item() / (math.sqrt(2 * 64) / 100) - 1) < 0.2


@pytest.mark.parametrize(("scheme", "spread"), [("pre_norm", 0.05), ("ngpt", 0.2)])
def test_the_gate_starts_at_a_half_and_moves_with_the_token(scheme: str, spread: float) -> None:
    """On the sphere too: without sqrt(C) its deviation would be a fiftieth."""
    config = SMALL_PRESETS["diff_v2"].replace(d_model=256, scheme=scheme)
    x = torch.randn(8, 50, 256)
    x = F.normalize(x, dim=-1) if config.on_sphere else x
    lam = TokenLambda(config)(x)
    assert lam.shape == (8, 4, 50, 1)
    assert abs(lam.mean().item() - 0.5) < 0.05
    assert 0.5 * spread < lam.std().item() < 2 * spread


@torch.no_grad()
def test_v2_pairs_neighbours_of_one_group() -> None:
    """Swapping the two queries of a pair swaps the maps: o_2 - lam o_1."""
    config = SMALL_PRESETS["diff_v2"].replace(n_layers=1)
    attention = laws.sharpened(config).backbone.blocks[0].get_submodule("attention")
    x = torch.randn(1, 7, config.d_model, dtype=torch.float64)
    attention.get_parameter("rule.lam.gate.weight").zero_()  # lam = 1/2
    before = attention(x, LayerCache())
    q = attention.get_parameter("projection.q.weight")
    rows = q.clone().unflatten(0, (config.n_heads, 2, -1))
    q.copy_(rows.flip(1).flatten(0, 2))
    after = attention(x, LayerCache())
    # o_1 - o_2/2 and o_2 - o_1/2: their sum is (o_1 + o_2)/2, their difference 3/2 (o_1 - o_2)
    q.copy_(rows[:, :1].expand_as(rows).flatten(0, 2))
    assert (before - after).abs().max() > 1e-3
    same = attention(x, LayerCache())  # both maps alike: o/2
    q.copy_(rows[:, 1:].expand_as(rows).flatten(0, 2))
    torch.testing.assert_close(
        before + after, same + attention(x, LayerCache()), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["diff_v1", "diff_v2", "dint_v1", "dint_v2", "dint_v1_pair2"])
def test_as_many_parameters_as_llama(name: str) -> None:
    def count(config: BackboneConfig) -> int:
        return sum(p.numel() for p in LanguageModel(config).parameters())

    assert abs(count(SMALL_PRESETS[name]) / count(SMALL_PRESETS["llama"]) - 1) < 0.02


# transformers' DiffLlama

VOCAB, WIDTH, LAYERS, HEADS, WIDE, TOLERANCE = 61, 64, 3, 8, 72, 1e-5


def diff_llama(kv_heads: int) -> nn.Module:
    config = DiffLlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=kv_heads,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def halves_to_pairs(weight: Tensor, heads: int) -> Tensor:
    """Its pair i is heads i and i + H/2; ours is 2i and 2i + 1."""
    return weight.unflatten(0, (2, heads // 2, -1)).transpose(0, 1).flatten(0, 2)


def diff_llama_weights(theirs: dict[str, Tensor], kv_heads: int) -> dict[str, Tensor]:
    """Its head norm has no gain; its value of pair j is heads j and j + G/2 side by side."""
    ours = {
        "backbone.entry.tokens.weight": theirs["model.embed_tokens.weight"],
        "backbone.exit.gain": theirs["model.norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    for i in range(LAYERS):
        here, there = f"backbone.blocks.{i}", f"model.layers.{i}"
        for mine, name in LLAMA_NAMES.items():
            ours[f"{here}.{mine}"] = theirs[f"{there}.{name}"]
        for letter, heads in (("q", HEADS), ("k", kv_heads), ("v", kv_heads)):
            key = f"{here}.attention.projection.{letter}.weight"
            ours[key] = halves_to_pairs(ours[key], heads)
        rule = f"{here}.attention.rule"
        ours[f"{rule}.norm.gain"] = torch.ones(2 * WIDTH // HEADS)
        for name in ("q1", "k1", "q2", "k2"):
            ours[f"{rule}.lam.{name}"] = theirs[f"{there}.self_attn.lambda_{name}"]
    return ours


def differential(kv_heads: int) -> BackboneConfig:
    return BackboneConfig(
        vocab_size=VOCAB,
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        n_kv_heads=kv_heads,
        d_ffn=WIDE,
        contrast="v1",
        tie_embeddings=False,
    )


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [8, 4, 2])
def test_diff_llama(kv_heads: int) -> None:
    reference, ids = diff_llama(kv_heads), torch.randint(VOCAB, (3, 29))
    weights = diff_llama_weights(scaled_up(reference), kv_heads)
    model, theirs = loaded(differential(kv_heads), weights), reference(ids).logits
    assert theirs.abs().max() > 2
    torch.testing.assert_close(model(ids), theirs, rtol=0, atol=TOLERANCE)
    caches = model.new_caches()
    decoded = torch.cat([model(part, caches) for part in ids.split([7, 1, 20, 1], 1)], 1)
    torch.testing.assert_close(decoded, theirs, rtol=0, atol=TOLERANCE)


def swapped(weight: Tensor, heads: int) -> Tensor:
    """The two keys of each pair, the other way round."""
    return weight.unflatten(0, (heads // 2, 2, -1)).flip(1).flatten(0, 2)


@torch.no_grad()
@pytest.mark.parametrize("pairs", [halves_to_pairs, swapped])
def test_planted_other_pairs_show(pairs: Callable[[Tensor, int], Tensor]) -> None:
    reference, ids = diff_llama(4), torch.randint(VOCAB, (3, 29))
    weights = diff_llama_weights(scaled_up(reference), 4)
    for name in [n for n in weights if n.endswith("projection.k.weight")]:
        weights[name] = pairs(weights[name], 4)
    model = loaded(differential(4), weights)
    assert (model(ids) - reference(ids).logits).abs().max() > 100 * TOLERANCE
