"""How a model is trained: one frozen record, of any model and any loss."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from ..config import Fraction, Record
from .schedules import Constant, Cosine, Linear, Restarts, Schedule, Wsd

__all__ = [
    "By",
    "Constant",
    "Cosine",
    "GroupRule",
    "Linear",
    "MuonRule",
    "Precision",
    "Restarts",
    "RoleRates",
    "Schedule",
    "TrainRecipe",
    "Wsd",
]

By = Literal["tensor", "row"]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
Precision = Literal["fp32", "bf16-mixed", "bf16", "fp16-mixed", "fp16"]
"""What is computed in which type. "-mixed": products in the narrow type, weights, moments and sums
in float32. Without it the weights, their gradients and their moments are narrow too."""

LEAST_FP16_EPS = 1e-4  # Adam's usual 1e-8 is 0 in float16, whose smallest number is 6e-8


class GroupRule(Record):
    """Parameters whose name starts with `prefix` learn at their own pace."""

    prefix: str = Field(min_length=1)
    lr_factor: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None  # None: as its role has it


class RoleRates(Record):
    """Multiples of lr, by what a parameter is; matrices learn at lr, or at Muon's own."""

    table: NonNegativeFloat = 1.0  # embeddings, learned positions, an untied head
    vector: NonNegativeFloat = 1.0  # gains, biases, scales


class MuonRule(Record):
    """Muon's own knobs (Jordan et al. 2024); the learning rate follows the recipe's schedule."""

    lr: PositiveFloat = 0.02
    momentum: Beta = 0.95


class TrainRecipe(Record):
    """Steps, learning rate, optimiser and what is kept on the way."""

    steps: PositiveInt
    lr: PositiveFloat = 1e-3
    min_lr: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0  # steps; step k of them runs at lr (k + 1) / warmup
    schedule: Schedule = Cosine()
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1  # of matrices; tables, gains and biases have none
    rates: RoleRates = RoleRates()
    muon: MuonRule | None = None  # for hidden matrices; None: AdamW for all
    orthograd: By | None = None  # of matrices: see optim.orthograd
    clip: PositiveFloat | None = 1.0  # largest norm of the whole gradient
    accumulate: PositiveInt = 1  # parts that a batch is computed in, one after another
    precision: Precision = "fp32"
    loss_scale: PositiveFloat | None = None  # at first, in float16; None: 65536
    seed: NonNegativeInt = 0
    evaluate_every: PositiveInt | None = None  # None: after the last step only
    checkpoint_every: PositiveInt | None = None  # None: after the last step only
    ema: Fraction | None = None  # decay a step of a running average of the weights
    groups: tuple[GroupRule, ...] = ()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup={self.warmup} leaves nothing of steps={self.steps}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr={self.min_lr} is above lr={self.lr}")
        prefixes = [rule.prefix for rule in self.groups]
        twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
        if twice:
            raise ValueError(f"groups name the prefix {twice[0]!r} twice, once is wanted")
        return self

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> Self:
        if self.schedule.kind == "constant" and self.min_lr:
            raise ValueError(f"min_lr={self.min_lr} is never reached by schedule='constant'")
        if self.muon is not None and self.orthograd is not None:
            raise ValueError(
                f"orthograd={self.orthograd!r} is undone by muon, which makes every step "
                "orthogonal: one of them is wanted"
            )
        return self

    @model_validator(mode="after")
    def _refuse_too_narrow(self) -> Self:
        half = self.precision.startswith("fp16")
        if self.loss_scale is not None and not half:
            raise ValueError(
                f"loss_scale={self.loss_scale} belongs to float16, "
                f"not to precision={self.precision!r}: None is wanted"
            )
        if self.precision == "fp16" and self.eps < LEAST_FP16_EPS:
            raise ValueError(
                f"eps={self.eps} is lost in precision='fp16': {LEAST_FP16_EPS} or more is wanted"
            )
        if self.ema is not None and self.precision in {"bf16", "fp16"}:
            raise ValueError(
                f"ema={self.ema} stands still in precision={self.precision!r}, whose numbers have "
                "2 or 3 digits: a mixed one is wanted"
            )
        return self
