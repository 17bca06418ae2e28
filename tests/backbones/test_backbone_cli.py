"""The commands as a user meets them: answers on stdout, everything else on stderr, exit codes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from backbones import cli, language
from backbones.checkpoint import latest
from backbones.storage import held

VERSE = "The quality of mercy is not strain'd, it droppeth as the gentle rain from heaven.\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a small corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verse.txt").write_text(VERSE * 60)
    return tmp_path


@pytest.fixture(autouse=True)
def algorithms() -> Iterator[None]:
    """The commands set torch to fixed algorithms; the other tests of a process did not ask."""
    yield
    torch.use_deterministic_algorithms(False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def train(*more: str) -> Result:
    small = ["--corpus", "verse.txt", "--recipe", "smoke", "--steps", "12"]
    return invoke("-q", "train", *small, "--set", "train.checkpoint_every=5", *more)


def refused(result: Result, code: int, message: str) -> None:
    """One line on stderr, nothing on stdout, and that exit code."""
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr == f"error: {message}\n"


@pytest.mark.usefixtures("folder")
def test_train_sample_eval_end_to_end() -> None:
    trained = train("--out", "run", "--json")
    assert trained.exit_code == 0, trained.stderr
    assert trained.stderr == ""
    summary = json.loads(trained.stdout)
    assert summary == json.loads(Path("run/summary.json").read_text())
    assert (summary["steps"], summary["tokens"], summary["seed"]) == (12, 12 * 8 * 32, 0)
    assert json.loads(Path("run/status.json").read_text())["state"] == "done"

    scored = invoke("eval", "run", "--json")
    answer = json.loads(scored.stdout)
    assert answer["validation_nats"] == pytest.approx(summary["validation_nats"], abs=1e-9)
    assert answer["windows"] == (len(VERSE * 60) // 10 - 1) // 32

    how = ["--prompt", "mercy", "--length", "100", "--top-k", "5"]
    sampled = invoke("sample", "run", *how)
    assert sampled.exit_code == 0, sampled.stderr
    assert sampled.stdout.startswith("mercy")
    assert len(sampled.stdout) == 5 + 100 + 1
    assert set(sampled.stdout) <= set(VERSE)
    again = invoke("sample", "run", *how, "--json")
    assert json.loads(again.stdout)["text"] == sampled.stdout[:-1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "how",
    [
        ["--tokenizer", "byte", "--set", "loss=taylor"],
        ["--tokenizer", "bpe", "--vocab-size", "270", "--set", "loss=stablemax"],
        ["--preset", "ngpt", "--set", "train.muon={}", "--set", "train.weight_decay=0"],
        ["--set", "train.precision=bf16-mixed", "--set", "train.schedule=linear"],
        ["--set", "train.precision=bf16", "--set", "split=selection"],
    ],
    ids=str,
)
def test_axes_of_a_run_end_to_end(how: list[str]) -> None:
    """What training says is what eval says, and sampling runs, whatever the axes."""
    trained = train("--out", "run", "--json", *how)
    assert trained.exit_code == 0, trained.stderr
    name = "selection_nats" if "split=selection" in how else "validation_nats"
    told = json.loads(trained.stdout)[name]
    scored = invoke("eval", "run", "--json")
    assert scored.exit_code == 0, scored.stderr
    answer = json.loads(scored.stdout)
    assert answer[name] == pytest.approx(told, abs=1e-9)
    assert 0 < answer["softmax_nats"] < 4
    assert (answer["tokens"] < answer["characters"]) == ("bpe" in how)
    sampled = invoke("sample", "run", "--prompt", "mercy", "--length", "20")
    assert sampled.exit_code == 0, sampled.stderr


@pytest.mark.usefixtures("folder")
def test_runs_on_the_sphere_are_saved_on_it() -> None:
    trained = train("--out", "run", "--preset", "ngpt", "--set", "train.ema=0.9")
    assert trained.exit_code == 0, trained.stderr
    model = language.open_run(Path("run")).model
    rows = model.backbone.entry.table.norm(dim=1)
    torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("folder")
def test_the_run_folder() -> None:
    train("--out", "run")
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "checkpoints",
        "config.resolved.json",
        "environment.json",
        "metrics.jsonl",
        "status.json",
        "summary.json",
        "tokenizer.json",
    ]
    plan = json.loads(Path("run/config.resolved.json").read_text())
    assert plan["train"]["steps"] == 12
    assert plan["backbone"]["vocab_size"] == len(set(VERSE))


@pytest.mark.usefixtures("folder")
def test_without_out_a_run_is_named_after_what_it_is() -> None:
    assert train("--seed", "3").exit_code == 0
    (run,) = Path("runs").iterdir()
    assert run.name[8] == "T"
    assert run.name.endswith("Z-llama-verse-seed3")


@pytest.mark.usefixtures("folder")
def test_resume_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    train("--out", "whole")
    with monkeypatch.context() as patch:
        patch.setattr(language.run, "mean_nats", interrupted)
        stopped = train("--out", "parts")
    refused(stopped, 130, "interrupted: go on with --resume")
    assert json.loads(Path("parts/status.json").read_text())["state"] == "interrupted"
    Path("parts/checkpoints/LATEST").write_text("step-000005\n")  # as if it had stopped earlier

    resumed = invoke("-q", "train", "--resume", "parts")
    assert resumed.exit_code == 0, resumed.stderr
    for name in ("model.safetensors", "optimizer.safetensors", "state.json", "config.json"):
        one, other = (latest(Path(run) / "checkpoints") / name for run in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("folder")
def test_sigterm_ends_a_run_like_ctrl_c() -> None:
    """A real signal to a real process: status, exit code, one line, and a run that goes on."""
    small = "--corpus verse.txt --recipe smoke --steps 3000 --set train.checkpoint_every=5 --out x"
    code = "from backbones.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "-q", "train", *small.split()],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    began = time.monotonic()
    while not Path("x/checkpoints/LATEST").exists() and time.monotonic() - began < 60:
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (143, "error: terminated: go on with --resume\n")
    assert json.loads(Path("x/status.json").read_text())["state"] == "interrupted"
    assert latest(Path("x/checkpoints")).is_dir()


def interrupted(*_: object) -> float:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--preset", "classic"], "preset='llama' in the run, 'classic' here"),
        (["--recipe", "cpu"], "recipe_name='smoke' in the run, 'cpu' here"),
        (["--steps", "99"], "train.steps=12 in the run, 99 here"),
        (["--set", "backbone.d_ffn=99"], "backbone.d_ffn=88 in the run, 99 here"),
    ],
)
def test_resume_of_another_plan_is_refused(options: list[str], difference: str) -> None:
    train("--out", "run")
    status = Path("run/status.json").read_text()
    result = invoke("train", "--resume", "run", *options)
    refused(result, 6, f"run cannot go on with another plan: {difference}")
    assert Path("run/status.json").read_text() == status


@pytest.mark.usefixtures("folder")
def test_a_run_is_worked_on_by_one_process() -> None:
    assert train("--out", "run").exit_code == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    with held(Path("run")):  # as another process would: a lock is its descriptor's
        stopped = invoke("-q", "train", "--resume", "run")
    refused(stopped, 9, "run is being worked on by another process: wait for it, or stop it first")
    assert {path: path.read_bytes() for path in before} == before
    assert invoke("-q", "train", "--resume", "run").exit_code == 0


@pytest.mark.usefixtures("folder")
def test_resume_on_a_changed_text_is_refused() -> None:
    train("--out", "run")
    Path("verse.txt").write_text(VERSE)
    result = invoke("train", "--resume", "run")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: corpus 'verse.txt' has sha256 ")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--corpus", "verse.txt", "--preset", "lama"],
            2,
            "preset 'lama' does not exist: did you mean 'llama'?",
        ),
        (
            ["--corpus", "verse.txt", "--recipe", "cup"],
            2,
            "recipe 'cup' does not exist: did you mean 'cpu'?",
        ),
        (
            ["--corpus", "prose.txt"],
            2,
            "corpus 'prose.txt' is neither known nor a file: name tinyshakespeare, "
            "shakespeare-rest, wikitext-2 or a text file",
        ),
        ([], 2, "--corpus is missing: 'tinyshakespeare' or the path of a text file"),
        (
            ["--corpus", "verse.txt", "--out", "."],
            2,
            ". exists: name another --out, or go on with --resume .",
        ),
        (
            ["--resume", "nothing"],
            6,
            "nothing is no run: config.resolved.json cannot be read",
        ),
        (
            ["--resume", "a", "--out", "b"],
            2,
            "--out b and --resume a: a run goes on in its folder",
        ),
        (
            ["--corpus", "verse.txt", "--set", "train.lrr=1"],
            2,
            "--set train.lrr: there is no field 'lrr', did you mean 'lr'?",
        ),
        (
            ["--corpus", "verse.txt", "--set", "train.ema.x=1"],
            2,
            "--set train.ema.x: 'ema' has no fields",
        ),
        (
            ["--corpus", "verse.txt", "--set", "train.lr"],
            2,
            "--set 'train.lr' has no '=': FIELD=VALUE is wanted",
        ),
        (
            ["--corpus", "verse.txt", "--set", "backbone.n_heads=5"],
            2,
            "backbone: d_model=128 is not a multiple of n_heads=5",
        ),
        (
            ["--corpus", "verse.txt", "--set", "train.lr=fast"],
            2,
            "train.lr='fast': Input should be a valid number, unable to parse string as a number",
        ),
        (
            ["--corpus", "verse.txt", "--set", "tokenizer=byte"],
            2,
            "tokenizer 'byte' has 256 ids, backbone.vocab_size=26: name it by --tokenizer, "
            "which sets both",
        ),
        (
            ["--corpus", "verse.txt", "--vocab-size", "300"],
            2,
            "--vocab-size 300 belongs to --tokenizer bpe: characters and bytes have theirs",
        ),
        (
            ["--corpus", "verse.txt", "--path", "x"],
            2,
            "--path x belongs to corpus 'wikitext-2', not to 'verse.txt'",
        ),
        (
            ["--corpus", "verse.txt", "--set", "train.schedule=fast"],
            2,
            "train.schedule={'kind': 'fast'}: Input tag 'fast' found using 'kind' does not match "
            "any of the expected tags: 'constant', 'linear', 'cosine', 'restarts', 'wsd'",
        ),
        (
            ["--corpus", "verse.txt", "--set", "batch=5000"],
            3,
            "the text has 4428 tokens, 68 windows of 64: a batch of 5000 is wanted",
        ),
    ],
)
def test_train_refuses(options: list[str], code: int, message: str) -> None:
    refused(invoke("train", *options), code, message)


@pytest.mark.usefixtures("folder")
def test_a_run_that_diverges_exits_7() -> None:
    result = train("--set", "train.lr=1e30", "--set", "train.clip=null", "--out", "run")
    assert result.exit_code == 7
    assert " that step was not taken, a lower lr or a longer warmup is worth" in result.stderr
    status = json.loads(Path("run/status.json").read_text())
    assert (status["state"], f"error: {status['reason']}\n") == ("failed", result.stderr)


@pytest.mark.usefixtures("folder")
def test_a_fault_of_ours_ends_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(language.run, "mean_nats", lambda *_: {}[0])
        result = train("--out", "run")
    refused(result, 1, "this is a bug, KeyError: 0 (--debug shows where)")
    assert json.loads(Path("run/status.json").read_text())["state"] == "failed"


@pytest.mark.usefixtures("folder")
def test_a_damaged_plan_is_refused() -> None:
    train("--out", "run")
    path = Path("run/config.resolved.json")
    path.write_text(path.read_text().replace('"batch": 8', '"batch": 0'))
    refused(invoke("eval", "run"), 6, f"{path} is damaged: batch=0: Input should be greater than 0")


@pytest.mark.usefixtures("folder")
def test_sample_refuses_what_the_model_never_saw() -> None:
    train("--out", "run")
    refused(
        invoke("sample", "run", "--prompt", "Z"),
        3,
        f"character 'Z' at 0 is not among the {len(set(VERSE))} of the vocabulary",
    )
    refused(invoke("sample", "run", "--prompt", ""), 2, "--prompt is empty: a character is wanted")


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "preset_table", lambda: {}[0])
    refused(invoke("list"), 1, "this is a bug, KeyError: 0 (--debug shows where)")
    assert "Traceback" in invoke("--debug", "list").stderr


def test_a_full_disk_exits_5(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(language, "preset_table", full)
    refused(invoke("list"), 5, "[Errno 28] No space left on device")


def test_list_shows_every_preset() -> None:
    rows = json.loads(invoke("list", "--json").stdout)
    assert rows["llama"]["parameters"] == 800_000
    assert rows["classic"]["parameters"] == 809_856
    shown = invoke("list").stdout
    assert [line.split()[0] for line in shown.splitlines()] == list(rows)


@pytest.mark.usefixtures("folder")
def test_a_dry_run_shows_the_plan_and_leaves_nothing() -> None:
    result = invoke("train", "--corpus", "verse.txt", "--dry-run", "--out", "run", "--json")
    assert json.loads(result.stdout)["train"]["steps"] == 2000
    assert not Path("run").exists()


@pytest.mark.usefixtures("folder")
def test_verbose_tells_each_step_on_stderr() -> None:
    arguments = "-v train --corpus verse.txt --recipe smoke --steps 6 --out run"
    result = invoke(*arguments.split())
    assert result.stderr.splitlines()[-1].startswith("step 6/6 loss ")
    assert result.stdout.splitlines()[0].split() == ["run", "run"]


@pytest.mark.parametrize("command", ["list", "train", "sample", "eval"])
def test_help_of_every_command(command: str) -> None:
    assert command in invoke("--help").stdout
    result = invoke(command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "--json" in result.stdout


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_help_does_not_wait_for_torch() -> None:
    """By its imports, and by the clock at its best of three: 0.3 s."""
    heavy = "{'torch', 'pydantic', 'rich'} & set(sys.modules)"
    assert python(f"import sys, backbones.cli; print({heavy})") == "set()\n"
    took = []
    for _ in range(3):
        began = time.perf_counter()
        python("from backbones.cli import main; main(['--help'])")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.3


@pytest.mark.usefixtures("folder")
def test_the_smoke_recipe_learns_more_than_frequencies() -> None:
    what = ["--corpus", "tinyshakespeare", "--recipe", "smoke", "--out", "run"]
    summary = json.loads(invoke("-q", "train", *what, "--json").stdout)
    assert 2.8 < summary["validation_nats"] < 3.2


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_cpu_recipe_reads_shakespeare_better_than_nanogpt() -> None:
    """nanoGPT publishes 1.88 for this budget; one seed, minutes."""
    what = ["--corpus", "tinyshakespeare", "--seed", "1", "--out", "run"]
    result = invoke("-q", "train", *what, "--json")
    summary = json.loads(result.stdout)
    assert summary["parameters"] == 800_000
    assert summary["tokens"] == 1_536_000
    assert summary["validation_nats"] < 1.88
    assert summary["validation_nats"] == pytest.approx(1.65, abs=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_muon_reads_shakespeare_better_than_adamw() -> None:
    """The same budget as above; one seed, minutes."""
    what = ["--corpus", "tinyshakespeare", "--preset", "llama_qk_norm", "--recipe", "cpu-muon"]
    result = invoke("-q", "train", *what, "--seed", "1", "--out", "run", "--json")
    summary = json.loads(result.stdout)
    assert summary["parameters"] == 800_256
    assert summary["tokens"] == 1_536_000
    assert summary["validation_nats"] == pytest.approx(1.555, abs=0.02)
