"""A run goes on only as what it was: other bars, settings or versions are refused by name."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from panels import garch_panel
from torch import Tensor

from backbones.checkpoint import latest
from forecaster.bars import Bars
from forecaster.cli import run
from forecaster.learner.forecaster import BackboneForecaster
from forecaster.provenance import Provenance
from forecaster.store import Store

ORIGIN = Provenance(
    source="test", package="none", version="1", sha256="", fetched_at="2026-01-01T00:00:00+00:00"
)
SIZES = ("steps=6", "seeds=1", "d_model=8", "n_heads=2", "context=24", "batch=2", "skip=4")
TINY = [word for size in SIZES for word in ("--set", f"learner.{size}")]
COMMON = ["--symbols", "GARCH-0", "--horizons", "1", *TINY, "-q"]
TEST = ["backtest", *COMMON, "--baselines", "naive", "--test-from", "2001-05-31", "--jobs", "1"]
COMMANDS = {"backtest": TEST, "train": ["train", *COMMON]}
BARS = garch_panel(560, 1).members[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a backtest and a training."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Store(Path("data")).put(BARS.head(540), ORIGIN)
        for name, command in COMMANDS.items():
            assert run([*command, "--out", name]) == 0
    return place


@pytest.fixture(autouse=True)
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, where the test is."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return request.param


def other_values(bars: Bars) -> Bars:
    volume = bars.volume.copy()
    volume[-1] += 1
    return Bars(**{**vars(bars), "volume": volume})


def refused(command: list[str], code: int, *words: str) -> Callable[[str], None]:
    """Run it; what checks the one line that it must have said."""
    assert run(command) == code

    def check(err: str) -> None:
        assert err.count("\n") == 1
        assert all(word in err for word in words), err

    return check


@pytest.mark.parametrize(
    ("bars", "difference"),
    [
        (BARS, "GARCH-0, 540 bars to 2001-06-25, has 560 bars to 2001-07-15 by now"),
        (other_values(BARS.head(540)), "other values on the same days"),
    ],
)
def test_other_bars(
    command: str, bars: Bars, difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(Path("data")).put(bars, ORIGIN)
    check = refused([command, "--resume", command, "-q"], 6, "was made from bars ", difference)
    check(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--set", "learner.lr=1", "settings=('learner.lr=1',)"),
        ("--symbols", "X", "symbols='X'"),
        ("--horizons", "5", "horizons='5'"),
        ("--out", "other", "out="),
    ],
)
def test_other_settings_on_the_command_line(
    command: str, option: str, value: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [command, "--resume", command, option, value]
    refused(line, 2, "--resume keeps the run's own config", named)(capsys.readouterr().err)


def test_other_settings_in_the_folder(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(command, "config.resolved.json")
    config = json.loads(path.read_text())
    config["learner"]["lr"] = 0.25
    path.write_text(json.dumps(config))
    said = {
        "backtest": ["began as ", "its config now says "],
        "train": ["is of another configuration: learner.lr=0.0005 in the run, 0.25 here"],
    }
    refused([command, "--resume", command, "-q"], 6, *said[command])(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["forecaster", "torch", "numpy"])
def test_other_code(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(command, "environment.json")
    there = json.loads(path.read_text())
    versions = there if name == "forecaster" else there["packages"]
    versions[name] = "0.0.1"
    path.write_text(json.dumps(there))
    before = Path(command, "status.json").read_bytes()
    words = ("was begun by other code: ", f"{name} 0.0.1 in the run, ")
    refused([command, "--resume", command, "-q"], 6, *words)(capsys.readouterr().err)
    assert Path(command, "status.json").read_bytes() == before


def test_what_is_the_same_is_resumed(command: str) -> None:
    """The refusals above are of differences, not of resuming."""
    before = Path(command, "summary.json").read_bytes()
    assert run([command, "--resume", command, "-q"]) == 0
    after = Path(command, "summary.json").read_bytes()
    assert command == "backtest" or after == before


def test_unfinished_runs_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed process left of a folder that it was making; the next one removes it."""
    left = Path("runs", ".tmp-4194304-0123456789abcdef")
    shutil.copytree("train", left)
    shutil.copytree("train", "runs/.tmp-1-0123456789abcdef")  # its process lives
    assert run(["runs", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []
    assert run([*COMMANDS["train"], "--out", "runs/new"]) == 0
    names = {path.name for path in Path("runs").iterdir()}
    assert names == {"new", ".tmp-1-0123456789abcdef"}


def test_a_file_that_cannot_be_read_is_not_called_damaged(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("forecaster.atomic.os.open", too_many)
    line = [command, "--resume", command, "-q"]
    refused(line, 5, "status.json: Too many open files")(capsys.readouterr().err)


def test_a_learner_that_diverges_keeps_what_was_good(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN in step 5 of 6, checkpoints after every other: the fourth is kept, and goes on."""
    recipe, loss = BackboneForecaster._recipe, BackboneForecaster._loss  # pyright: ignore

    def often(self: BackboneForecaster, seed: int, steps: int):
        return recipe(self, seed, steps).replace(checkpoint_every=2)

    def bad(*asked: Any) -> Tensor:
        return loss(*asked) * (math.nan if asked[-1] == 4 else 1.0)

    monkeypatch.setattr(BackboneForecaster, "_recipe", often)
    assert run([*COMMANDS["train"], "--out", "whole"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(BackboneForecaster, "_loss", bad)
        check = refused([*COMMANDS["train"], "--out", "bad"], 7, "loss=nan in step 5 at lr=")
    check(capsys.readouterr().err)
    checkpoints = Path("bad/seeds/seed-0/checkpoints")
    assert latest(checkpoints).name == "step-000004"
    assert json.loads(Path("bad/status.json").read_text())["state"] == "failed"
    assert run(["train", "--resume", "bad", "-q"]) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, other = (latest(Path(r, "seeds/seed-0/checkpoints")) / name for r in ("whole", "bad"))
        assert one.read_bytes() == other.read_bytes()
    for name in ("summary.json", "tokenizer.json"):
        assert Path("whole", name).read_bytes() == Path("bad", name).read_bytes()
