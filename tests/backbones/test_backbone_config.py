"""The record itself: round trip, replacement, and every refusal by its message."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from variants import VARIANTS

from backbones.config import BackboneConfig, Latent
from backbones.errors import UsageError
from backbones.model import LanguageModel
from backbones.presets import LATENT, LLAMA, MLA, PRESETS, Sizes, preset, sized
from backbones.recipe import GroupRule, TrainRecipe

every = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())


@every
def test_a_config_survives_json(config: BackboneConfig) -> None:
    assert BackboneConfig.from_json(config.to_json()) == config


def test_a_config_that_lost_a_field_is_another_config() -> None:
    """The planted mistake of the round trip: a field with a default that is not written out."""
    written = LLAMA.replace(rope_base=5e5).model_dump(exclude={"rope_base"})
    assert BackboneConfig.model_validate(written) != LLAMA.replace(rope_base=5e5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 64, "n_heads": 6}, "d_model=64 is not a multiple of n_heads=6"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads=4 is not a multiple of n_kv_heads=3"),
        (
            {"d_model": 36, "n_heads": 4},
            "rope turns pairs: d_model/n_heads=9 is odd, an even width is wanted",
        ),
        (
            {"positions": "sinusoidal", "d_model": 9, "n_heads": 1, "n_kv_heads": 1},
            "sinusoids come in pairs: d_model=9 is odd, an even width is wanted",
        ),
        (
            {"positions": "learned"},
            "positions='learned' has max_positions=None, a number of positions is wanted",
        ),
        (
            {"max_positions": 64},
            "max_positions=64 belongs to positions='learned', "
            "not to positions='rope': None is wanted",
        ),
        (
            {"ffn": "gelu", "ffn_rank_in": 8},
            "ffn_rank_in=8 belongs to ffn='swiglu', not to ffn='gelu': None is wanted",
        ),
        (
            {"ffn": "relu2", "ffn_rank_out": 8},
            "ffn_rank_out=8 belongs to ffn='swiglu', not to ffn='relu2': None is wanted",
        ),
        (
            {"positions": "none", "rope_base": 5e5},
            "rope_base=500000.0 belongs to positions='rope', "
            "not to positions='none': 10000.0 is wanted",
        ),
        ({"short_conv": {"taps": 1}}, "greater than or equal to 2"),
        (
            {"scheme": "ngpt", "bias": True},
            "bias=True belongs to scheme='pre_norm', not to scheme='ngpt': False is wanted",
        ),
        (
            {"scheme": "ngpt_simple", "embedding_scale": "sqrt_d"},
            "embedding_scale='sqrt_d' belongs to scheme='pre_norm', "
            "not to scheme='ngpt_simple': 'none' is wanted",
        ),
        ({"latent": MLA.latent, "bias": True}, "bias=True belongs to latent=None, not to latent="),
        (
            {"latent": MLA.latent, "positions": "sinusoidal"},
            "belongs to positions='rope', not to positions='sinusoidal': None is wanted",
        ),
        (
            {"latent": LATENT.replace(rope_dim=15)},
            "rope turns pairs: latent.rope_dim=15 is odd, an even width is wanted",
        ),
        ({"latent": {"rank": 8}}, "latent.nope_dim\n  Field required"),
        (
            {"integral": "prefix"},
            "integral='prefix' belongs to contrast='v1' or 'v2', "
            "not to contrast='none': 'none' is wanted",
        ),
        (
            {"qk_norm": "split"},
            "qk_norm='split' belongs to contrast='v1' or 'v2', "
            "not to contrast='none': 'none' is wanted",
        ),
        (
            {"contrast": "v1", "n_kv_heads": 1},
            "contrast='v1' pairs heads: n_kv_heads=1 is odd, an even number is wanted",
        ),
        (
            {"positions": "sinusoidal", "rope_layout": "interleaved"},
            "rope_layout='interleaved' belongs to positions='rope', "
            "not to positions='sinusoidal': 'half' is wanted",
        ),
        ({"dropout": 1.0}, "dropout\n  Input should be less than 1"),
        ({"d_ffn": 0}, "d_ffn\n  Input should be greater than 0"),
        ({"norm": "batch"}, "norm\n  Input should be 'rms' or 'layer'"),
        ({"rope_base": float("nan")}, "rope_base\n  Input should be"),
        ({"n_embd": 64}, "n_embd\n  Extra inputs are not permitted"),
    ],
)
def test_a_config_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LLAMA.replace(**changes)
    assert message in str(caught.value)


def test_a_config_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        LLAMA.d_model = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": 10}, "warmup=10 leaves nothing of steps=10"),
        ({"lr": 1e-3, "min_lr": 1e-2}, "min_lr=0.01 is above lr=0.001"),
        (
            {"groups": (GroupRule(prefix="head."), GroupRule(prefix="head."))},
            "groups name the prefix 'head.' twice, once is wanted",
        ),
        ({"ema": 1.0}, "ema\n  Input should be less than 1"),
    ],
)
def test_a_recipe_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainRecipe(steps=10, **changes)
    assert message in str(caught.value)


def test_a_preset_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as near:
        preset("lama")
    assert str(near.value) == "preset 'lama' does not exist: did you mean 'llama'?"
    with pytest.raises(UsageError) as far:
        preset("rwkv")
    assert str(far.value) == (
        "preset 'rwkv' does not exist: there are classic, llama, llama_gqa, llama_qk_norm, "
        "llama_conv, llama_conv_relu2, diff_v1, diff_v2, dint_v1, dint_v2, dint_v1_pair2, ngpt, "
        "ngpt_simple, mla, mla_query_latent, dint_ngpt, dint_ngpt_standard, dint_ngpt_no_qk_norm, "
        "dint_ngpt_mla, swiglu_low_rank"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_keep_the_axes(name: str) -> None:
    sizes = Sizes(vocab_size=65, context=256, d_model=384, n_layers=6, n_heads=6)
    config = sized(PRESETS[name], sizes)
    assert (config.vocab_size, config.d_model, config.n_layers) == (65, 384, 6)
    wide = {"classic": 1536, "llama_conv_relu2": 1536, "swiglu_low_rank": 2472}
    assert config.d_ffn == wide.get(name, 1024)
    assert config.max_positions == (256 if config.positions == "learned" else None)
    halved = {"llama_gqa", "diff_v2", "dint_v1_pair2"}
    assert config.n_kv_heads == (3 if name in halved else 6)
    axes = {"scheme", "contrast", "integral", "qk_norm", "norm", "ffn", "positions", "short_conv"}
    assert config.model_dump(include=axes) == PRESETS[name].model_dump(include=axes)


def test_narrow_parts_keep_their_share() -> None:
    sizes = Sizes(vocab_size=65, context=256, d_model=384, n_layers=6, n_heads=6)
    latent = sized(PRESETS["mla_query_latent"], sizes).latent
    assert latent == Latent(rank=144, query_rank=192, nope_dim=32, rope_dim=32, value_dim=64)
    narrow = sized(PRESETS["swiglu_low_rank"], sizes)
    assert (narrow.ffn_rank_in, narrow.ffn_rank_out) == (144, 144)


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 10_646_784),
        ({"n_kv_heads": 2, "d_ffn": 1195}, 10_649_088),
        ({"contrast": "v1"}, 10_649_088),
        ({"contrast": "v1", "integral": "prefix"}, 10_649_088),
        ({"contrast": "v2", "d_ffn": 894}, 10_646_784),
        ({"contrast": "v2", "n_kv_heads": 3, "d_ffn": 1022}, 10_646_784),
        (
            {
                "latent": Latent(rank=128, nope_dim=32, rope_dim=32, value_dim=64),
                "d_ffn": 1163,
            },
            10_649_856,
        ),
        (
            {"scheme": "ngpt", "qk_norm": "standard", "tie_embeddings": False, "d_ffn": 1018},
            10_644_473,
        ),
    ],
)
def test_parameters_of_published_blocks(changes: dict[str, Any], total: int) -> None:
    """Six layers of width 384 with 65 tokens, counted from the published equations."""
    sizes = Sizes(vocab_size=65, context=256, d_model=384, n_layers=6, n_heads=6)
    with torch.device("meta"):
        model = LanguageModel(sized(LLAMA, sizes).replace(**changes))
    assert sum(p.numel() for p in model.parameters()) == total
