"""config show, doctor, runs rm, completion, and what a misspelt word is told."""

import json
import sys
from pathlib import Path

import pytest

from forecaster import doctor
from forecaster.cli import run
from forecaster.commands import past_runs
from forecaster.commands.past_runs import RunsRm
from forecaster.config import RunConfig, resolve
from forecaster.doctor import Check, examine
from forecaster.fetching import FetchRequest, fetch
from forecaster.learner import machine
from forecaster.runs import RunFolder
from forecaster.settings import origins, to_toml
from forecaster.store import Store

STATES = {"ok", "warn", "fail"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store of one symbol."""
    fetch(FetchRequest(symbols=("^IXIC",), source="bundled", store=tmp_path / "data"))
    return tmp_path / "data"


def made(name: str = "mine", state: str = "done") -> RunFolder:
    folder = RunFolder.create(Path("runs") / name, "backtest", RunConfig())
    folder.finish(state)
    return folder


@pytest.mark.parametrize(
    ("settings", "flags", "quick"),
    [
        ((), {}, False),
        (("learner.steps=50", "vault=open"), {"symbols": ("IBM", "A-B")}, True),
        (("learner.panel=2", "test_until=2012-01-01", "learner.lr=1e-5"), {}, False),
    ],
)
def test_the_shown_settings_are_read_as_the_same_config(
    settings: tuple[str, ...], flags: dict[str, tuple[str, ...]], quick: bool
):
    config = resolve(None, settings, flags, quick=quick)
    text = to_toml(config, origins(None, settings, flags, quick=quick))
    Path("again.toml").write_text(text)
    assert resolve(Path("again.toml"), (), {}) == config


def test_each_setting_is_told_with_what_set_it_last(capsys: pytest.CaptureFixture[str]):
    Path("run.toml").write_text("test_from = 2012-01-01\n[learner]\nseeds = 3\nsteps = 7\n")
    words = ["--quick", "--config", "run.toml", "--set", "learner.steps=9", "--symbols", "IBM"]
    assert run(["config", "show", *words]) == 0
    lines = {}
    for line in capsys.readouterr().out.splitlines():
        setting, _, origin = line.rpartition("  # ")
        lines[setting.strip()] = origin
    assert lines['test_from = "2012-01-01"'] == "run.toml"
    assert lines["seeds = 3"] == "run.toml"
    assert lines["steps = 9"] == "--set learner.steps=9"
    assert lines['symbols = ["IBM"]'] == "--symbols"
    assert lines["seed = 0"] == "default"
    assert lines["# test_until is not set"] == "default"
    assert run(["config", "show", *words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert RunConfig.model_validate(record["config"]).learner.steps == 9
    assert record["origins"]["learner.seeds"] == "run.toml"
    assert run(["config", "show", "--set", "learner.stebs=9"]) == 2
    assert "did you mean 'steps'?" in capsys.readouterr().err


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {each.name: each for each in checks}


def test_a_doctor_finds_a_machine_that_is_fit(stored: Path):
    made()
    checks = by_name(examine(stored))
    assert {each.state for each in checks.values()} <= STATES
    for name in ("python", "torch", "packages", "extra ui", "store", "runs", "disk"):
        assert checks[name].state == "ok", checks[name]
    assert "1 symbols, 5,031 bars" in checks["store"].found
    assert "1 in runs/, 0 of them not done" in checks["runs"].found
    assert all(bool(each.remedy) == (each.state != "ok") for each in checks.values())


def test_a_doctor_finds_what_is_wrong_and_says_what_to_do(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    segment = next(stored.rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes()[:-9] + b"sabotaged")
    made("cut", "interrupted")
    monkeypatch.setattr(doctor, "version", refuse)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("", (), {"free": 1 << 20}))
    monkeypatch.setitem(sys.modules, machine.__name__, None)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (999.0, 0, 0))
    checks = by_name(examine(stored))
    assert checks["store"].state == "fail"
    assert checks["store"].remedy == "forecaster store repair"
    assert (checks["packages"].state, checks["extra ui"].state) == ("fail", "warn")
    assert checks["extra ui"].remedy == "pip install 'forecaster-lab[ui]'"
    assert checks["torch"].state == checks["disk"].state == "fail"
    assert checks["threads"].state == "warn"
    assert checks["runs"].state == "warn"
    assert "--resume runs/cut" in checks["runs"].remedy
    assert run(["doctor", "--json"]) == 11
    out, err = capsys.readouterr()
    rows = json.loads(out)["checks"]
    assert {row["name"] for row in rows if row["state"] == "fail"} == {
        *("torch", "packages", "store", "disk"),
    }
    assert "4 of" in err
    assert err.count("\n") == 1


def refuse(name: str) -> str:
    raise doctor.PackageNotFoundError(name)


def test_a_doctor_of_an_empty_folder_says_how_to_begin(capsys: pytest.CaptureFixture[str]):
    assert by_name(examine(Path("data")))["store"].remedy == "forecaster fetch"
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warn  store") and "-> forecaster fetch" in line for line in lines)
    assert not Path("data").exists()
    assert not Path("runs").exists()


def test_a_run_is_removed_when_it_is_said_to_be_meant(capsys: pytest.CaptureFixture[str]):
    folder = made()
    assert run(["runs", "rm", "mine"]) == 2  # nobody can be asked
    assert "is removed for good: say so with --yes" in capsys.readouterr().err
    assert run(["runs", "rm", "mine", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == "runs/mine"
    assert not folder.path.exists()
    assert Path("runs").is_dir()


@pytest.mark.parametrize("said", [True, False])
def test_a_question_is_asked_in_a_terminal(said: bool, monkeypatch: pytest.MonkeyPatch):
    folder, asked = made(), []

    def confirm(question: str) -> bool:
        asked.append(question)
        return said

    monkeypatch.setattr(past_runs.sys.stdin, "isatty", lambda: True, raising=False)
    past_runs.runs_rm(RunsRm(run=folder.path), confirm)
    assert asked[0].startswith("remove runs/mine (done, 3 files, ")
    assert folder.path.exists() != said


def test_only_a_run_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "runs/other").mkdir(parents=True)
    (tmp_path / "runs/other/diary.txt").write_text("mine")
    assert run(["runs", "rm", "other", "--yes"]) == 2
    made()
    Path("runs/link").symlink_to("mine")
    assert run(["runs", "rm", "link", "--yes"]) == 2
    assert "is a link to a run" in capsys.readouterr().err
    assert Path("runs/mine/status.json").exists()
    assert Path("runs/other/diary.txt").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(shell: str, capsys: pytest.CaptureFixture[str]):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_FORECASTER_COMPLETE={shell}_complete" in script
    assert "forecaster" in script


def test_a_shell_that_asks_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("_FORECASTER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "forecaster runs s")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run([]) == 0
    assert capsys.readouterr().out == "plain,show\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["fetsh"], "'fetch'"),
        (["runs", "shwo"], "'show'"),
        (["backtest", "--horizon", "1"], "--horizons"),
        (["explore", "x", "--portt", "1"], "--port"),
    ],
)
def test_a_misspelt_word_is_told_what_was_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
):
    assert run(words) == 2
    said = capsys.readouterr().err
    assert "Did you mean" in said
    assert meant in said


def test_a_store_is_not_changed_by_looking(stored: Path):
    before = {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()}
    examine(stored)
    assert {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()} == before
    assert Store(stored).entries()
