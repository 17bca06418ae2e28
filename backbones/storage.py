"""Write to disk so that a reader, even after a power cut, sees all of a thing or none of it."""

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import LockedError, StorageError

WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
DRAFT = re.compile(r"\.(.+)\.[0-9]+")  # of a thing that is not there yet, with its process


def to_json(value: Mapping[str, Any]) -> bytes:
    """Indented JSON; NaN and infinity are refused."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """All of `files` in a new folder at `place`, or nothing; what stood there is replaced."""
    draft = draft_of(place, os.getpid())
    with whole_or_gone(draft, place):
        begin_folder(draft, place)
        for name, data in files.items():
            write_synced(draft / name, data)
        finish_folder(draft, place)


def draft_of(place: Path, process: int) -> Path:
    """Where a folder is made by a process, or, as number 0, by several together."""
    return place.with_name(f".{place.name}.{process}")


def begin_folder(draft: Path, place: Path) -> None:
    """An empty draft of the folder, the only one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent, place.name)
    draft.mkdir()


def finish_folder(draft: Path, place: Path) -> None:
    """The draft becomes the folder, in one step."""
    sync_folder(draft)
    shutil.rmtree(place, ignore_errors=True)  # left by a run that was cut off before LATEST
    draft.rename(place)
    sync_folder(place.parent)


@contextmanager
def whole_or_gone(draft: Path, place: Path) -> Generator[None]:
    """StorageError, and no draft, where the disk refuses what is inside."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StorageError(f"{place} cannot be written: {error.strerror}") from error


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step; StorageError where the disk refuses."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_synced(draft, data)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the drafts in `folder`, or those of one name: their processes were cut off.

    What cannot be removed stays: it is in nobody's way.
    """
    for path in folder.iterdir():
        found = DRAFT.fullmatch(path.name)
        if found is None or name not in {None, found[1]}:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's names."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Work in `folder` as the only process that asks: LockedError where another one is inside.

    The lock is on the folder itself and dies with its process. Where a file system has no locks
    nothing is held.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{folder} is being worked on by another process: wait for it, or stop it first"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise StorageError(f"{folder} cannot be held: {error.strerror}") from error
        yield
    finally:
        os.close(handle)
