"""A folder that one process works in: held by `flock` on the folder itself, so no file is left.

The system lets go of it when its holder dies. Where a file system has no locks nothing is held.
"""

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from forecaster.atomic import reason
from forecaster.errors import LockedError, StorageError, printable

LOOKS, LOOK_S = 5, 0.02
WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_held: dict[Path, int] = {}  # descriptors of this process


def hold(folder: Path) -> None:
    """Keep every other process from holding `folder`, until `let_go` or the end of this one.

    Raises LockedError where another holds it, StorageError where the folder cannot be opened.
    """
    place = folder.resolve()
    if place in _held:
        return
    descriptor = _opened(folder)
    try:
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        raise LockedError(
            f"run {printable(str(folder))} is being worked on by another process: wait for it,"
            " or stop it first"
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            os.close(descriptor)
            raise StorageError(f"cannot hold {folder}: {reason(error)}") from error
    _held[place] = descriptor


def let_go(folder: Path) -> None:
    """The end of a `hold`; nothing where there was none."""
    descriptor = _held.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process holds it, this one included. StorageError where it cannot be opened."""
    if folder.resolve() in _held:
        return True
    descriptor = _opened(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    """Lock it. BlockingIOError where it stays locked longer than `is_held` looks at one."""
    for _ in range(LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOOK_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot open {folder}: {reason(error)}") from error
