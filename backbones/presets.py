"""Named configurations, each a change of another one, and how they are given their sizes.

A preset is a choice of axes. Its own sizes are small (0.8 M parameters besides the tables) and it
has no vocabulary: `sized` gives it the sizes of a use.
"""

import difflib
from fractions import Fraction

from pydantic import PositiveInt

from .config import BackboneConfig, Latent, Record, ShortConv
from .errors import UsageError

LLAMA = BackboneConfig()
"""RoPE, RMSNorm, SwiGLU, no biases (Touvron et al. 2023).

Departure: the head is tied, which at these sizes is the better use of parameters.
"""

LLAMA_GQA = LLAMA.replace(n_kv_heads=2)
"""Half as many key/value heads (Ainslie et al. 2023; LLaMA 2 at 34B and above)."""

LLAMA_QK_NORM = LLAMA.replace(qk_norm="rms")
"""RMSNorm on queries and keys before they turn (Qwen3): the strong plain baseline."""

LLAMA_CONV = LLAMA_QK_NORM.replace(short_conv=ShortConv())
"""The same, and each channel of what attention reads sees its last three values (ShortConv)."""

LLAMA_CONV_RELU2 = LLAMA_QK_NORM.replace(
    short_conv=ShortConv(before="both"), ffn="relu2", d_ffn=512
)
"""The convolution before both branches, and a squared ReLU (So et al. 2021, Primer)."""

CLASSIC = LLAMA.replace(
    positions="learned", max_positions=64, norm="layer", ffn="gelu", d_ffn=512, bias=True
)
"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, GELU, biases, a tied head."""

DIFF_V1 = LLAMA.replace(contrast="v1")
"""Differential attention (Ye et al. 2024): half the heads, two maps each, the same parameters."""

DIFF_V2 = LLAMA.replace(contrast="v2", n_kv_heads=2)
"""Its second version (Ye et al. 2026); with half the key/value heads, the same parameters."""

DINT_V1 = DIFF_V1.replace(integral="prefix")
"""DIFF plus the first map's mean (Cang et al. 2025), the mean taken over the past alone."""

DINT_V2 = DIFF_V1.replace(integral="visible")
"""The same with each key's mean over the queries that could see it, rows renormalised."""

DINT_V1_PAIR2 = DIFF_V2.replace(integral="prefix")
"""The prefix mean over DIFF V2's pairs."""

NGPT = LLAMA.replace(scheme="ngpt", qk_norm="standard", tie_embeddings=False)
"""Everything on the sphere (Loshchilov et al. 2024). Wants weight_decay=0 and no warm-up."""

NGPT_SIMPLE = NGPT.replace(scheme="ngpt_simple", qk_norm="none")
"""nGPT with one pace a branch, one scale of logits, no other learned scale and no QK norm."""

LATENT = Latent(rank=48, nope_dim=16, rope_dim=16, value_dim=32)
MLA = LLAMA.replace(latent=LATENT)
"""Multi-head latent attention (DeepSeek-AI 2024): 64 cached numbers a token where LLAMA has 256."""

MLA_QUERY_LATENT = MLA.replace(latent=LATENT.replace(query_rank=64))
"""The same with queries read from a narrow vector too, as in the larger DeepSeek models."""

DINT_NGPT = DINT_V1.replace(scheme="ngpt", qk_norm="split", tie_embeddings=False)
"""DINT on the sphere, each map's queries and keys with gains of their own."""

DINT_NGPT_STANDARD = DINT_NGPT.replace(qk_norm="standard")
"""The same with the gains of a pair shared."""

DINT_NGPT_NO_QK_NORM = DINT_NGPT.replace(qk_norm="none")
"""The same with queries and keys of any length."""

DINT_NGPT_MLA = DINT_NGPT.replace(contrast="v2", latent=LATENT)
"""DINT over V2 pairs, which share keys and values, on the sphere, from a latent."""

SWIGLU_LOW_RANK = LLAMA.replace(ffn_rank_in=48, ffn_rank_out=48, d_ffn=832)
"""SwiGLU between narrow ends, wider inside for the same parameters."""

PRESETS: dict[str, BackboneConfig] = {
    "classic": CLASSIC,
    "llama": LLAMA,
    "llama_gqa": LLAMA_GQA,
    "llama_qk_norm": LLAMA_QK_NORM,
    "llama_conv": LLAMA_CONV,
    "llama_conv_relu2": LLAMA_CONV_RELU2,
    "diff_v1": DIFF_V1,
    "diff_v2": DIFF_V2,
    "dint_v1": DINT_V1,
    "dint_v2": DINT_V2,
    "dint_v1_pair2": DINT_V1_PAIR2,
    "ngpt": NGPT,
    "ngpt_simple": NGPT_SIMPLE,
    "mla": MLA,
    "mla_query_latent": MLA_QUERY_LATENT,
    "dint_ngpt": DINT_NGPT,
    "dint_ngpt_standard": DINT_NGPT_STANDARD,
    "dint_ngpt_no_qk_norm": DINT_NGPT_NO_QK_NORM,
    "dint_ngpt_mla": DINT_NGPT_MLA,
    "swiglu_low_rank": SWIGLU_LOW_RANK,
}


class Sizes(Record):
    """What a use decides: the tokens, the context, and how large the model is."""

    vocab_size: PositiveInt | None
    context: PositiveInt
    d_model: PositiveInt
    n_layers: PositiveInt
    n_heads: PositiveInt


def preset(name: str) -> BackboneConfig:
    """The preset of that name; UsageError with the nearest names for another."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise UsageError(f"preset {name!r} does not exist: {hint}")
    return PRESETS[name]


def sized(config: BackboneConfig, sizes: Sizes) -> BackboneConfig:
    """The same axes at other sizes; the share of key/value heads stays as it is.

    d_ffn is 4 d_model for GELU and ReLU^2, and 8/3 d_model, up to a multiple of 8, for SwiGLU,
    whose third matrix makes that the same count of parameters. Narrow parts keep their share of the
    model's or the head's width; a narrow SwiGLU is wider inside, for the parameters of a plain one.
    """
    grown = Fraction(sizes.d_model, config.d_model)
    ranks = config.ffn_rank_in, config.ffn_rank_out
    rank_in, rank_out = (None if rank is None else narrowed(rank, grown) for rank in ranks)
    return config.replace(
        **sizes.model_dump(exclude={"context"}),
        ffn_rank_in=rank_in,
        ffn_rank_out=rank_out,
        n_kv_heads=sizes.n_heads * config.n_kv_heads // config.n_heads,
        d_ffn=wide(config.ffn, sizes.d_model, rank_in, rank_out),
        max_positions=sizes.context if config.positions == "learned" else None,
        latent=resized(config, sizes),
    )


def wide(ffn: str, c: int, rank_in: int | None, rank_out: int | None) -> int:
    """d_ffn at model width c."""
    if ffn != "swiglu":
        return 4 * c
    plain = 8 * -(-c // 3)
    if rank_in is None and rank_out is None:
        return plain
    left = 3 * c * plain - c * ((rank_in or 0) + (rank_out or 0))
    return 8 * max(1, round(left / (2 * (rank_in or c) + (rank_out or c)) / 8))


def resized(config: BackboneConfig, sizes: Sizes) -> Latent | None:
    """The latent's ranks by the model's width, its other widths by the head's."""
    latent, model = config.latent, Fraction(sizes.d_model, config.d_model)
    if latent is None:
        return None
    head = model * Fraction(config.n_heads, sizes.n_heads)
    return Latent(
        rank=narrowed(latent.rank, model),
        query_rank=latent.query_rank and narrowed(latent.query_rank, model),
        nope_dim=narrowed(latent.nope_dim, head),
        rope_dim=narrowed(latent.rope_dim, head),
        value_dim=narrowed(latent.value_dim, head),
    )


def narrowed(width: int, share: Fraction) -> int:
    """A width times a share, to the nearest even number above 0."""
    return 2 * max(1, round(width * share / 2))
