"""Several writers, and killed ones: nothing acknowledged is lost, nothing torn is read."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import store_writers
from market import ORIGIN, daily
from store_writers import TORN

from forecaster.errors import LockedError, StorageError
from forecaster.store import Store, verify
from forecaster.store import store as store_module
from forecaster.store.lock import locked

LONGEST_WAIT_S = 0.08  # two commits or three


class Writers:
    """The test's end of `store_writers`."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, store_writers.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.acknowledged = -1
        self.random = random.Random(0)

    def send(self, *command: object) -> None:
        assert self.server.stdin
        self.server.stdin.write(json.dumps(command) + "\n")
        self.server.stdin.flush()

    def answer(self, wanted: str) -> int:
        """The number in the next answer of a kind; acknowledgements before it are noted."""
        assert self.server.stdout
        for line in self.server.stdout:
            kind, number = line.split()
            if kind == "ack":
                self.acknowledged = int(number)
            if kind == wanted:
                return int(number)
        raise AssertionError(f"the server ended before {wanted}")

    def start(self, work: str, root: Path, what: int | list[int]) -> int:
        self.acknowledged = -1
        self.send(work, str(root), what)
        return self.answer("forked")

    def await_first(self) -> None:
        """Wait for an acknowledgement; it may have come before the answer to `start`."""
        if self.acknowledged < 0:
            self.answer("ack")

    def end(self, process: int) -> int:
        self.send("wait", process)
        return self.answer("ended")

    def kill_during(self, work: str, root: Path, start: int) -> int:
        """SIGKILL `work` at a random time after its first commit; the last acknowledged one."""
        process = self.start(work, root, start)
        self.await_first()
        time.sleep(self.random.uniform(0, LONGEST_WAIT_S))
        os.kill(process, signal.SIGKILL)
        assert self.end(process) == -signal.SIGKILL
        return self.acknowledged


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    assert made.server.stdin
    assert made.server.stdout
    made.server.stdin.close()
    made.server.stdout.close()
    assert made.server.wait(10) == 0


@pytest.mark.parametrize("kills", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_writers_lose_nothing_acknowledged(
    writers: Writers, tmp_path: Path, kills: int
) -> None:
    store, rows = Store(tmp_path), 3
    for _ in range(kills):
        acknowledged = writers.kill_during("grow", tmp_path, rows)
        rows = len(store.load("AAPL"))
        assert rows in {acknowledged, acknowledged + 1}
        assert store.load("AAPL").close.tobytes() == daily(rows).close.tobytes()
    assert rows > 3  # commits did succeed between the kills
    store.put(daily(rows + 1), ORIGIN)
    names = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert len(names) == 4, names  # lock, manifest and two generations: the litter is swept


def test_the_kill_harness_sees_a_writer_in_place(writers: Writers, tmp_path: Path) -> None:
    """Negative control: of the same kills, some leave the naive file torn."""
    torn = 0
    for start in range(15):
        acknowledged = writers.kill_during("grow_in_place", tmp_path, start)
        data = (tmp_path / "naive").read_bytes()
        whole = len(data) == 8 + len(TORN)
        torn += not whole or int.from_bytes(data[:8]) not in {acknowledged, acknowledged + 1}
    assert torn > 0


@pytest.mark.parametrize("puts", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_four_writers_at_the_same_time_lose_nothing(
    writers: Writers, tmp_path: Path, puts: int
) -> None:
    """On symbols of their own and on one that all of them write: 8 x `puts` commits."""
    store, four = Store(tmp_path), range(4)
    store.prepare()
    processes = [writers.start("put_many", tmp_path, [number, puts]) for number in four]
    seen, until = 0, time.monotonic() + 110  # the writers end themselves after two minutes
    while len(entries := store.entries()) < 4 * puts + 1 and time.monotonic() < until:
        for entry in entries[:1] + entries[-2:]:  # a reader never sees a torn or mixed state
            assert len(store.load(entry.symbol)) >= entry.rows
            seen += 1
        time.sleep(0.02)
    assert [writers.end(process) for process in processes] == [0] * 4
    assert seen > 10
    wanted = {f"W{number}-{n}" for number in four for n in range(puts)} | {"BOTH"}
    assert {entry.symbol for entry in store.entries()} == wanted
    assert store.load("BOTH").close.tobytes() == daily(3 + puts - 1).close.tobytes()
    looked = verify(tmp_path)
    assert (looked.faults, looked.rows) == ((), 4 * puts * 3 + 3 + puts - 1)


def test_without_the_lock_a_writer_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted mistake: two commits that interleave, with the lock taken out."""

    @contextmanager
    def unlocked(*_: object) -> Iterator[None]:
        yield

    store = Store(tmp_path)
    store.prepare()
    encode = store_module.encode
    between: list[str] = ["IBM"]

    def interleaved(*args: Any) -> bytes:
        while between:
            store.put(daily(3, between.pop()), ORIGIN)
        return encode(*args)

    monkeypatch.setattr(store_module, "encode", interleaved)
    monkeypatch.setattr(store_module, "locked", unlocked)
    store.put(daily(3, "AAPL"), ORIGIN)
    assert [entry.symbol for entry in store.entries()] == ["AAPL"]


# The lock


def test_a_held_lock_is_waited_for_then_named(tmp_path: Path) -> None:
    Store(tmp_path).prepare()
    path = tmp_path / "bars" / "LOCK"
    with locked(path, 0):
        began = time.monotonic()
        with pytest.raises(LockedError) as caught:
            Store(tmp_path, lock_timeout_s=0.1).put(daily(3), ORIGIN)
        assert 0.1 <= time.monotonic() - began < 5
        assert str(caught.value) == (
            f"{path} is held by another writer (process {os.getpid()}): wait for it, then try again"
        )
        assert caught.value.exit_code == 9
        assert Store(tmp_path).entries() == ()  # readers need no lock
    assert Store(tmp_path, lock_timeout_s=0.1).put(daily(3), ORIGIN).status == "added"


def test_what_the_lock_file_says_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    with locked(path, 0):
        path.write_text("\x1b[31mroot")
        with pytest.raises(LockedError, match="is held by another writer: wait"), locked(path, 0):
            pass


def test_a_lock_file_that_was_removed_binds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    with locked(path, 0):
        path.unlink()
        with locked(path, 0), pytest.raises(LockedError), locked(path, 0):
            pass  # the second is of a new file; it is the one that keeps the third out


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageError) as caught:
        Store(tmp_path).prepare()
    assert "this file system has no locks (Operation not supported)" in str(caught.value)


def test_the_lock_of_a_killed_holder_is_free(writers: Writers, tmp_path: Path) -> None:
    process = writers.start("hold", tmp_path, 0)
    writers.await_first()
    with pytest.raises(LockedError, match=f"process {process}"), locked(tmp_path / "LOCK", 0):
        pass
    os.kill(process, signal.SIGKILL)
    writers.end(process)
    with locked(tmp_path / "LOCK", 1):
        pass
