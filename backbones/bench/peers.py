"""What others' models of the same shape cost: a whole step of training, the optimiser the same.

B batch   T positions   C model width   H heads
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..config import BackboneConfig
from ..embedding import vocabulary
from ..errors import UsageError
from ..model import LanguageModel
from .cases import Case, Check, Scale, Way
from .models import model_config, training_way_of

EQUAL = Check(of="outputs", limit=1e-4)
LLAMA_NAMES = {
    "self_attn.q_proj.weight": "attention.projection.q.weight",
    "self_attn.k_proj.weight": "attention.projection.k.weight",
    "self_attn.v_proj.weight": "attention.projection.v.weight",
    "self_attn.o_proj.weight": "attention.out.weight",
    "input_layernorm.weight": "join_attention.norm.gain",
    "mlp.gate_proj.weight": "ffn.gate.weight",
    "mlp.up_proj.weight": "ffn.up.weight",
    "mlp.down_proj.weight": "ffn.down.weight",
    "post_attention_layernorm.weight": "join_ffn.norm.gain",
}


def transformers_cases(scale: Scale) -> list[Case]:
    """`llama` and transformers' LlamaForCausalLM with the same weights."""

    def build(scale: Scale) -> list[Way]:
        config = model_config("llama", scale)
        torch.manual_seed(0)
        ours = LanguageModel(config)
        theirs = transformers_llama(ours, scale.context)
        return [
            training_way_of("transformers", theirs, logits_of(theirs), scale),
            training_way_of("ours", ours, ours, scale),
        ]

    return [
        Case(label=each.shape, build=lambda each=each: build(each), check=EQUAL)
        for each in scale.shapes()
    ]


def logits_of(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Ids [B, T] -> logits [B, T, V] of a transformers model."""
    return lambda ids: model(input_ids=ids, use_cache=False).logits


def transformers_llama(ours: LanguageModel, context: int) -> nn.Module:
    """Theirs with our weights; UsageError where transformers is not installed."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as absent:
        raise UsageError(
            "bench llama-transformers wants transformers, which is not installed: "
            "pip install -e '.[test]'"
        ) from absent
    config = ours.config
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary(config),
            hidden_size=config.d_model,
            intermediate_size=config.d_ffn,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads,
            max_position_embeddings=context,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tie_embeddings,
        )
    )
    state = ours.state_dict()
    given = {
        "model.embed_tokens.weight": state["backbone.entry.tokens.weight"],
        "model.norm.weight": state["backbone.exit.gain"],
        "lm_head.weight": state["backbone.entry.tokens.weight"],
    }
    for i in range(config.n_layers):
        for name, mine in LLAMA_NAMES.items():
            given[f"model.layers.{i}.{name}"] = state[f"backbone.blocks.{i}.{mine}"]
    theirs.load_state_dict(given)
    return theirs


def nanogpt_cases(scale: Scale) -> list[Case]:
    """`classic` and a block written as plainly as nanoGPT's, with either form of GELU.

    Its own GELU is the exact one, which costs torch less; then the two are of one size, and the
    function is nearly the same.
    """

    def build(scale: Scale, approximate: str) -> list[Way]:
        config = model_config("classic", scale)
        torch.manual_seed(0)
        ours = LanguageModel(config)
        theirs = PlainGpt(config, approximate)
        theirs.take(ours)
        return [
            training_way_of("plain", theirs, theirs, scale),
            training_way_of("ours", ours, ours, scale),
        ]

    same = Check(of="parameters")
    return [
        Case(
            label=f"{each.shape}, {gelu} GELU",
            build=lambda each=each, how=how: build(each, how),
            check=check,
        )
        for each in scale.shapes()
        for gelu, how, check in (("tanh", "tanh", EQUAL), ("exact", "none", same))
    ]


class PlainBlock(nn.Module):
    """A pre-norm block: one product for q, k and v, and torch's fused attention."""

    def __init__(self, config: BackboneConfig, approximate: str) -> None:
        super().__init__()
        c, bias, eps = config.d_model, config.bias, config.norm_eps
        self.heads = config.n_heads
        self.norm_1, self.norm_2 = (nn.LayerNorm(c, eps=eps, bias=bias) for _ in range(2))
        self.qkv, self.out = nn.Linear(c, 3 * c, bias=bias), nn.Linear(c, c, bias=bias)
        self.up, self.down = nn.Linear(c, 4 * c, bias=bias), nn.Linear(4 * c, c, bias=bias)
        self.gelu = nn.GELU(approximate=approximate)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        reads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(reads.transpose(1, 2).flatten(-2))
        return x + self.down(self.gelu(self.up(self.norm_2(x))))


class PlainGpt(nn.Module):
    """Tables, blocks, a norm, and the token table again."""

    def __init__(self, config: BackboneConfig, approximate: str) -> None:
        super().__init__()
        c = config.d_model
        self.tokens = nn.Embedding(vocabulary(config), c)
        self.places = nn.Embedding(config.max_positions or 1, c)
        blocks = (PlainBlock(config, approximate) for _ in range(config.n_layers))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(c, eps=config.norm_eps, bias=config.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, T] -> logits [B, T, V]."""
        x = self.tokens(ids) + self.places.weight[: ids.shape[-1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)

    @torch.no_grad()
    def take(self, ours: LanguageModel) -> None:
        """Every weight of ours, whose order is that of the names here."""
        theirs = self.state_dict()
        for name, value in plain_state(ours.state_dict(), len(self.blocks)).items():
            theirs[name].copy_(value)


def plain_state(state: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """The state of `classic` under the names of PlainGpt."""
    given = {
        "tokens.weight": state["backbone.entry.tokens.weight"],
        "places.weight": state["backbone.entry.positions.table.weight"],
        "norm.weight": state["backbone.exit.gain"],
        "norm.bias": state["backbone.exit.bias"],
    }
    for i in range(n_layers):
        here, there = f"blocks.{i}", f"backbone.blocks.{i}"
        for kind, norm in (("weight", "gain"), ("bias", "bias")):
            qkv = [state[f"{there}.attention.projection.{x}.{kind}"] for x in "qkv"]
            given[f"{here}.qkv.{kind}"] = torch.cat(qkv)
            given[f"{here}.out.{kind}"] = state[f"{there}.attention.out.{kind}"]
            given[f"{here}.up.{kind}"] = state[f"{there}.ffn.up.{kind}"]
            given[f"{here}.down.{kind}"] = state[f"{there}.ffn.down.{kind}"]
            given[f"{here}.norm_1.{kind}"] = state[f"{there}.join_attention.norm.{norm}"]
            given[f"{here}.norm_2.{kind}"] = state[f"{there}.join_ffn.norm.{norm}"]
    return given
