"""How a model is trained: one frozen record, of any model and any loss."""

from typing import Annotated, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from .config import Fraction, Record

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class GroupRule(Record):
    """Parameters whose name starts with `prefix` learn at their own pace."""

    prefix: str = Field(min_length=1)
    lr_factor: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None  # None: as its role has it


class TrainRecipe(Record):
    """Steps, learning rate, AdamW and what is kept on the way."""

    steps: PositiveInt
    lr: PositiveFloat = 1e-3
    min_lr: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0  # steps; step k of them runs at lr (k + 1) / warmup
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1  # of matrices; tables, gains and biases have none
    clip: PositiveFloat | None = 1.0  # largest norm of the whole gradient
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
