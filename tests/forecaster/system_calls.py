"""Every file-system call below a folder, counted; one of them fails, or is the process's last.

Calls of Python's `os`, `io`, `fcntl` and, by way of these, of pathlib and shutil. What C code does
on its own is not seen; an audit hook shows that there is none (`unseen`).
"""

import builtins
import errno
import fcntl
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal, cast

KINDS = ("EIO", "ENOSPC", "EACCES", "EMFILE")
KILL = "SIGKILL"
BY_PATH = (
    *("open", "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink"),
    *("stat", "lstat", "scandir", "listdir", "chmod", "utime", "truncate", "access", "readlink"),
)
BY_DESCRIPTOR = ("write", "read", "pwrite", "pread", "fsync", "fdatasync", "fstat", "ftruncate")
AUDITED = {"open", "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.scandir", "os.listdir"}


class Shim:
    """Stands before the system for one process; there is no way back."""

    def __init__(self, root: str, nth: int = 0, kind: str = "") -> None:
        self.root, self.nth, self.kind = root, nth, kind
        self.calls: list[str] = []  # "name path", in order
        self.unseen: list[str] = []  # audited, and not counted
        self.descriptors: dict[int, str] = {}
        self._inside = 0

    def install(self) -> None:
        """Put it in the way."""
        for name in BY_PATH:
            setattr(os, name, self._by_path(name, getattr(os, name)))
        for name in BY_DESCRIPTOR:
            setattr(os, name, self._by_descriptor(name, getattr(os, name)))
        os.close = self._closing(os.close)
        fcntl.flock = self._by_descriptor("flock", fcntl.flock)
        io.open = builtins.open = self._opening(io.open)
        sys.addaudithook(self._audit)

    def tick(self, name: str, subject: str) -> None:
        """One call of the system; the nth fails."""
        self.calls.append(f"{name} {subject.removeprefix(self.root).lstrip('/') or '.'}")
        if len(self.calls) != self.nth:
            return
        if self.kind == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self.kind)
        raise OSError(code, os.strerror(code), subject)

    def _ours(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The absolute path of what is below the root, or None."""
        if isinstance(path, int):
            return self.descriptors.get(path)
        text = os.fsdecode(os.fspath(path))
        if dir_fd is not None:
            base = self.descriptors.get(dir_fd)
            return None if base is None else f"{base}/{text}"
        full = os.path.abspath(text)  # noqa: PTH100  without a call of the system
        return full if full == self.root or full.startswith(f"{self.root}/") else None

    def _within(self, call: Callable[[], Any]) -> Any:
        """Make the real call; what the audit hook hears of it is known."""
        self._inside += 1
        try:
            return call()
        finally:
            self._inside -= 1

    def _by_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *rest: Any, **options: Any) -> Any:
            subject = self._ours(path, options.get("dir_fd"))
            if subject is not None:
                self.tick(name, subject)
            made = self._within(lambda: real(path, *rest, **options))
            if subject is not None and name == "open":
                self.descriptors[made] = subject
            return made

        return call

    def _by_descriptor(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *rest: Any) -> Any:
            subject = self.descriptors.get(descriptor)
            if subject is not None:
                if name == "write" and len(self.calls) + 1 == self.nth:
                    real(descriptor, memoryview(rest[0])[: len(rest[0]) // 2])  # a full disk tears
                self.tick(name, subject)
            return real(descriptor, *rest)

        return call

    def _closing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            subject = self.descriptors.pop(descriptor, None)
            real(descriptor)  # Linux lets go of it, whatever it answers
            if subject is not None:
                self.tick("close", subject)

        return close

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(  # noqa: PLR0917  Python's own
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            subject = self._ours(file)
            if subject is None:
                return self._within(
                    lambda: real(file, mode, buffering, encoding, errors, newline, closefd, opener)
                )
            if not isinstance(file, int):
                self.tick("open", subject)
            plain = cast(Literal["r"], mode.replace("b", "").replace("t", ""))
            raw = self._within(lambda: _Counted(file, plain, closefd, opener))
            raw.shim, raw.subject = self, subject
            self.descriptors[raw.fileno()] = subject  # for fsync and fstat
            buffered = io.BufferedReader(raw) if plain == "r" else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding, errors, newline)

        return open_

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._inside or event not in AUDITED or not arguments:
            return
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and (subject := self._ours(path)):
            self.unseen.append(f"{event} {subject}")


class _Counted(io.FileIO):
    """A file whose reads, writes and closing are counted."""

    shim: Shim
    subject: str = ""

    def write(self, data: Any, /) -> int:
        self.shim.tick("write", self.subject)
        return super().write(data)

    def readall(self) -> bytes:
        self.shim.tick("read", self.subject)
        return super().readall()

    def readinto(self, buffer: Any, /) -> int:
        self.shim.tick("read", self.subject)
        return super().readinto(buffer)

    def close(self) -> None:
        if self.closed or not self.subject:
            super().close()
            return
        self.shim.descriptors.pop(self.fileno(), None)
        super().close()
        self.shim.tick("close", self.subject)
