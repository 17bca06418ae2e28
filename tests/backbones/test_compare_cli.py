"""`backbones compare` as a user meets it: stdout, stderr, exit codes, files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from studies import text_of

from backbones import cli, language
from backbones.compare import tasks

SMALL = ["--corpus", "words.txt", "--recipe", "smoke", "--steps", "4", "--rates", "1,2"]
SMALL += ["--finalists", "1"]
SMALL += ["--set", "train.warmup=1"]
PAIR = ["--presets", "llama,diff_v1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a small corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text(text_of())
    return tmp_path


@pytest.fixture(autouse=True)
def algorithms() -> Iterator[None]:
    """The commands set torch to fixed algorithms; the other tests of a process did not ask."""
    yield
    torch.use_deterministic_algorithms(False)


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["compare", *arguments])


def refused(result: Result, code: int, message: str) -> None:
    """One line on stderr, nothing on stdout, and that exit code."""
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr == f"error: {message}\n"


@pytest.mark.usefixtures("folder")
def test_compare_end_to_end() -> None:
    result = compare(*PAIR, *SMALL, "--seeds", "2", "--out", "out")
    assert result.exit_code == 0, result.stderr
    told = result.stderr.splitlines()
    assert len(told) == 8
    assert told[0].startswith("  5 %  llama-x1: ")
    assert told[-1].startswith("100 %  diff_v1-seed2: ")
    assert told[-1].endswith(" steps/s, about 0 s left")
    assert "words.txt, recipe smoke: 2 arms x 2 seeds" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    files = [f"out/{name}" for name in ("results.parquet", "curves.parquet", "trials.parquet")]
    assert result.stdout.splitlines()[-4:] == [*files, "out/compare.html"]
    written = {name: Path(name).read_bytes() for name in (*files, "out/compare.html")}

    again = compare("--resume", "out", "--json")
    assert again.exit_code == 0, again.stderr
    assert all("from before" in line for line in again.stderr.splitlines())
    answer = json.loads(again.stdout)
    assert [arm["name"] for arm in answer["arms"]] == ["llama", "diff_v1"]
    assert answer["arms"][1]["nats"]["n"] == 2
    assert answer["study"] == json.loads(Path("out/study.json").read_text())
    assert {name: Path(name).read_bytes() for name in written} == written

    refused(
        compare("--resume", "out", "--seeds", "3"),
        2,
        "out holds another study: seeds=2 in the run, 3 here; name another --out",
    )
    refused(
        compare(*PAIR, *SMALL, "--out", "out"),
        2,
        "out exists: name another --out, or --resume out",
    )


@pytest.mark.usefixtures("folder")
def test_an_interrupted_study_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(language.run, "mean_nats", interrupted)
    result = compare(*PAIR, *SMALL, "--out", "out")
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [
        "to go on: backbones compare --resume out",
        "error: interrupted: go on with --resume",
    ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_sigterm_ends_a_study_and_all_its_processes(jobs: str) -> None:
    """A real signal to a real process: exit code, two lines, and nothing that goes on."""
    long = "compare --presets llama,diff_v1 --corpus words.txt --recipe smoke --steps 100000"
    code = "from backbones.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *long.split(), "--jobs", jobs, "--out", "out"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    run = Path("out/trials/llama-x0.5")
    began = time.monotonic()
    while not (run / "metrics.jsonl").exists() and time.monotonic() - began < 200:
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=100)
    assert process.returncode == 143
    assert told.splitlines() == [
        "to go on: backbones compare --resume out",
        "error: terminated: go on with --resume",
    ]
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert is_gone(process.pid)


def is_gone(group: int) -> bool:
    """Whether a process group ends within a minute; helpers of multiprocessing are the last."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.usefixtures("folder")
def test_a_dry_run_shows_arms_and_runs_and_leaves_nothing() -> None:
    how = [*PAIR, *SMALL, "--seeds", "2", "--vary", "loss=softmax,taylor", "--dry-run"]
    answer = json.loads(compare(*how, "--out", "out", "--json").stdout)
    assert (answer["folder"], answer["trials"], answer["runs"]) == ("out", 8, 8)
    assert answer["steps"] == 8 * 1 + 8 * 4
    assert answer["llama loss=softmax"].endswith(" parameters (+0.00 %), d_ffn 88")
    assert not Path("out").exists()


def test_tinyshakespeare_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = compare("--presets", "llama", "--dry-run").stdout
    assert "-compare-tinyshakespeare" in shown.splitlines()[0]
    assert shown.splitlines()[1].split() == ["trials", "4"]
    assert shown.splitlines()[2].split() == ["finals", "3"]
    assert shown.splitlines()[3].split() == ["runs", "3"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "--presets is missing: for instance llama,diff_v1 (see `backbones list`)"),
        (["--presets", "lama"], 2, "preset 'lama' does not exist: did you mean 'llama'?"),
        (
            [*PAIR, "--vary", "los=taylor"],
            2,
            "--set los: there is no field 'los', did you mean 'loss'?",
        ),
        ([*PAIR, "--vary", "loss"], 2, "--vary 'loss': FIELD=VALUE,VALUE,... is wanted"),
        ([*PAIR, "--set", "batch"], 2, "--set 'batch' has no '=': FIELD=VALUE is wanted"),
        (
            [*PAIR, "--set", "backbone.n_heads=5"],
            2,
            "backbone: d_model=32 is not a multiple of n_heads=5",
        ),
        ([*PAIR, "--seeds", "0"], 2, "seeds=0: Input should be greater than or equal to 1"),
        (
            [*PAIR, "--rates", "1,fast"],
            2,
            "rates.1='fast': Input should be a valid number, unable to parse string as a number",
        ),
        (
            [*PAIR, "--parameters", "100"],
            2,
            "100 parameters are fewer than the 9440 that are there with d_ffn=2: "
            "name a larger --parameters, or --as-is",
        ),
        (
            [*PAIR, "--parameters", "100", "--as-is"],
            2,
            "parameters=100 are ignored as-is: one of the two",
        ),
        ([*PAIR, "--vocab-size", "300"], 2, "--vocab-size 300 belongs to --tokenizer bpe"),
        (["--resume", "nothing"], 2, "nothing holds no study: study.json cannot be read"),
        (["--resume", "a", "--out", "b"], 2, "--out b and --resume a: one of the two"),
        (
            [*PAIR, "--corpus", "prose.txt"],
            2,
            "corpus 'prose.txt' is neither known nor a file: name tinyshakespeare, "
            "shakespeare-rest, wikitext-2 or a text file",
        ),
    ],
)
def test_compare_refuses(options: list[str], code: int, message: str) -> None:
    refused(compare(*([] if "--resume" in options else SMALL), *options), code, message)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("folder")
def test_a_file_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    how = ["--presets", "llama", *SMALL, "--rates", "1", "--seeds", "1", "--out", "out"]
    assert compare(*how).exit_code == 0
    Path("out/compare.html").unlink()
    Path("out/compare.html").mkdir()
    monkeypatch.setattr(tasks, "train_run", None)  # nothing is trained again
    result = compare("--resume", "out")
    assert result.exit_code == 5
    assert result.stderr.splitlines()[-1] == (
        "error: out/compare.html cannot be written: Is a directory"
    )


def test_help() -> None:
    result = compare("--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "--resume" in result.stdout


def test_values_are_json_where_they_are_json() -> None:
    from backbones.compare.request import variation

    def values(text: str) -> tuple[Any, ...]:
        return variation(text).values

    assert values("loss=softmax,taylor") == ("softmax", "taylor")
    assert values("train.ema=null,0.9") == (None, 0.9)
    assert values("train.orthograd=null,row") == (None, "row")
    assert values('train.schedule={"kind":"wsd","decay":0.1},"linear"') == (
        {"kind": "wsd", "decay": 0.1},
        "linear",
    )
