"""The one way to create a result file, and the one way to read a file that a user or a store names.

A file is written whole beside its target, forced to disk, renamed over it, and the rename is forced
to disk: at every crash point the target is the old file or the new one. Writing in place, or
renaming without both of these forcings, can leave an empty, torn or lost file.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from forecaster.errors import StorageError

TEMPORARY = ".tmp-"  # prefix of what is not committed yet
PASSING = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def commit_bytes(path: Path, data: bytes) -> str:
    """Replace `path` by `data` or leave it as it is; the sha256 of `data`.

    Makes the directory. Raises StorageError, naming path and cause, when it is not committed.
    """
    return commit_chunks(path, (data,))


def commit_chunks(path: Path, chunks: Iterable[bytes]) -> str:
    """As `commit_bytes`, for what is too large to be held at once: chunks are written as they come.

    An error of whoever makes them is passed on, and nothing is committed.
    """
    temporary = _beside(path)
    of_the_maker: list[Exception] = []

    def made() -> Iterator[bytes]:
        try:
            yield from chunks
        except Exception as error:
            of_the_maker.append(error)
            raise

    try:
        make_directory(path.parent)
        digest = _write_new(temporary, made())
        temporary.replace(path)
        _sync_directory(path.parent)
    except (OSError, ValueError) as error:
        if error in of_the_maker:
            raise
        raise StorageError(f"cannot write {path}: {reason(error)}; it is not committed") from error
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()
    return digest


def commit_json(path: Path, value: Any) -> str:
    """Commit `value` as JSON with sorted keys; its sha256. ValueError for what JSON cannot hold."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    return commit_bytes(path, f"{text}\n".encode())


def commit_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make the directory `path` with these files in it, or nothing. StorageError if not."""
    temporary = _beside(path)
    try:
        make_directory(path.parent)
        temporary.mkdir()
        for name, data in files.items():
            _write_new(temporary / name, (data,))
        _sync_directory(temporary)
        temporary.rename(path)
        _sync_directory(path.parent)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot make {path}: {reason(error)}; it is not committed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A new name for what will be at `path`."""
    return path.parent / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"


def probe(directory: Path) -> None:
    """Make `directory` and prove that files can be made in it. Raises StorageError if not."""
    temporary = _beside(directory / "probe")
    try:
        make_directory(directory)
        _write_new(temporary, (b"?",))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot write in {directory}: {reason(error)}; name another place or mend its rights"
        ) from error
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()


def make_directory(directory: Path) -> None:
    """Make `directory` and the parents that it lacks, each forced to disk. OSError if not."""
    if not directory.is_dir():
        if directory.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)


def move(path: Path, target: Path) -> None:
    """Give a file, link or folder another name on its disk, unread. StorageError where it fails."""
    try:
        make_directory(target.parent)
        path.rename(target)
        _sync_directory(target.parent)
        _sync_directory(path.parent)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot move {path} to {target}: {reason(error)}") from error


def may_pass(error: Exception) -> bool:
    """Whether a failed reading says nothing of the file: another user or time may succeed."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in PASSING


def read_regular(path: Path, limit_bytes: int) -> bytes:
    """Content of a regular file of at most `limit_bytes`, opened by us: never a link, pipe or URL.

    Raises StorageError naming path and cause.
    """
    try:
        if path.is_symlink():
            raise StorageError(f"cannot read {path}: it is a symbolic link; name the file itself")
        # Without O_NONBLOCK the opening of a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise StorageError(f"cannot read {path}: not a regular file; name a file")
            if state.st_size > limit_bytes:
                raise StorageError(
                    f"cannot read {path}: {state.st_size} bytes, more than {limit_bytes}; cut it"
                )
            return file.read(limit_bytes)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read {path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What the operating system says, without the path that our own message already names."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__


def _write_new(path: Path, chunks: Iterable[bytes]) -> str:
    """Make a file that was not there, forced to disk; its sha256. OSError if any part fails."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor, digest = os.open(path, flags, 0o644), hashlib.sha256()
    try:
        for chunk in chunks:
            digest.update(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _sync_directory(directory: Path) -> None:
    """Force names in `directory` to disk: until then a crash may undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
