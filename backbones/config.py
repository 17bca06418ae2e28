"""What a backbone is: one frozen record, checked when it is made. It builds nothing.

Sizes first, then one field per axis of variation; every combination that passes the checks is a
model.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Branch = Literal["attention", "ffn"]
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


class Latent(Record):
    """Multi-head latent attention: keys and values are rebuilt from one narrow vector a token."""

    rank: PositiveInt  # of the vector that is kept
    nope_dim: PositiveInt  # part of a query that does not turn
    rope_dim: PositiveInt  # part that turns, against one key for all heads
    value_dim: PositiveInt
    query_rank: PositiveInt | None = None  # None: queries are read from the stream itself


class ShortConv(Record):
    """A causal convolution, one a channel, on what a branch reads."""

    before: Literal["attention", "both"] = "attention"  # which branches
    taps: Annotated[int, Field(ge=2)] = 4  # positions that it sees, its own included


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

    scheme: Literal["pre_norm", "ngpt", "ngpt_simple"] = "pre_norm"  # how a branch joins
    contrast: Literal["none", "v1", "v2"] = "none"  # DIFF's subtraction, by pairing
    integral: Literal["none", "prefix", "visible"] = "none"  # the mean that DINT adds
    latent: Latent | None = None  # None: full keys and values
    positions: Literal["rope", "learned", "sinusoidal", "none"] = "rope"
    rope_base: PositiveFloat = 10_000.0  # LLaMA 1 and 2; 500 000 in LLaMA 3
    rope_layout: Literal["half", "interleaved"] = "half"
    max_positions: PositiveInt | None = None  # rows of the learned table, and the context it allows
    qk_norm: Literal["none", "rms", "standard", "split"] = "none"
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: PositiveFloat = 1e-5
    short_conv: ShortConv | None = None  # None: a branch reads its own position alone
    ffn: Literal["gelu", "swiglu", "relu2"] = "swiglu"
    ffn_rank_in: PositiveInt | None = None  # width of a SwiGLU's narrow input; None: all of it
    ffn_rank_out: PositiveInt | None = None  # width of its narrow output
    bias: bool = False  # in linear maps and layer norms; RMSNorm and the head have none
    tie_embeddings: bool = True
    embedding_scale: Literal["none", "sqrt_d", "inv_sqrt_d"] = "none"
    dropout: Fraction = 0.0  # on the embeddings and on each branch, never on attention weights
    init_std: PositiveFloat = 0.02  # of pre_norm; on the sphere lengths are one whatever it is

    @property
    def head_dim(self) -> int:
        """The model width's share of one head."""
        return self.d_model // self.n_heads

    @property
    def query_dim(self) -> int:
        """Width of one query."""
        return self.head_dim if self.latent is None else self.latent.nope_dim + self.latent.rope_dim

    @property
    def value_dim(self) -> int:
        """Width of one value of an unpaired head."""
        return self.head_dim if self.latent is None else self.latent.value_dim

    @property
    def turning_dim(self) -> int:
        """Width of the part of a query that its position may turn."""
        return self.head_dim if self.latent is None else self.latent.rope_dim

    @property
    def on_sphere(self) -> bool:
        """Whether the stream, and all that reads and writes it, is kept at length one."""
        return self.scheme != "pre_norm"

    @model_validator(mode="after")
    def _refuse_unbuildable_heads(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}"
            )
        for name in ("n_heads", "n_kv_heads"):
            if self.contrast == "v1" and getattr(self, name) % 2:
                raise ValueError(
                    f"contrast='v1' pairs heads: {name}={getattr(self, name)} is odd, "
                    "an even number is wanted"
                )
        return self

    @model_validator(mode="after")
    def _refuse_unbuildable_positions(self) -> Self:
        if self.positions == "rope" and self.turning_dim % 2:
            width = "d_model/n_heads" if self.latent is None else "latent.rope_dim"
            raise ValueError(
                f"rope turns pairs: {width}={self.turning_dim} is odd, an even width is wanted"
            )
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(
                f"sinusoids come in pairs: d_model={self.d_model} is odd, an even width is wanted"
            )
        if self.positions == "learned" and self.max_positions is None:
            raise ValueError(
                "positions='learned' has max_positions=None, a number of positions is wanted"
            )
        return self

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> Self:
        for condition, names in (
            ("positions='rope'", ("rope_base", "rope_layout", "latent")),
            ("positions='learned'", ("max_positions",)),
            ("ffn='swiglu'", ("ffn_rank_in", "ffn_rank_out")),
            ("scheme='pre_norm'", ("bias", "norm", "embedding_scale")),
            ("latent=None", ("bias",)),
        ):
            axis, _, wanted = condition.partition("=")
            found = getattr(self, axis)
            for name in names:
                value, default = getattr(self, name), type(self).model_fields[name].default
                if repr(found) != wanted and value != default:
                    raise ValueError(
                        f"{name}={value!r} belongs to {condition}, "
                        f"not to {axis}={found!r}: {default!r} is wanted"
                    )
        return self

    @model_validator(mode="after")
    def _refuse_pairs_without_partners(self) -> Self:
        paired = "contrast='v1' or 'v2', not to contrast='none': 'none' is wanted"
        if self.contrast == "none" and self.integral != "none":
            raise ValueError(f"integral={self.integral!r} belongs to {paired}")
        if self.contrast == "none" and self.qk_norm == "split":
            raise ValueError(f"qk_norm='split' belongs to {paired}")
        return self
