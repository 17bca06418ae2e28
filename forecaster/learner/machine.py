"""What torch says of this machine: the numbers that a doctor looks at."""

import os
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
