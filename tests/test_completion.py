"""What a shell completes: runs, symbols, presets and baselines that are there, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbones.cli import main
from backbones.presets import PRESETS
from forecaster.baselines import BASELINES
from forecaster.cli import cli
from forecaster.commands import completing
from forecaster.fetching import FetchRequest, fetch

PROGRAMS = {"forecaster": cli, "backbones": main}
RUNS = {"alpha": "backtest", "beta": "train", "beyond": "train", "gamma": "backtest", "verse": None}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs of every kind, and a store of two symbols."""
    monkeypatch.chdir(tmp_path)
    for name, kind in RUNS.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        status = {"state": "done"} | ({"kind": kind} if kind else {})
        (tmp_path / "runs" / name / "status.json").write_text(json.dumps(status))
    fetch(FetchRequest(symbols=("^GSPC", "AAPL"), store=tmp_path / "data"))
    return tmp_path


def completed(line: str) -> list[str]:
    """What bash would be offered for the last word of a line."""
    words = line.split(" ")
    program = words[0]
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    asked[f"_{program.upper()}_COMPLETE"] = "bash_complete"
    done = CliRunner().invoke(PROGRAMS[program], [], prog_name=program, env=asked)
    assert done.exit_code == 0, done.output
    return [each.removeprefix("plain,") for each in done.output.split()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("forecaster report runs/", ["runs/gamma", "runs/alpha"]),
        ("forecaster explore runs/alpha --learner runs/bet", ["runs/beta"]),
        ("forecaster predict ", ["runs/beyond", "runs/beta"]),
        ("forecaster train --resume runs/bey", ["runs/beyond"]),
        ("forecaster backtest --resume runs/a", ["runs/alpha"]),
        ("forecaster runs rm ", ["runs/gamma", "runs/beyond", "runs/beta", "runs/alpha"]),
        ("forecaster runs compare runs/alpha runs/g", ["runs/gamma"]),
        ("forecaster audit runs/g", ["runs/gamma"]),
        ("forecaster report elsewhere/", ["dir,elsewhere/"]),
        ("forecaster backtest --symbols ", ["AAPL", "^GSPC"]),
        ("forecaster backtest --symbols AAPL,^", ["AAPL,^GSPC"]),
        ("forecaster fetch GO", ["GOOG"]),
        ("forecaster backtest --preset dint_ngpt_m", ["dint_ngpt_mla"]),
        ("forecaster backtest --baselines naive,harx_o", ["naive,harx_own"]),
        ("backbones sample runs/", ["runs/verse"]),
        ("backbones train --preset ngpt", ["ngpt", "ngpt_simple"]),
        ("backbones compare --presets llama,mla_", ["llama,mla_query_latent"]),
        ("backbones train --recipe cpu-", ["cpu-muon"]),
    ],
)
def test_a_line_is_completed(line: str, offered: list[str]):
    assert completed(line) == offered


def test_symbols_are_those_of_the_store_that_the_line_names(here: Path):
    fetch(FetchRequest(symbols=("IBM",), store=here / "other"))
    assert completed("forecaster backtest --store other --symbols ") == ["IBM"]


def test_names_are_those_that_there_are():
    assert tuple(BASELINES) == completing.BASELINES
    assert completing.presets() == [*PRESETS, "mlp"]


def test_nothing_that_is_amiss_is_told(here: Path):
    (here / "runs/alpha/status.json").write_text("{")
    (here / "data/bars/manifest.json").write_text("{")
    assert completed("forecaster report runs/") == ["runs/gamma"]
    assert completed("forecaster report runs/a") == ["dir,runs/a"]
    assert completed("forecaster backtest --symbols A") == ["A"]
    (here / "runs/verse/status.json").write_text("{")
    assert completed("backbones sample runs/") == ["dir,runs/"]


def test_completing_waits_for_nothing_heavy():
    code = "import sys; from forecaster.cli import run; run([]); print(*sys.modules)"
    for line in ("forecaster backtest --preset l", "forecaster report r"):
        asked = {"COMP_WORDS": line, "COMP_CWORD": "2" if "report" in line else "3"}
        env = os.environ | asked | {"_FORECASTER_COMPLETE": "bash_complete"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert "plain," in done.stdout
        loaded = set(done.stdout.split())
        assert {"click", "sys"} <= loaded
        assert loaded & {"torch", "pandas", "scipy", "arch", "pyarrow"} == set()


def test_a_real_bash_completes_both_programs():
    script = """
eval "$(forecaster completion bash)"
COMP_CWORD=2
COMP_WORDS=(forecaster report runs/al)
_forecaster_completion forecaster
COMP_WORDS=(backbones sample runs/v)
_backbones_completion backbones
echo "${COMPREPLY[@]}"
"""
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["runs/alpha", "runs/verse"], done.stderr
