"""Latent attention: two ways to read are one, little is kept, and DeepSeek's models agree."""

from typing import Any

import laws
import pytest
import torch
from test_backbone_parity import LLAMA_NAMES, loaded, scaled_up
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config
from variants import SMALL_PRESETS, VARIANTS

from backbones.attention import LayerCache
from backbones.attention.kernel import Reading
from backbones.attention.latent import Compressed
from backbones.attention.qk_norm import QkNorm
from backbones.config import BackboneConfig, Latent
from backbones.model import LanguageModel

LATENTS = {name: config for name, config in VARIANTS.items() if config.latent is not None}
latents = pytest.mark.parametrize("config", LATENTS.values(), ids=LATENTS.keys())


def both_ways(
    config: BackboneConfig, length: int, count: int
) -> tuple[Tensor, Tensor, list[nn.Parameter]]:
    """What a rule makes of `count` queries after a past, expanded and absorbed."""
    attention = laws.sharpened(config).backbone.blocks[0].get_submodule("attention")
    projection, rule = attention.get_submodule("projection"), attention.get_submodule("rule")
    assert isinstance(projection, Compressed)
    x = torch.randn(2, length, config.d_model, dtype=torch.float64)
    memory, start = projection.memory(x, 0), length - count
    q, found = projection.queries(x[:, start:], start), []
    for heads in (projection.expanded(q, memory), projection.absorbed(q, memory)):
        past = LayerCache()
        if config.integral == "visible" and start:  # the columns that the past has summed
            past.running = torch.ones(2, rule.layout.heads, start, dtype=torch.float64)  # type: ignore[union-attr]
        reading = Reading(
            heads=heads, x=x[:, start:], past=past, start=start, scale=projection.scale
        )
        found.append(rule(reading))
    return found[0], found[1], list(projection.parameters())


@latents
@pytest.mark.parametrize("count", [1, 4, 9])
def test_absorbed_is_expanded_forward_and_backward(config: BackboneConfig, count: int) -> None:
    expanded, absorbed, parameters = both_ways(config, 9, count)
    torch.testing.assert_close(absorbed, expanded, rtol=0, atol=1e-11)
    weight = torch.randn_like(expanded)
    gradients = [
        torch.autograd.grad((out * weight).sum(), parameters, retain_graph=True)
        for out in (expanded, absorbed)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-10)


def test_planted_a_scale_of_the_latent_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """1/sqrt(r + R) in place of 1/sqrt(N + R) is found out by decoding."""
    config = SMALL_PRESETS["mla"]
    model, absorbed = laws.sharpened(config), Compressed.absorbed

    def rescaled(self: Compressed, q: Tensor, memory: tuple[Tensor, ...]) -> object:
        return absorbed(self, q * (8 / 16) ** 0.5, memory)

    monkeypatch.setattr(Compressed, "absorbed", rescaled)
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(model, laws.tokens(config), 1e-12)


def test_planted_lengths_that_forget_what_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's length is that of both its parts."""
    inverse, x = QkNorm.inverse_length, torch.randn(1, 5, 32, dtype=torch.float64)
    config = SMALL_PRESETS["mla"].replace(qk_norm="standard")
    attention = laws.sharpened(config).backbone.blocks[0].get_submodule("attention")
    before = attention(x, LayerCache())
    monkeypatch.setattr(QkNorm, "inverse_length", lambda self, *parts: inverse(self, parts[0]))
    assert (attention(x, LayerCache()) - before).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "changes", "numbers"),
    [
        ("llama", {}, 64),
        ("mla", {}, 12 + 4),
        ("mla", {"qk_norm": "rms"}, 12 + 4 + 4),
        ("mla", {"contrast": "v2"}, 12 + 4),
        ("dint_ngpt_mla", {}, 12 + 4 + 4),
        ("dint_ngpt_mla", {"contrast": "v1"}, 12 + 4 + 4),
    ],
)
def test_numbers_kept_a_token(name: str, changes: dict[str, Any], numbers: int) -> None:
    """Rank and turning part, whatever the rule; an inverse length a key under a QK norm."""
    config = SMALL_PRESETS[name].replace(**changes)
    model = LanguageModel(config).eval()
    caches, ids = model.new_caches(), laws.tokens(config, batch=1, length=10)
    model(ids, caches)
    memory = caches[0].memory
    assert memory is not None
    assert sum(part.numel() for part in memory) == 10 * numbers


@torch.no_grad()
@pytest.mark.parametrize("norm", ["none", "standard", "split"])
@pytest.mark.parametrize("query_rank", [None, 128])
def test_scores_start_at_unit_variance_on_the_sphere(norm: str, query_rank: int | None) -> None:
    """And what turns has its share: without the balance it would have a fifth of it."""
    latent = Latent(rank=64, nope_dim=32, rope_dim=32, value_dim=64, query_rank=query_rank)
    config = SMALL_PRESETS["dint_ngpt_mla"].replace(d_model=384, qk_norm=norm, latent=latent)
    attention = LanguageModel(config).backbone.blocks[0].get_submodule("attention")
    projection = attention.get_submodule("projection")
    assert isinstance(projection, Compressed)
    x = torch.nn.functional.normalize(torch.randn(4, 64, 384), dim=-1)
    heads = projection.heads(*projection.asked(x, 0))
    scores = projection.scale * heads.q @ heads.k.mT
    assert 0.9 < scores.std().item() < 1.1
    share = heads.k[..., 32:].square().sum() / heads.k.square().sum()
    assert 0.4 < share.item() < 0.6


# DeepSeek's models

VOCAB, WIDTH, LAYERS, HEADS, WIDE, TOLERANCE = 61, 64, 3, 4, 72, 1e-5
SHAPES = {"kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12}


def deepseek(family: str, query_rank: int | None, **changes: Any) -> nn.Module:
    """Dense: no layer has experts, though they must be named."""
    kind = {"v2": DeepseekV2Config, "v3": DeepseekV3Config}[family]
    config = kind(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=WIDE,
        moe_intermediate_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        first_k_dense_replace=LAYERS,
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        num_experts_per_tok=2,
        q_lora_rank=query_rank,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        **SHAPES,
        **changes,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def deepseek_weights(theirs: dict[str, Tensor], query_rank: int | None) -> dict[str, Tensor]:
    """Its down map holds latent and turning key; its up map holds, a head, key and value rows."""
    ours = {
        "backbone.entry.tokens.weight": theirs["model.embed_tokens.weight"],
        "backbone.exit.gain": theirs["model.norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    rank, stays, _, value_dim = SHAPES.values()
    for i in range(LAYERS):
        here, there = f"backbone.blocks.{i}", f"model.layers.{i}"
        for mine, name in LLAMA_NAMES.items():
            if ".projection." not in mine:
                ours[f"{here}.{mine}"] = theirs[f"{there}.{name}"]
        a, p = f"{there}.self_attn", f"{here}.attention.projection"
        ours[f"{p}.q.weight"] = theirs[
            f"{a}.q_proj.weight" if query_rank is None else f"{a}.q_b_proj.weight"
        ]
        if query_rank is not None:
            ours[f"{p}.query_latent.down.weight"] = theirs[f"{a}.q_a_proj.weight"]
            ours[f"{p}.query_latent.norm.gain"] = theirs[f"{a}.q_a_layernorm.weight"]
        down = theirs[f"{a}.kv_a_proj_with_mqa.weight"]
        ours[f"{p}.latent.down.weight"], ours[f"{p}.turning_k.weight"] = down[:rank], down[rank:]
        ours[f"{p}.latent.norm.gain"] = theirs[f"{a}.kv_a_layernorm.weight"]
        up = theirs[f"{a}.kv_b_proj.weight"].unflatten(0, (HEADS, stays + value_dim))
        ours[f"{p}.k.weight"] = up[:, :stays].flatten(0, 1)
        ours[f"{p}.v.weight"] = up[:, stays:].flatten(0, 1)
    return ours


def compressed(query_rank: int | None, **changes: Any) -> BackboneConfig:
    rank, stays, turns, value_dim = SHAPES.values()
    latent = Latent(
        rank=rank, nope_dim=stays, rope_dim=turns, value_dim=value_dim, query_rank=query_rank
    )
    return BackboneConfig(
        vocab_size=VOCAB,
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        n_kv_heads=HEADS,
        d_ffn=WIDE,
        latent=latent,
        rope_layout="interleaved",
        tie_embeddings=False,
    ).replace(**changes)


@torch.no_grad()
@pytest.mark.parametrize("query_rank", [None, 20])
@pytest.mark.parametrize(
    ("family", "layout", "changes"),
    [
        ("v2", "interleaved", {}),
        ("v3", "interleaved", {"rope_interleave": True}),
        ("v3", "half", {"rope_interleave": False}),
    ],
)
def test_deepseek(
    family: str, layout: str, changes: dict[str, bool], query_rank: int | None
) -> None:
    """In one pass (expanded), and token by token (absorbed)."""
    reference, ids = deepseek(family, query_rank, **changes), torch.randint(VOCAB, (3, 29))
    weights = deepseek_weights(scaled_up(reference), query_rank)
    model = loaded(compressed(query_rank, rope_layout=layout), weights)
    theirs = reference(ids).logits
    assert theirs.abs().max() > 2
    torch.testing.assert_close(model(ids), theirs, rtol=0, atol=TOLERANCE)
    caches = model.new_caches()
    decoded = torch.cat([model(ids[:, i : i + 1], caches) for i in range(ids.shape[1])], 1)
    torch.testing.assert_close(decoded, theirs, rtol=0, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"rope_layout": "half"}, {"norm_eps": 1e-3}])
def test_planted_differences_from_deepseek_show(changes: dict[str, Any]) -> None:
    reference, ids = deepseek("v2", None), torch.randint(VOCAB, (3, 29))
    model = loaded(compressed(None, **changes), deepseek_weights(scaled_up(reference), None))
    assert (model(ids) - reference(ids).logits).abs().max() > 3 * TOLERANCE
