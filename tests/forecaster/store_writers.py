"""A process that imports the store once and forks writers on command, for a test to kill.

Commands on stdin, one JSON list a line: [work, root, what] forks, ["wait", pid] reaps. Answers on
stdout: `forked PID`, `ack N` when commit N of a writer has returned, `ended STATUS`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from market import ORIGIN, daily

from forecaster.store import Store
from forecaster.store.lock import locked
from forecaster.store.segment import decode, encode

TORN = bytes(4 << 20)


def say(*words: object) -> None:
    """One line in one write: writers share the pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def grow(root: Path, start: int) -> None:
    """Append a bar a commit until killed."""
    store = Store(root)
    for n in range(start, start + 100_000):
        store.put(daily(n), ORIGIN)
        say("ack", n)


def grow_in_place(root: Path, start: int) -> None:
    """Planted mistake: the same, writing over the file itself."""
    for n in range(start, start + 100_000):
        (root / "naive").write_bytes(n.to_bytes(8) + TORN)
        say("ack", n)


def put_many(root: Path, of: list[int]) -> None:
    """As many symbols of its own, writer and count, and versions of one that others write too."""
    number, count = of
    store = Store(root, lock_timeout_s=60)
    for n in range(count):
        store.put(daily(3, f"W{number}-{n}"), ORIGIN)
        store.put(daily(3 + n, "BOTH"), ORIGIN)


def hold(root: Path, _: int) -> None:
    """Take the lock and keep it."""
    with locked(root / "LOCK", 0):
        say("ack", 0)
        time.sleep(60)


WORK = {work.__name__: work for work in (grow, grow_in_place, put_many, hold)}


def serve() -> None:
    """Obey until stdin ends."""
    signal.alarm(600)  # nobody waits for ever
    decode(encode(daily(3), ORIGIN))  # the first use of pyarrow imports half a second more
    for line in sys.stdin:
        command, *rest = json.loads(line)
        if command == "wait":
            say("ended", os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1]))
            continue
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            status = 1
            try:
                WORK[command](Path(rest[0]), rest[1])
                status = 0
            finally:
                os._exit(status)
        say("forked", child)


if __name__ == "__main__":
    serve()
