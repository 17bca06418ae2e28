"""The configurations that the laws run over: every preset, a cover of all pairs of values, a grid.

Not every pair can be built (a prefix mean without a second map, a bias on the sphere): the cover
meets those that can.
"""

import functools
import itertools
import random
from typing import Any

from pydantic import ValidationError

from backbones.config import BackboneConfig
from backbones.presets import PRESETS, Sizes, sized

VOCAB, CONTEXT = 11, 16
SIZES = Sizes(vocab_size=VOCAB, context=CONTEXT, d_model=32, n_layers=2, n_heads=4)
SMALL_PRESETS = {name: sized(config, SIZES) for name, config in PRESETS.items()}
LATENT = {"rank": 12, "nope_dim": 6, "rope_dim": 4, "value_dim": 8}

Choice = tuple[str, dict[str, Any]]
AXES: dict[str, list[Choice]] = {
    "scheme": [(s, {"scheme": s}) for s in ("pre_norm", "ngpt", "ngpt_simple")],
    "rule": [
        ("softmax", {"contrast": "none", "integral": "none"}),
        *(
            (f"{contrast}_{integral}", {"contrast": contrast, "integral": integral})
            for contrast in ("v1", "v2")
            for integral in ("none", "prefix", "visible")
        ),
    ],
    "projection": [
        ("full", {"latent": None}),
        ("latent", {"latent": LATENT}),
        ("latents", {"latent": LATENT | {"query_rank": 20}}),
    ],
    "qk_norm": [(f"qk_{n}", {"qk_norm": n}) for n in ("none", "rms", "standard", "split")],
    "positions": [
        ("half", {"positions": "rope", "rope_layout": "half"}),
        ("interleaved", {"positions": "rope", "rope_layout": "interleaved"}),
        ("learned", {"positions": "learned", "max_positions": CONTEXT}),
        ("sinusoidal", {"positions": "sinusoidal"}),
        ("unplaced", {"positions": "none"}),
    ],
    "groups": [(f"kv{n}", {"n_kv_heads": n}) for n in (4, 2, 1)],
    "embedding_scale": [(s, {"embedding_scale": s}) for s in ("none", "sqrt_d", "inv_sqrt_d")],
    "norm": [(n, {"norm": n}) for n in ("rms", "layer")],
    "ffn": [
        ("gelu", {"ffn": "gelu"}),
        ("relu2", {"ffn": "relu2"}),
        ("swiglu", {"ffn": "swiglu"}),
        ("narrow_in", {"ffn_rank_in": 12}),
        ("narrow_out", {"ffn_rank_out": 12}),
        ("narrow_both", {"ffn_rank_in": 12, "ffn_rank_out": 10}),
    ],
    "short_conv": [
        ("conv_none", {"short_conv": None}),
        ("conv_attention", {"short_conv": {"before": "attention"}}),
        ("conv_both", {"short_conv": {"before": "both", "taps": 3}}),
    ],
    "bias": [(f"bias_{b}", {"bias": b}) for b in (False, True)],
    "tie": [(f"tie_{b}", {"tie_embeddings": b}) for b in (False, True)],
    "dropout": [(f"drop_{p}", {"dropout": p}) for p in (0.0, 0.1)],
}
GRID_AXES = ("scheme", "rule", "projection", "qk_norm", "groups")
Row = tuple[Choice, ...]
TRIES = 1500  # completions drawn for each row of the cover; few can be built


def build(row: Row) -> BackboneConfig | None:
    """The config of a row of choices, or None where it is refused."""
    fields: dict[str, Any] = {"vocab_size": VOCAB, "d_model": 32, "n_layers": 2, "n_heads": 4}
    for _, changes in row:
        fields |= changes
    try:
        return BackboneConfig.model_validate({"d_ffn": 48} | fields)
    except ValidationError:
        return None


def pairs(row: Row) -> set[tuple[str, str]]:
    """The pairs of axis values that a row meets."""
    return set(itertools.combinations((name for name, _ in row), 2))


@functools.cache
def can_be_built() -> list[tuple[Choice, Choice]]:
    """All pairs of values of two axes that can be built with the first values of all others."""
    return [
        (one, other)
        for axis, values in itertools.combinations(AXES.values(), 2)
        for one, other in itertools.product(axis, values)
        if build((one, other)) or build((*CONTEXT_OF_A_PAIR, one, other))
    ]


CONTEXT_OF_A_PAIR: Row = (("paired", {"contrast": "v2"}),)  # what split and the integrals need


def completed(start: tuple[Choice, Choice], draw: random.Random) -> Row | None:
    """A row with these two choices and others at random, one an axis, if it can be built."""
    row = tuple(
        next((c for c in start if c in choices), None) or draw.choice(choices)
        for choices in AXES.values()
    )
    return row if build(row) else None


def cover() -> list[Row]:
    """Rows of choices that meet every pair that can be built; the same at each call."""
    draw, chosen = random.Random(0), []
    missing = {(one[0], other[0]): (one, other) for one, other in can_be_built()}
    while missing:
        start = next(iter(missing.values()))
        found = [row for _ in range(TRIES) if (row := completed(start, draw))]
        if not found:
            continue
        chosen.append(max(found, key=lambda row: len(pairs(row) & missing.keys())))
        for met in pairs(chosen[-1]):
            missing.pop(met, None)
    return chosen


def named(rows: list[Row]) -> dict[str, BackboneConfig]:
    """The rows that can be built, by the names of their choices."""
    return {"-".join(name for name, _ in row): config for row in rows if (config := build(row))}


def grid() -> dict[str, BackboneConfig]:
    """The full product of the axes that meet in attention."""
    return named(list(itertools.product(*(AXES[axis] for axis in GRID_AXES))))


COVER = named(cover())
VARIANTS = SMALL_PRESETS | COVER
