"""One writer at a time, by `flock`: the system releases it when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forecaster.atomic import reason
from forecaster.errors import LockedError, StorageError

POLL_S = 0.02
PID_BYTES = 20  # of one width, so that nothing is left of a longer one


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock at `path`. LockedError after `timeout_s`, StorageError where none work."""
    descriptor = _acquire(path, time.monotonic() + timeout_s)
    try:
        with suppress(OSError):  # for people only: it is never trusted, and may be missing
            os.pwrite(descriptor, f"{os.getpid():>{PID_BYTES}}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path, deadline: float) -> int:
    """An open descriptor that holds the lock of the file which is at `path` now."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot open {path}: {reason(error)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
            os.close(descriptor)  # somebody removed the file: its lock binds nobody
        except BlockingIOError:
            holder = os.pread(descriptor, PID_BYTES, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if time.monotonic() >= deadline:
                who = f" (process {holder})" if holder.isdecimal() else ""
                raise LockedError(
                    f"{path} is held by another writer{who}: wait for it, then try again"
                ) from None
            time.sleep(POLL_S)
        except OSError as error:
            os.close(descriptor)
            raise StorageError(
                f"{path}: this file system has no locks ({reason(error)}): keep the store elsewhere"
            ) from error


def holder(path: Path) -> str:
    """Who holds the lock, for people: a number of a dead process in the file holds nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return "free"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        who = os.pread(descriptor, PID_BYTES, 0).decode("ascii", "replace").strip()
        return f"held by process {who}" if who.isdecimal() else "held"
    else:
        return "free"
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one that `path` names."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False
