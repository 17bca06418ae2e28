"""What torch says of this machine, the numbers that a doctor looks at; and its generator."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def torch_state() -> dict[str, Any]:
    """Version, threads, cores, and the accelerator's name if there is one that torch can use."""
    return {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


@contextmanager
def same_generator() -> Iterator[None]:
    """Whatever is drawn or seeded inside, torch's generator goes on as if nothing had been."""
    before = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)
