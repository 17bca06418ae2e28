"""How much memory one run holds at once, counted from torch's own allocations, not from a clock.

The count is exact and the same every time: it is of tensors and of what kernels allocate, beyond
what was there before the run.
"""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import profiler

from ..presets import PRESETS, Sizes, sized
from .cases import Row, Scale
from .models import forward_and_backward

MEBIBYTE = 2**20
LOOKS = 5  # on a busy machine the profiler now and then hears nothing of a short run
ALLOCATION = "[memory]"  # the profiler's name of an event that takes or returns memory


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that one run holds at once, in bytes; what it returns is part of it."""
    events: list[Any] = []
    for _ in range(LOOKS):
        events = events or allocations(run)
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def allocations(run: Callable[[], object]) -> list[Any]:
    """What one run took and returned; torch leaves its events untyped."""
    profile: Any = profiler.profile(profile_memory=True)
    with quiet_stderr(), profile:
        run()
    return [e for e in profile.kineto_results.events() if e.name() == ALLOCATION]


@contextmanager
def quiet_stderr() -> Generator[None]:
    """The profiler's library writes its progress to file 2 from C++: not inside here."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def memory_rows(bench: str, scale: Scale, tell: Callable[[str], None]) -> list[Row]:
    """Each preset's peak in one pass forward and back: one layer, one sequence, three lengths."""
    rows = []
    for length in scale.long:
        tell(f"T={length}")
        first: float | None = None
        for name in ("llama", *(name for name in PRESETS if name != "llama")):
            peak = preset_peak(name, length, scale) / MEBIBYTE
            first = peak if first is None else first
            rows.append(
                Row(
                    bench=bench,
                    case=f"T={length}",
                    way=name,
                    against="llama",
                    peak_mb=peak,
                    ratio=peak / first,
                )
            )
    return rows


def preset_peak(name: str, length: int, scale: Scale) -> int:
    """Bytes of one layer of a preset on one sequence, forward and backward, after a first pass."""
    torch.manual_seed(0)
    sizes = Sizes(
        vocab_size=scale.vocab_size,
        context=length,
        d_model=scale.d_model,
        n_layers=1,
        n_heads=scale.n_heads,
    )
    run = forward_and_backward(sized(PRESETS[name], sizes), batch=1, length=length)
    return peak_bytes(run)
