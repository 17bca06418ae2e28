"""Equal to the public references to rounding error: transformers' LLaMA and GPT-2."""

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from backbones.config import BackboneConfig
from backbones.model import LanguageModel

VOCAB, WIDTH, LAYERS, HEADS, WIDE = 61, 48, 3, 6, 72
TOLERANCE = 1e-5  # float32, on logits of size ten
LLAMA = BackboneConfig(
    vocab_size=VOCAB,
    d_model=WIDTH,
    n_layers=LAYERS,
    n_heads=HEADS,
    n_kv_heads=2,
    d_ffn=WIDE,
    tie_embeddings=False,
)
GPT2 = BackboneConfig(
    vocab_size=VOCAB,
    d_model=WIDTH,
    n_layers=LAYERS,
    n_heads=HEADS,
    n_kv_heads=HEADS,
    d_ffn=WIDE,
    positions="learned",
    max_positions=32,
    norm="layer",
    ffn="gelu",
    bias=True,
)
LLAMA_NAMES = {
    "attention.projection.q.weight": "self_attn.q_proj.weight",
    "attention.projection.k.weight": "self_attn.k_proj.weight",
    "attention.projection.v.weight": "self_attn.v_proj.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "join_attention.norm.gain": "input_layernorm.weight",
    "ffn.gate.weight": "mlp.gate_proj.weight",
    "ffn.up.weight": "mlp.up_proj.weight",
    "ffn.down.weight": "mlp.down_proj.weight",
    "join_ffn.norm.gain": "post_attention_layernorm.weight",
}
GPT2_NAMES = {
    "attention.out.weight": "attn.c_proj.weight",
    "attention.out.bias": "attn.c_proj.bias",
    "join_attention.norm.gain": "ln_1.weight",
    "join_attention.norm.bias": "ln_1.bias",
    "ffn.up.weight": "mlp.c_fc.weight",
    "ffn.up.bias": "mlp.c_fc.bias",
    "ffn.down.weight": "mlp.c_proj.weight",
    "ffn.down.bias": "mlp.c_proj.bias",
    "join_ffn.norm.gain": "ln_2.weight",
    "join_ffn.norm.bias": "ln_2.bias",
}


@torch.no_grad()
def scaled_up(reference: nn.Module) -> dict[str, Tensor]:
    """Weights times five, vectors off their 0 and 1: the default N(0, 0.02) hides errors."""
    for parameter in reference.parameters():
        if parameter.ndim > 1:
            parameter.mul_(5.0)
        else:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return reference.state_dict()


def llama_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {
        "backbone.entry.tokens.weight": theirs["model.embed_tokens.weight"],
        "backbone.exit.gain": theirs["model.norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    for i in range(LAYERS):
        for mine, name in LLAMA_NAMES.items():
            ours[f"backbone.blocks.{i}.{mine}"] = theirs[f"model.layers.{i}.{name}"]
    return ours


def gpt2_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Its Conv1D stores [in, out], and q, k, v side by side."""
    ours = {
        "backbone.entry.tokens.weight": theirs["transformer.wte.weight"],
        "backbone.entry.positions.table.weight": theirs["transformer.wpe.weight"],
        "backbone.exit.gain": theirs["transformer.ln_f.weight"],
        "backbone.exit.bias": theirs["transformer.ln_f.bias"],
    }
    for i in range(LAYERS):
        here, there = f"backbone.blocks.{i}", f"transformer.h.{i}"
        for mine, name in GPT2_NAMES.items():
            ours[f"{here}.{mine}"] = turned(theirs[f"{there}.{name}"])
        for kind in ("weight", "bias"):
            fused = turned(theirs[f"{there}.attn.c_attn.{kind}"]).chunk(3)
            for letter, part in zip("qkv", fused, strict=True):
                ours[f"{here}.attention.projection.{letter}.{kind}"] = part
    return ours


def turned(tensor: Tensor) -> Tensor:
    return tensor.mT if tensor.ndim == 2 else tensor


def loaded(config: BackboneConfig, weights: dict[str, Tensor]) -> LanguageModel:
    model = LanguageModel(config).eval()
    model.load_state_dict(weights)
    return model


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(VOCAB, (3, 29))


@pytest.fixture
def llama() -> nn.Module:
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@torch.no_grad()
def test_llama_with_grouped_keys(llama: nn.Module, ids: Tensor) -> None:
    model = loaded(LLAMA, llama_weights(scaled_up(llama)))
    theirs = llama(ids).logits
    assert theirs.abs().max() > 3
    torch.testing.assert_close(model(ids), theirs, rtol=0, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{"rope_layout": "interleaved"}, {"norm_eps": 1e-3}, {"rope_base": 1e3}]
)
def test_planted_differences_from_llama_show(
    llama: nn.Module, ids: Tensor, changes: dict[str, str | float]
) -> None:
    model = loaded(LLAMA.replace(**changes), llama_weights(scaled_up(llama)))
    assert (model(ids) - llama(ids).logits).abs().max() > 10 * TOLERANCE


@torch.no_grad()
def test_interleaved_layout_is_a_permutation_of_half(llama: nn.Module, ids: Tensor) -> None:
    """New row 2i of each head is old row i, new row 2i+1 is old row i + d/2."""
    weights = llama_weights(scaled_up(llama))
    for name in [n for n in weights if n.endswith((".q.weight", ".k.weight"))]:
        heads = weights[name].unflatten(0, (-1, 2, WIDTH // HEADS // 2))  # [H, half, i, C]
        weights[name] = heads.transpose(1, 2).flatten(0, 2)
    model = loaded(LLAMA.replace(rope_layout="interleaved"), weights)
    torch.testing.assert_close(model(ids), llama(ids).logits, rtol=0, atol=TOLERANCE)


def gpt2(**changes: str | float) -> nn.Module:
    config = GPT2Config(
        vocab_size=VOCAB,
        n_embd=WIDTH,
        n_inner=WIDE,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    )
    config.update(changes)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@torch.no_grad()
def test_gpt2(ids: Tensor) -> None:
    reference = gpt2()
    model = loaded(GPT2, gpt2_weights(scaled_up(reference)))
    theirs = reference(ids).logits
    assert theirs.abs().max() > 2
    torch.testing.assert_close(model(ids), theirs, rtol=0, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"activation_function": "gelu"}, {"layer_norm_epsilon": 1e-3}])
def test_planted_differences_from_gpt2_show(ids: Tensor, changes: dict[str, str | float]) -> None:
    reference = gpt2(**changes)
    model = loaded(GPT2, gpt2_weights(scaled_up(reference)))
    assert (model(ids) - reference(ids).logits).abs().max() > 3 * TOLERANCE
