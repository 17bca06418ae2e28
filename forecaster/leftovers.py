"""What killed processes left unfinished: the names of `atomic` say whose it was."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from forecaster.atomic import TEMPORARY

OF_PROCESS = re.compile(rf"{re.escape(TEMPORARY)}([0-9]+)-[0-9a-f]{{16}}")


def sweep(directory: Path) -> None:
    """Remove what processes that are gone left unfinished; what cannot be removed stays."""
    for path in _unfinished(directory):
        found = OF_PROCESS.fullmatch(path.name)
        if found is None or _is_alive(int(found[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()


def _unfinished(directory: Path) -> list[Path]:
    """What may be; nothing where the directory cannot be read."""
    try:
        return list(directory.glob(f"{TEMPORARY}*"))
    except OSError:
        return []


def _is_alive(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
