"""Real processes: what is committed when they are interrupted, killed, and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fake_yahoo import Chart, FakeYahoo, Reply, reply, serving

from forecaster.store import Store

pytestmark = pytest.mark.slow
SYMBOLS = tuple(f"S{i:02}" for i in range(20))
PROGRAM = """
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit
from forecaster import cli
from forecaster.sources import registry
from forecaster.sources.yahoo import Clock, Yahoo

root = sys.argv[1]

def route(url):
    parts = urlsplit(url)
    query = "?" + parts.query if parts.query else ""
    return root + "/" + parts.hostname + parts.path + query

clock = Clock(now=lambda: datetime(2024, 5, 6, 22, tzinfo=UTC))
registry.Yahoo = lambda: Yahoo(clock, route)
sys.argv = ["forecaster", *sys.argv[2:]]
raise SystemExit(cli.main())
"""


def start(fake: FakeYahoo, root: Path, *symbols: str) -> subprocess.Popen[str]:
    arguments = ["fetch", *symbols, "--source", "yahoo", "--store", str(root)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, fake.url, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def finish(fake: FakeYahoo, root: Path) -> None:
    process = start(fake, root, *SYMBOLS)
    process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.fixture
def fake() -> Iterator[FakeYahoo]:
    with serving(FakeYahoo()) as made:
        for symbol in SYMBOLS:
            made.scenarios[symbol] = lambda *_, s=symbol: reply(Chart(s).document())
        yield made


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_f25_a_signal_during_a_hang(
    fake: FakeYahoo, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    hanging: list[float] = []

    def hang(_: int, __: dict[str, str], ___: BaseHTTPRequestHandler) -> Reply | None:
        hanging.append(time.monotonic())
        time.sleep(9)
        return None

    fake.scenarios["HANG"] = hang
    process = start(fake, tmp_path, "S00", "S01", "HANG", "S02")
    while not hanging:
        time.sleep(0.05)
        assert process.poll() is None
    sent = time.monotonic()
    process.send_signal(number)
    assert process.stderr is not None
    told = [process.stderr.readline().split(":")[0] for _ in range(2)]
    said = process.stderr.readline()
    noticed = time.monotonic() - sent
    assert told == ["S00", "S01"]
    assert said == "interrupted: 2 of 4 symbols are stored; run the same command to go on\n"
    assert process.stderr.read().strip() == ""
    process.stderr.close()
    assert process.wait(30) == code
    assert noticed < 2
    assert time.monotonic() - sent < 6  # the socket would have kept it 9 s
    assert [entry.symbol for entry in Store(tmp_path).entries()] == ["S00", "S01"]


def test_f24_killed_at_random_and_run_again(fake: FakeYahoo, tmp_path: Path) -> None:
    """6 SIGKILLs over fetches of 20 symbols; what was committed is not asked for again."""
    whole = tmp_path / "whole"
    finish(fake, whole)
    wanted = Store(whole).digest(SYMBOLS)
    rng = random.Random(0)
    torn = tmp_path / "torn"
    for _ in range(6):
        before = {entry.symbol for entry in Store(torn).entries()} if torn.exists() else set()
        asked = len(fake.asked)
        process = start(fake, torn, *SYMBOLS)
        goal = asked + rng.randrange(1, 8)
        while len(fake.asked) < goal and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.03)
        process.kill()
        process.communicate()
        after = Store(torn).entries()
        assert before <= {entry.symbol for entry in after}
        assert not before & {symbol for symbol, _ in fake.asked[asked:]}
        for entry in after:
            assert len(Store(torn).load(entry.symbol)) == 90
    finish(fake, torn)
    assert Store(torn).digest(SYMBOLS) == wanted
