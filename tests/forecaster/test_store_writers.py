"""Several writers, and writers that are killed: nothing acknowledged is lost, nothing torn is read."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from market import ORIGIN, daily

from forecaster.errors import LockedError, StorageError
from forecaster.store import Store
from forecaster.store import store as store_module
from forecaster.store.lock import locked

KILLS = 60
TORN = bytes(4 << 20)


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes from a server that has imported the store once, for imports take a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forecaster.store", "market"])
    return context


def grow(root: Path, start: int, acknowledge: Connection) -> None:
    """Append a bar a commit until killed; say which commit has returned."""
    store = Store(root)
    for n in range(start, start + 100_000):
        store.put(daily(n), ORIGIN)
        acknowledge.send(n)


def grow_in_place(root: Path, start: int, acknowledge: Connection) -> None:
    """Planted mistake: the same, writing over the file itself."""
    for n in range(start, start + 100_000):
        (root / "naive").write_bytes(n.to_bytes(8) + TORN)
        acknowledge.send(n)


def kill_during(
    forks: ForkServerContext, work: Callable[[Path, int, Connection], None], root: Path, start: int
) -> int:
    """Run `work` and SIGKILL it at a random time after its first commit; the last acknowledged."""
    receive, send = forks.Pipe(duplex=False)
    process = forks.Process(target=work, args=(root, start, send))
    process.start()
    send.close()
    last = receive.recv()
    time.sleep(random.Random(start).uniform(0, 0.03))
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while True:
        try:
            last = receive.recv()
        except EOFError:
            receive.close()
            return last


def test_killed_writers_lose_nothing_acknowledged(forks: ForkServerContext, tmp_path: Path) -> None:
    store, rows = Store(tmp_path), 3
    for _ in range(KILLS):
        acknowledged = kill_during(forks, grow, tmp_path, rows)
        rows = len(store.load("AAPL"))
        assert rows in {acknowledged, acknowledged + 1}
        assert store.load("AAPL").close.tobytes() == daily(rows).close.tobytes()
    store.put(daily(rows + 1), ORIGIN)
    names = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert len(names) == 4, names  # lock, manifest and two generations: the litter is swept


def test_the_kill_harness_sees_a_writer_in_place(forks: ForkServerContext, tmp_path: Path) -> None:
    """Negative control: of the same kills, some leave the naive file torn."""
    torn = 0
    for start in range(15):
        acknowledged = kill_during(forks, grow_in_place, tmp_path, start)
        data = (tmp_path / "naive").read_bytes()
        whole = len(data) == 8 + len(TORN)
        torn += not whole or int.from_bytes(data[:8]) not in {acknowledged, acknowledged + 1}
    assert torn > 0


def put_many(root: Path, who: str, count: int) -> None:
    store = Store(root, lock_timeout_s=60)
    for n in range(count):
        store.put(daily(3, f"{who}{n}"), ORIGIN)
        store.put(daily(3 + n, "BOTH"), ORIGIN)


def test_writers_at_the_same_time_lose_nothing(forks: ForkServerContext, tmp_path: Path) -> None:
    count = 15
    processes = [forks.Process(target=put_many, args=(tmp_path, who, count)) for who in "ABC"]
    for process in processes:
        process.start()
    store, seen = Store(tmp_path), 0
    while any(process.is_alive() for process in processes):
        for entry in store.entries():  # a reader never sees a torn or mixed state
            assert len(store.load(entry.symbol)) >= entry.rows
            seen += 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert seen > 10
    wanted = {f"{who}{n}" for who in "ABC" for n in range(count)} | {"BOTH"}
    assert {entry.symbol for entry in store.entries()} == wanted
    assert len(store.load("BOTH")) == 3 + count - 1


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
        with locked(path, 0):  # a new file, a new lock
            with pytest.raises(LockedError), locked(path, 0):
                pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageError) as caught:
        Store(tmp_path).prepare()
    assert "this file system has no locks (Operation not supported)" in str(caught.value)


def hold(path: Path, ready: Connection) -> None:
    with locked(path, 0):
        ready.send(True)
        time.sleep(60)


def test_the_lock_of_a_killed_holder_is_free(forks: ForkServerContext, tmp_path: Path) -> None:
    receive, send = forks.Pipe(duplex=False)
    process = forks.Process(target=hold, args=(tmp_path / "LOCK", send))
    process.start()
    assert receive.recv()
    with pytest.raises(LockedError, match=f"process {process.pid}"), locked(tmp_path / "LOCK", 0):
        pass
    process.kill()
    process.join()
    with locked(tmp_path / "LOCK", 1):
        pass
