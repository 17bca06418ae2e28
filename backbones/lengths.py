"""Vectors brought to a known size: length one, or RMS one."""

import torch
from torch import Tensor

from .by_hand import by_hand, normed

SMALLEST = 1e-12  # of a length that is divided by (torch's)
WIDE = {torch.float32, torch.float64}  # types that a length is taken in


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """x at length one along `dim`, taken in float32 for narrower types; zero stays zero."""
    if dim == -1 and by_hand(x):
        return normed(x, None, eps=None)
    if x.dtype not in WIDE:
        return unit(x.float(), dim).to(x.dtype)
    return x / torch.linalg.vector_norm(x, dim=dim, keepdim=True).clamp_min(SMALLEST)


def rms(x: Tensor, gain: Tensor, eps: Tensor) -> Tensor:
    """gain x / sqrt(mean(x^2) + eps), eps [1] being of the type that the mean is taken in.

    F.rms_norm takes twice as many steps on a CPU; equal to rounding.
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=eps.dtype)
    inverse = torch.addcmul(eps, length, length, value=1 / x.shape[-1]).rsqrt_()
    return (x * inverse).mul_(gain).to(x.dtype)


def smallest_mean(x: Tensor, eps: float) -> Tensor:
    """The eps of `rms`, for vectors like x."""
    wide = x.dtype if x.dtype in WIDE else torch.float32
    return torch.full((1,), eps, dtype=wide, device=x.device)
