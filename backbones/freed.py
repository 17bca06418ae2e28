"""Keep memory that is freed, where the C library would give it back to the kernel at each step.

A training step makes and frees the same large tensors again and again. glibc returns blocks above a
threshold, and the top of its heap, to the kernel, which hands them out again page by page, each
zeroed: thousands of page faults a step. What is kept is no more than what was needed at once.
"""

import ctypes
from functools import cache

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1  # bytes at the top of the heap that are kept; an int
LARGEST_BLOCK = 32 << 20  # bytes of a block that comes from the heap: the most that glibc takes


@cache
def keep_freed_memory() -> bool:
    """From now on this process keeps it; whether it could be asked for: other C libraries cannot.

    It is for a program to decide, not for a library: nothing else here calls it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    blocks, top = mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK), mallopt(M_TRIM_THRESHOLD, LARGEST)
    return bool(blocks and top)
