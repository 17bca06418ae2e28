"""The record itself: round trip, replacement, and every refusal by its message."""

from typing import Any

import pytest
from pydantic import ValidationError
from variants import VARIANTS

from backbones.config import BackboneConfig
from backbones.errors import UsageError
from backbones.presets import LLAMA, PRESETS, Sizes, preset, sized
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
        "preset 'rwkv' does not exist: there are classic, llama, llama_gqa, llama_qk_norm"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_keep_the_axes(name: str) -> None:
    sizes = Sizes(vocab_size=65, context=256, d_model=384, n_layers=6, n_heads=6)
    config = sized(PRESETS[name], sizes)
    assert (config.vocab_size, config.d_model, config.n_layers) == (65, 384, 6)
    assert config.d_ffn == (1536 if config.ffn == "gelu" else 1024)
    assert config.max_positions == (256 if config.positions == "learned" else None)
    assert config.n_kv_heads == (3 if name == "llama_gqa" else 6)
    assert config.norm == PRESETS[name].norm
