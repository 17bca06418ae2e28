"""Long work says how far it is: pace and time left at a terminal, no moving bar elsewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forecaster import display

RUNNER = r"""
import json, sys
from backbones.cli import main
from forecaster.cli import run

for line in json.loads(sys.argv[1]):
    print("\n=====", *line, file=sys.stderr, flush=True)
    program, *words = line
    code = run(words) if program == "forecaster" else main.main(words, standalone_mode=False)
    assert not code, (line, code)
"""
SIZES = ("steps=6", "seeds=2", "d_model=16", "context=32", "batch=4")
SMALL = " ".join(f"--set learner.{size}" for size in SIZES) + " --horizons 1 --symbols ^IXIC"
VERSE = "--corpus verse.txt --recipe smoke --set train.warmup=1 --steps 6"
LINES = {
    "fetch": "forecaster fetch ^IXIC AAPL",
    "store verify": "forecaster store verify",
    "store repair": "forecaster store repair",
    "train": f"forecaster train --until 2018-06-29 {SMALL} --out runs/net",
    "predict": "forecaster predict runs/net --paths 3",
    "paths": "forecaster paths runs/net --paths 2 --every 2",
    "backtest": f"forecaster backtest --test-from 2018-06-01 --baselines naive --jobs 1 {SMALL}"
    " --out runs/mine",
    "audit": "forecaster audit runs/mine --examples 1",
    "text train": f"backbones train {VERSE} --out runs/text",
    "text eval": "backbones eval runs/text --corpus verse.txt",
    "text compare": f"backbones compare --presets llama,mla --seeds 2 --rates 1 {VERSE} --out st",
    "bench": "forecaster bench tokens --rounds 2 --symbols 1 --bars 800",
    "text bench": "backbones bench ffn ngpt-normalisation --rounds 2",
}
PACE = re.compile(r"\d\.\d (cells|steps|symbols|windows|bars|laws|rounds)/(s|min)")
LEFT = re.compile(r"left +(\x1b\[[\d;]*m)?\d:\d\d:\d\d|about \d+ s left")
MOVES = re.compile(r"[\r\x1b]")
UNMOVED = {"fetch", "store verify", "store repair", "text train", "text eval", "bench"}
UNMOVED |= {"text bench"}


def told(folder: Path, ends: tuple[int, int]) -> dict[str, str]:
    """What each line says on stderr, all of them run in `folder`; `ends` of a pipe or terminal."""
    reads, writes = ends
    (folder / "verse.txt").write_text("The quality of mercy is not strain'd, it droppeth.\n" * 200)
    env = os.environ | {"COLUMNS": "120", "TERM": "xterm-256color"}
    child = subprocess.Popen(
        [sys.executable, "-c", RUNNER, json.dumps([line.split() for line in LINES.values()])],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=writes,
    )
    os.close(writes)
    found = b""
    while more := read(reads):
        found += more
    os.close(reads)
    assert child.wait() == 0, found.decode()[-2000:]
    parts = re.split(r"^===== .*$", found.decode().replace("\r\n", "\n"), flags=re.M)[1:]
    return dict(zip(LINES, parts, strict=True))


def read(end: int) -> bytes:
    """What comes next; nothing at the end, which a terminal tells by an error."""
    try:
        return os.read(end, 1 << 16)
    except OSError:
        return b""


def test_at_a_terminal_pace_and_time_left_are_shown(tmp_path: Path):
    for name, text in told(tmp_path, os.openpty()).items():
        assert PACE.search(text), (name, text[-500:])
        assert LEFT.search(text), (name, text[-500:])
        assert MOVES.search(text), name


def test_elsewhere_nothing_moves(tmp_path: Path):
    for name, text in told(tmp_path, os.pipe()).items():
        assert not MOVES.search(text), (name, text[-500:])
        if name in UNMOVED:
            assert not PACE.search(text), name
        else:
            assert PACE.search(text), (name, text[-500:])
            assert LEFT.search(text), (name, text[-500:])


def test_tenths_are_told_once_and_with_a_pace(capsys: pytest.CaptureFixture[str]):
    with display.progress(40, "steps", quiet=False) as meter:
        for _ in range(40):
            meter.advance(1, "x")
        meter.begin(5)
        for _ in range(5):
            meter.advance(1, "y")
    lines = capsys.readouterr().err.splitlines()
    tenths = [int(line.split()[0]) for line in lines]
    assert tenths == [*range(10, 101, 10), *range(20, 101, 20)]
    assert all(PACE.search(line) and LEFT.search(line) for line in lines)


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]):
    with display.progress(2, "steps", quiet=True) as meter:
        meter.advance(2, "x")
        meter.say("y")
    assert capsys.readouterr().err == ""


def test_a_slow_pace_is_told_by_the_minute():
    assert display.rate(3, 2, "cells") == "1.5 cells/s"
    assert display.rate(3, 60, "cells") == "3.0 cells/min"
