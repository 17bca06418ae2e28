"""In which types a step is computed: what the recipe's `precision` means for a model and a device.

"-mixed": torch's autocast, weights and moments in float32. "bf16" and "fp16": the model itself is
narrow. Softmax and loss are in float32 everywhere (`losses`, and the sums of torch's attention).
Nothing is swapped: what a device cannot do is refused.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from ..errors import UsageError
from ..recipe import Precision, TrainRecipe

FIRST_SCALE = 65536.0  # of a float16 loss, as in torch.amp.GradScaler
# Said of an RMSNorm with float32 gains under autocast: it is slower, not different.
SLOW_NORM = "Mismatch dtype between input and weight"


def narrow_type(precision: Precision) -> torch.dtype | None:
    """The type that products are computed in; None where that is float32."""
    names = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return names.get(precision.removesuffix("-mixed"))


def as_trained(model: nn.Module, precision: Precision) -> None:
    """Give the model the type that its weights have in training, in place."""
    narrow = narrow_type(precision)
    if narrow is not None and not precision.endswith("-mixed"):
        model.to(narrow)


@contextmanager
def computing(precision: Precision, device: torch.device) -> Generator[None]:
    """Forward passes as the recipe wants them."""
    narrow = narrow_type(precision)
    if narrow is None or not precision.endswith("-mixed"):
        yield
        return
    with warnings.catch_warnings(), torch.autocast(device.type, dtype=narrow):
        warnings.filterwarnings("ignore", message=SLOW_NORM)
        yield


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter is."""
    return next(model.parameters()).device


def refuse_unsupported(precision: Precision, device: torch.device) -> None:
    """UsageError where the device has no such arithmetic of its own."""
    if precision == "fp32" or device.type == "cpu":
        return
    known = device.type == "cuda"
    if known and narrow_type(precision) == torch.bfloat16:
        known = torch.cuda.is_bf16_supported(including_emulation=False)
    if not known:
        raise UsageError(f"precision={precision!r} is not known to work on {device}: name 'fp32'")


def first_scale(recipe: TrainRecipe) -> float:
    """What the loss is multiplied by before the first step: more than 1 in float16 only."""
    if not recipe.precision.startswith("fp16"):
        return 1.0
    return FIRST_SCALE if recipe.loss_scale is None else recipe.loss_scale
