"""Named configurations, each a change of another one, and how they are given their sizes.

A preset is a choice of axes. Its own sizes are small (0.8 M parameters besides the tables) and it
has no vocabulary: `sized` gives it the sizes of a use.
"""

import difflib

from pydantic import PositiveInt

from .config import BackboneConfig, Record
from .errors import UsageError

LLAMA = BackboneConfig()
"""RoPE, RMSNorm, SwiGLU, no biases (Touvron et al. 2023).

Departure: the head is tied, which at these sizes is the better use of parameters.
"""

LLAMA_GQA = LLAMA.replace(n_kv_heads=2)
"""Half as many key/value heads (Ainslie et al. 2023; LLaMA 2 at 34B and above)."""

LLAMA_QK_NORM = LLAMA.replace(qk_norm="rms")
"""RMSNorm on queries and keys before they turn (Qwen3): the strong plain baseline."""

CLASSIC = LLAMA.replace(
    positions="learned", max_positions=64, norm="layer", ffn="gelu", d_ffn=512, bias=True
)
"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, GELU, biases, a tied head."""

PRESETS: dict[str, BackboneConfig] = {
    "classic": CLASSIC,
    "llama": LLAMA,
    "llama_gqa": LLAMA_GQA,
    "llama_qk_norm": LLAMA_QK_NORM,
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

    d_ffn is 4 d_model for GELU and 8/3 d_model, up to a multiple of 8, for SwiGLU, whose third
    matrix makes that the same count of parameters.
    """
    wide = 4 * sizes.d_model if config.ffn == "gelu" else 8 * -(-sizes.d_model // 3)
    return config.replace(
        **sizes.model_dump(exclude={"context"}),
        n_kv_heads=sizes.n_heads * config.n_kv_heads // config.n_heads,
        d_ffn=wide,
        max_positions=sizes.context if config.positions == "learned" else None,
    )
