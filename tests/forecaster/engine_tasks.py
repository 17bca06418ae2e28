"""What test_engine has done elsewhere; light, for every process that does it imports this."""

import os
import signal
from pathlib import Path


def doubled(n: int) -> int:
    return 2 * n


def inverse(n: int) -> float:
    return 1 / n


def killed_once(folder: Path, n: int) -> int:
    """Task 3 kills its process, the first time."""
    mark = folder / "killed"
    if n == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / f"done-{n}").open("a") as log:
        log.write("x")
    return 2 * n


def killed_always(n: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return n


def with_limit(n: int) -> tuple[int, int]:
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    return n, max((each["num_threads"] for each in threadpool_info()), default=1)


def blas_threads(_: int) -> int:
    from threadpoolctl import threadpool_info

    return max(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")
