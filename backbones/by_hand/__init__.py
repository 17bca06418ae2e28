"""Derivatives written by hand, for training on a CPU.

What torch records of a norm, a turn or a gate is a chain of small operations, each with a tensor of
its own that is kept for the way back. Here each is one function that keeps its inputs, works in
place, and asks the faster of torch's libraries for matrix products. They are used where `by_hand`
says so and only there; each caller has the plain way beside it, equal to rounding.
"""

from .choice import by_hand, once, plainly
from .gates import gated, smooth_gelu
from .lengths import joined, normed
from .products import onednn_pays, product, rows_times, torchs_product
from .turning import turned

__all__ = [
    "by_hand",
    "gated",
    "joined",
    "normed",
    "once",
    "onednn_pays",
    "plainly",
    "product",
    "rows_times",
    "smooth_gelu",
    "torchs_product",
    "turned",
]
