"""How the learning rate goes after the warm-up: one small record a shape. `optim` computes them.

Each goes from the recipe's lr towards its min_lr, on the steps that the warm-up leaves.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from ..config import Record


class Constant(Record):
    """lr throughout; min_lr must be 0, for it is never reached."""

    kind: Literal["constant"] = "constant"


class Linear(Record):
    """A straight line from lr to min_lr."""

    kind: Literal["linear"] = "linear"


class Cosine(Record):
    """Half a cosine from lr to min_lr (Loshchilov and Hutter 2017, eq. 5, one cycle)."""

    kind: Literal["cosine"] = "cosine"


class Restarts(Record):
    """Cosines one after another: cycle i has round(t_0 t_mult^i) steps and peak lr lr_mult^i.

    The last step is at a low rate only where the steps end with a cycle: `optim.cycle_ends` lists
    where that is.
    """

    kind: Literal["restarts"] = "restarts"
    t_0: PositiveInt
    t_mult: float = Field(default=1.0, ge=1.0)
    lr_mult: float = Field(default=1.0, gt=0.0, le=1.0)


class Wsd(Record):
    """Warm-up, stable, decay: lr, and over the last `decay` of all steps down to min_lr.

    Source: Hu et al. 2024 (MiniCPM), section 4; shape "sqrt", 1 - sqrt(progress), is Hagele et
    al. 2024's.
    """

    kind: Literal["wsd"] = "wsd"
    decay: float = Field(default=0.2, gt=0.0, le=1.0)
    shape: Literal["linear", "sqrt", "cosine"] = "linear"


def as_record(value: Any) -> Any:
    """A bare name is the record of that kind with its defaults."""
    return {"kind": value} if isinstance(value, str) else value


Schedule = Annotated[
    Constant | Linear | Cosine | Restarts | Wsd,
    Field(discriminator="kind"),
    BeforeValidator(as_record),
]
