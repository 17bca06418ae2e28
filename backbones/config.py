"""What a backbone is: one frozen record, checked when it is made. It builds nothing.

Sizes first, then one field per axis of variation; every combination that passes the checks is a
model.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Record(BaseModel):
    """A frozen, closed record: an unknown field is refused, and so is assignment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """The same record with these fields changed, and checked, as model_copy would not."""
        return type(self).model_validate(self.model_dump() | changes)

    def to_json(self) -> str:
        """The record as JSON, every field written out."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote."""
        return cls.model_validate_json(text)


class BackboneConfig(Record):
    """Sizes and axes of a decoder-only transformer.

    Invalid combinations raise pydantic's ValueError.
    """

    vocab_size: PositiveInt | None = None  # None: the backbone is fed embeddings, never ids
    d_model: PositiveInt = 128
    n_layers: PositiveInt = 4
    n_heads: PositiveInt = 4
    n_kv_heads: PositiveInt = 4
    d_ffn: PositiveInt = 344

    positions: Literal["rope", "learned", "sinusoidal"] = "rope"
    rope_base: PositiveFloat = 10_000.0  # LLaMA 1 and 2; 500 000 in LLaMA 3
    rope_layout: Literal["half", "interleaved"] = "half"
    max_positions: PositiveInt | None = None  # rows of the learned table, and the context it allows
    qk_norm: Literal["none", "rms"] = "none"
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: PositiveFloat = 1e-5
    ffn: Literal["gelu", "swiglu"] = "swiglu"
    bias: bool = False  # in linear maps and layer norms; RMSNorm and the head have none
    tie_embeddings: bool = True
    embedding_scale: Literal["none", "sqrt_d", "inv_sqrt_d"] = "none"
    dropout: Fraction = 0.0  # on the embeddings and on each branch, never on attention weights
    init_std: PositiveFloat = 0.02

    @property
    def head_dim(self) -> int:
        """Width of one query."""
        return self.d_model // self.n_heads

    @model_validator(mode="after")
    def _refuse_unbuildable_heads(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}"
            )
        return self

    @model_validator(mode="after")
    def _refuse_unbuildable_positions(self) -> Self:
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(
                f"rope turns pairs: d_model/n_heads={self.head_dim} is odd, an even width is wanted"
            )
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(
                f"sinusoids come in pairs: d_model={self.d_model} is odd, an even width is wanted"
            )
        if self.positions == "learned" and self.max_positions is None:
            raise ValueError(
                "positions='learned' has max_positions=None, a number of positions is wanted"
            )
        if self.positions != "learned" and self.max_positions is not None:
            raise ValueError(
                f"max_positions={self.max_positions} belongs to positions='learned', "
                f"not to positions={self.positions!r}: None is wanted"
            )
        return self

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> Self:
        for name in ("rope_base", "rope_layout"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if self.positions != "rope" and value != default:
                raise ValueError(
                    f"{name}={value!r} belongs to positions='rope', "
                    f"not to positions={self.positions!r}: {default!r} is wanted"
                )
        return self
