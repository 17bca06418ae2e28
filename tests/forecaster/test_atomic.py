"""The atomic writer: old or new at every fault, one error, nobody else writes."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forecaster.atomic import (
    commit_bytes,
    commit_chunks,
    commit_folder,
    commit_json,
    probe,
    read_regular,
)
from forecaster.errors import DivergedError, StorageError
from forecaster.leftovers import sweep

CALLS = ("open", "write", "fsync", "replace")


def broken(monkeypatch: pytest.MonkeyPatch, nth: int, error: BaseException) -> Callable[[], int]:
    """Make the nth call of the system's file functions raise `error`; how many were made."""
    made = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made == nth:
                raise error
            return real(*args, **options)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    return lambda: made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def commit_failure(path: Path) -> StorageError | None:
    try:
        commit_bytes(path, b"new")
    except StorageError as error:
        return error
    return None


def test_commit_returns_the_hash_and_leaves_only_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.bin"
    assert commit_bytes(path, b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert commit_bytes(path, b"") == hashlib.sha256(b"").hexdigest()
    assert path.read_bytes() == b""
    assert [p.name for p in path.parent.iterdir()] == ["x.bin"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o133 == 0


@pytest.mark.parametrize(
    "error", [DivergedError("no more"), ValueError("no more"), OSError(5, "no more")]
)
def test_chunks_are_one_file_and_what_breaks_off_is_none(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "x.bin"
    assert commit_chunks(path, iter((b"ab", b"", b"c"))) == hashlib.sha256(b"abc").hexdigest()
    assert path.read_bytes() == b"abc"

    def breaks_off() -> Iterator[bytes]:
        yield b"new"
        raise error

    with pytest.raises(type(error), match="no more"):
        commit_chunks(path, breaks_off())
    assert path.read_bytes() == b"abc"
    assert names(tmp_path) == ["x.bin"]


def test_json_is_sorted_and_refuses_nan(tmp_path: Path) -> None:
    commit_json(tmp_path / "x.json", {"b": 1, "a": [True, None]})
    assert (tmp_path / "x.json").read_text() == '{\n "a": [\n  true,\n  null\n ],\n "b": 1\n}\n'
    with pytest.raises(ValueError, match="Out of range float"):
        commit_json(tmp_path / "x.json", float("nan"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_a_fault_at_any_call_leaves_old_or_new_and_no_litter(tmp_path: Path, code: int) -> None:
    path = tmp_path / "x.bin"
    for nth in range(1, 20):
        path.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            made = broken(patch, nth, OSError(code, os.strerror(code)))
            failure = commit_failure(path)
        if failure is None:
            assert made() < nth
            break
        assert str(failure) == (f"cannot write {path}: {os.strerror(code)}; it is not committed")
        assert failure.exit_code == 5
        assert path.read_bytes() in {b"old", b"new"}
        assert names(tmp_path) == ["x.bin"]
    else:
        pytest.fail("the writer made more calls than a commit needs")
    assert nth > 6  # open, write, fsync, replace, open, fsync were each broken once


def folder_failure(path: Path) -> StorageError | None:
    try:
        commit_folder(path, {"a": b"1", "b": b"2"})
    except StorageError as error:
        return error
    return None


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    whole, nth = {"a": b"1", "b": b"2"}, 0
    for nth in range(1, 30):
        with pytest.MonkeyPatch.context() as patch:
            broken(patch, nth, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            failure = folder_failure(path)
        assert names(tmp_path) in ([], ["deep"])
        if path.exists():
            assert {p.name: p.read_bytes() for p in path.iterdir()} == whole
            assert names(path.parent) == ["run"]
            shutil.rmtree(path)
        if failure is None:
            break
        assert str(failure) == f"cannot make {path}: No space left on device; it is not committed"
    assert nth > 8
    (path / "old").mkdir(parents=True)
    assert "Directory not empty" in str(folder_failure(path))
    assert names(path) == ["old"]


def test_what_killed_processes_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    gone = 4_194_304  # the first number that Linux gives to no process
    dead = [f".tmp-{gone}-{'0' * 16}", f".tmp-{gone}-{'1' * 16}"]
    kept = [f".tmp-{os.getpid()}-{'0' * 16}", ".tmp-mine", f".tmp-{gone}-short", "x"]
    (tmp_path / dead[0] / "deep").mkdir(parents=True)
    for name in (dead[1], *kept):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)
    sweep(tmp_path / "nothing")
    monkeypatch.setattr(os, "scandir", refuse)
    sweep(tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == sorted(kept)


def test_the_fault_injector_catches_a_writer_in_place(tmp_path: Path) -> None:
    """Planted mistake: opening the target itself loses the old content."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.MonkeyPatch.context() as patch:
        broken(patch, 2, OSError(errno.ENOSPC, "full"))
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        with pytest.raises(OSError, match="full"):
            os.write(descriptor, b"new")
        os.close(descriptor)
    assert path.read_bytes() == b""


def test_an_interrupt_is_passed_on_and_cleaned_up(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.MonkeyPatch.context() as patch:
        broken(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            commit_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    commit_bytes(tmp_path / "x.bin", b"0123456789")
    assert (tmp_path / "x.bin").read_bytes() == b"0123456789"


def test_a_link_at_the_target_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"safe")
    (tmp_path / "x.bin").symlink_to(tmp_path / "victim")
    commit_bytes(tmp_path / "x.bin", b"new")
    assert (tmp_path / "victim").read_bytes() == b"safe"
    assert not (tmp_path / "x.bin").is_symlink()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda p: p.mkdir(), "Is a directory"),
        (lambda p: os.mkfifo(p), "not a regular file; name a file"),
        (lambda p: p.symlink_to("/etc/hostname"), "it is a symbolic link; name the file itself"),
        (lambda p: p.write_bytes(b"12345"), "5 bytes, more than 4; cut it"),
    ],
)
def test_reading_refuses(tmp_path: Path, make: Callable[[Path], object], text: str) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(StorageError) as caught:
        read_regular(path, 4)
    assert str(caught.value) == f"cannot read {path}: {text}"


def test_paths_that_no_system_takes(tmp_path: Path) -> None:
    for name in ("a\0b", "a" * 300):
        with pytest.raises(StorageError, match="cannot write"):
            commit_bytes(tmp_path / name, b"")
        with pytest.raises(StorageError, match="cannot read"):
            read_regular(tmp_path / name, 1)


def test_probe_makes_the_directory_or_says_why_not(tmp_path: Path) -> None:
    probe(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        probe(tmp_path / "file" / "b")
    assert str(caught.value) == (
        f"cannot write in {tmp_path}/file/b: Not a directory; name another place or mend its rights"
    )
