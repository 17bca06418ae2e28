"""The configurations that the laws run over: every preset, and a cover of all pairs of values."""

import itertools
from typing import Any

from backbones.config import BackboneConfig
from backbones.presets import PRESETS, Sizes, sized

VOCAB, CONTEXT = 11, 16
SIZES = Sizes(vocab_size=VOCAB, context=CONTEXT, d_model=32, n_layers=2, n_heads=4)
SMALL_PRESETS = {name: sized(config, SIZES) for name, config in PRESETS.items()}

Choice = tuple[str, dict[str, Any]]
AXES: dict[str, list[Choice]] = {
    "positions": [
        ("half", {"positions": "rope", "rope_layout": "half"}),
        ("interleaved", {"positions": "rope", "rope_layout": "interleaved"}),
        ("learned", {"positions": "learned", "max_positions": CONTEXT}),
        ("sinusoidal", {"positions": "sinusoidal"}),
    ],
    "groups": [(f"kv{n}", {"n_kv_heads": n}) for n in (4, 2, 1)],
    "embedding_scale": [(s, {"embedding_scale": s}) for s in ("none", "sqrt_d", "inv_sqrt_d")],
    "qk_norm": [(f"qk_{n}", {"qk_norm": n}) for n in ("none", "rms")],
    "norm": [(n, {"norm": n}) for n in ("rms", "layer")],
    "ffn": [(f, {"ffn": f}) for f in ("gelu", "swiglu")],
    "bias": [(f"bias_{b}", {"bias": b}) for b in (False, True)],
    "tie": [(f"tie_{b}", {"tie_embeddings": b}) for b in (False, True)],
    "dropout": [(f"drop_{p}", {"dropout": p}) for p in (0.0, 0.1)],
}


def pairs(row: tuple[Choice, ...]) -> set[tuple[str, str]]:
    """The pairs of axis values that a row meets."""
    return set(itertools.combinations((name for name, _ in row), 2))


def cover() -> list[tuple[Choice, ...]]:
    """Rows of choices, one an axis, that meet every pair: greedy, and the same at each call."""
    rows = list(itertools.product(*AXES.values()))
    missing = set().union(*map(pairs, rows))
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(pairs(row) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def build(row: tuple[Choice, ...]) -> BackboneConfig:
    fields = {"vocab_size": VOCAB, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_ffn": 48}
    for _, changes in row:
        fields |= changes
    return BackboneConfig.model_validate(fields)


COVER = {"-".join(name for name, _ in row): build(row) for row in cover()}
VARIANTS = SMALL_PRESETS | COVER
