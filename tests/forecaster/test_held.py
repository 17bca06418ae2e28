"""A run is worked on by one process; what a dead one left is told from what goes on."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecaster import held
from forecaster.cli import run
from forecaster.config import RunConfig
from forecaster.errors import LockedError, UsageError
from forecaster.runs import RunFolder

HOLDER = """
import sys
from pathlib import Path
from forecaster.config import RunConfig
from forecaster.runs import RunFolder
RunFolder.create(Path(sys.argv[1]), "train", RunConfig())
print("made", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Another process at work in runs/one."""
    monkeypatch.chdir(tmp_path)
    line = [sys.executable, "-c", HOLDER, "runs/one"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        yield process
        process.kill()


def states(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `runs ls` says."""
    capsys.readouterr()
    assert run(["runs", "ls", "--json"]) == 0
    return [row["state"] for row in json.loads(capsys.readouterr().out)["runs"]]


def test_a_run_that_goes_on_is_nobody_elses(
    working: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert working.poll() is None
    there = RunFolder.open(Path("runs/one"))
    with pytest.raises(LockedError, match="runs/one is being worked on by another process: wait"):
        there.go_on()
    with pytest.raises(UsageError, match="runs/one is running: wait until it has ended"):
        there.require_done()
    assert states(capsys) == ["running"]
    assert run(["runs", "rm", "runs/one", "--yes"]) == LockedError.exit_code
    assert (there.path / "status.json").exists()


def test_a_run_whose_process_died_is_cut_off_and_goes_on(
    working: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    working.kill()
    working.wait()
    there = RunFolder.open(Path("runs/one"))
    with pytest.raises(UsageError, match=r"runs/one is cut off; go on with: .* --resume runs/one"):
        there.require_done()
    assert states(capsys) == ["cut off"]
    there.go_on()
    assert there.state() == "running"
    there.finish("done")
    assert states(capsys) == ["done"]


def test_a_process_holds_a_folder_until_it_lets_go(tmp_path: Path) -> None:
    there = RunFolder.create(tmp_path / "one", "train", RunConfig())
    there.go_on()  # the same process: it is its own
    asks = "import sys; from pathlib import Path; from forecaster.held import is_held\n"
    asks += "print(is_held(Path(sys.argv[1])))"

    def another_sees() -> str:
        line = [sys.executable, "-c", asks, str(there.path)]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()

    assert another_sees() == "True"
    there.finish("interrupted")
    assert another_sees() == "False"
    names = {path.name for path in there.path.iterdir()}
    assert names == {"status.json", "config.resolved.json", "environment.json"}


def test_a_folder_on_a_system_without_locks_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_descriptor: int, _how: int) -> None:
        raise OSError(held.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(held.fcntl, "flock", none)
    there = RunFolder.create(tmp_path / "one", "train", RunConfig())
    held.let_go(there.path)
    assert not held.is_held(there.path)
    there.finish("done")
