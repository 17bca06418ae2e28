"""Several processes that train one model end where one process does, and what they keep is whole.

In float64 the two differ by the order of sums alone: TOLERANCE is of losses near 2 nats, gradient
norms near 1.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from ranks import CUT, FULL, SCENARIOS, PowerCutError, Scenario, Trained, alone, new_model, train
from variants import VARIANTS

from backbones import cli
from backbones.checkpoint import TrainingState, latest, load_weights
from backbones.checkpoint.files import load_tensors
from backbones.config import BackboneConfig
from backbones.distributed import Ranks
from backbones.distributed.launch import joined
from backbones.errors import CheckpointError, RankError, UsageError
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.optim import Together
from backbones.recipe import TrainRecipe
from backbones.train import fit, step
from backbones.train.step import gradients, own_parts

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-10
NARROW = 0.05  # in bfloat16, whose numbers have 3 digits
VERSE = "The quality of mercy is not strain'd, it droppeth as the gentle rain from heaven.\n"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def torchrun(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """Two processes on the loopback, at a port that is free."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "backbones")])
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_two(folder: Path, *names: str) -> dict[str, Trained | None]:
    """What two processes made of each scenario; None where it was to be cut off."""
    run = torchrun(str(ROOT / "tests" / "backbones" / "ranks.py"), str(folder), *names, cwd=folder)
    _, told = run.communicate(timeout=600)
    assert run.returncode == 0, told[-3000:]
    read = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
    return {name: found and Trained(**found) for name, found in read.items()}


def furthest(found: Trained | None, wanted: Trained) -> float:
    """The largest difference in any step that both took, or of the final score."""
    assert found is not None
    taken = len(found.losses)
    assert taken > 0
    pairs = [
        *zip(found.losses, wanted.losses[-taken:], strict=True),
        *zip(found.norms, wanted.norms[-taken:], strict=True),
        (found.nats, wanted.nats),
    ]
    return max(abs(one - other) for one, other in pairs)


# two processes, one torchrun


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    """Losses, norms, score, shards, resumes either way, dropout, planted mistakes: one start."""
    with pytest.raises(PowerCutError):  # what two shards go on with was made by one process
        train(replace(SCENARIOS["fsdp_resume"], keep="cut"), folder=tmp_path / "fsdp_resume")
    found = by_two(tmp_path, *SCENARIOS)
    for name, scenario in SCENARIOS.items():
        if scenario.dropout or scenario.keep == "cut":
            continue
        tolerance = NARROW if "precision" in scenario.recipe else TOLERANCE
        seen = furthest(found[name], alone(scenario)) > tolerance
        assert seen == (scenario.mistake is not None), name
    whole = found["dropped"]
    assert whole is not None
    assert furthest(found["dropped_again"], whole) == 0.0
    assert furthest(found["dropped_one_seed"], whole) > 1e-3
    for name in ("ddp_cut", "fsdp_cut"):
        assert found[name] is None
        goes_on_alone(SCENARIOS[name], tmp_path / name)


def goes_on_alone(scenario: Scenario, folder: Path) -> None:
    """Shards load whole in one process, which ends the run as if it had begun it."""
    place, by_one = latest(folder / "checkpoints"), folder.with_name(f"{folder.name}_by_one")
    assert place.name == f"step-{CUT:06d}"
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    files = {path.name for path in place.iterdir()}
    assert (shards <= files) == (scenario.strategy == "fsdp")
    with pytest.raises(PowerCutError):
        train(scenario, folder=by_one)
    wanted, weights = new_model(scenario), new_model(scenario)
    load_weights(latest(by_one / "checkpoints"), wanted)
    load_weights(place, weights)
    for one, other in zip(weights.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)
    again = train(replace(scenario, keep="resume"), folder=folder)
    assert furthest(again, alone(scenario)) < TOLERANCE


@pytest.mark.slow
def test_every_preset_and_optimiser_ends_where_one_process_does(tmp_path: Path) -> None:
    found = by_two(tmp_path, *FULL)
    for name, scenario in FULL.items():
        assert furthest(found[name], alone(scenario)) < TOLERANCE, name


# a batch in parts


def gradient(config: BackboneConfig, accumulate: int, *, unequal: bool = False) -> torch.Tensor:
    """All gradients of a batch computed in so many parts, in float64, in one row."""
    torch.manual_seed(5)
    model, recipe = LanguageModel(config).double(), TrainRecipe(steps=1, accumulate=accumulate)
    ids = torch.randint(11, (8, 10))

    def part_of(_: int, i: int, n: int) -> torch.Tensor:
        mine = ids.chunk(n)[i] if not unequal else ids[[i, *range(n, 8)] if i else [0]]
        return cross_entropy(model(mine[:, :-1]), mine[:, 1:])

    state = TrainingState(model, Together([]), None)
    loss_of = None if accumulate > 1 else lambda _: part_of(0, 0, 1)
    assert loss_of is not None or accumulate > 1
    parts = own_parts(state, loss_of or never, part_of, recipe)
    gradients(state, parts, recipe.replace(clip=None))
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def never(_: int) -> torch.Tensor:
    raise AssertionError("a batch in parts is never computed whole")


PARTED = {name: config.replace(dropout=0.0) for name, config in VARIANTS.items()}


@pytest.mark.parametrize("config", PARTED.values(), ids=PARTED.keys())
def test_the_gradient_of_a_batch_in_parts_is_that_of_the_batch(config: BackboneConfig) -> None:
    whole = gradient(config, 1)
    for accumulate in (2, 8):
        torch.testing.assert_close(gradient(config, accumulate), whole, rtol=0, atol=1e-12)


def test_planted_parts_that_are_added_or_unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum for a mean, and parts of other sizes, are found out by the law above."""
    config, whole = PARTED["llama"], gradient(PARTED["llama"], 1)
    assert (gradient(config, 2, unequal=True) - whole).abs().max() > 1e-4
    monkeypatch.setattr(step, "unscale", lambda model, _: doubled(model))
    assert (gradient(config, 2) - whole).abs().max() > 1e-4


def doubled(model: torch.nn.Module) -> None:
    """As if two parts had been added up, not averaged."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.mul_(2)


def test_a_batch_in_parts_wants_to_know_them() -> None:
    model = LanguageModel(PARTED["llama"])
    with pytest.raises(ValueError, match="a batch is computed in 2 parts: part_of says"):
        fit(model, never, TrainRecipe(steps=1, accumulate=2))


# how it is started, and what is refused


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a small corpus in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verse.txt").write_text(VERSE * 60)
    return tmp_path


def words(*more: str) -> list[str]:
    small = ["--corpus", "verse.txt", "--recipe", "smoke", "--steps", "6"]
    return ["train", *small, "--set", "train.checkpoint_every=2", *more]


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.main, arguments)
    torch.use_deterministic_algorithms(False)
    return result


def refused(result: Result, message: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert result.stderr == f"error: {message}\n"


@pytest.mark.usefixtures("folder")
def test_strategies_of_several_are_refused_in_one_process() -> None:
    refused(
        invoke(*words("--strategy", "ddp", "--out", "run")),
        "--strategy ddp is of several processes, this is one: "
        "torchrun --nproc-per-node 2 -m backbones train ... starts them",
    )
    assert not Path("run").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("strategy", [[], ["--strategy", "single"]])
def test_several_processes_without_a_strategy_are_refused_once(
    monkeypatch: pytest.MonkeyPatch, strategy: list[str]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    said = "--strategy single" if strategy else "--strategy is missing"
    refused(
        invoke(*words("--out", "run", *strategy)),
        f"torchrun started 2 processes, and {said}: each would train all of it, "
        "--strategy ddp or fsdp is wanted",
    )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("backbones.commands.shared.GRACE", 0.0)
    other = invoke(*words("--out", "run", *strategy))
    assert (other.exit_code, other.output) == (12, "")
    monkeypatch.setenv("WORLD_SIZE", "1")  # torchrun of one process is one process
    monkeypatch.setenv("RANK", "0")
    assert invoke("-q", *words("--out", "run", *strategy)).exit_code == 0


@pytest.mark.usefixtures("folder")
def test_a_batch_that_cannot_be_dealt_out_is_refused() -> None:
    refused(
        invoke(*words("--accumulate", "3", "--out", "run")),
        "batch=8 is not a multiple of train.accumulate=3",
    )
    from backbones.language import TrainRequest, prepare, train_run

    ready = prepare(TrainRequest(corpus="verse.txt", recipe="smoke", accumulate=2, data=Path()))
    with pytest.raises(UsageError, match=r"^batch=8 is not a multiple of 6: 3 processes times "):
        train_run(ready.corpus, ready.plan, Path("run"), ranks=Alone(count=3))
    assert not Path("run").exists()


class Alone(Ranks):
    """The first of several processes, which finds nobody to talk to."""

    def all_of(self, numbers: torch.Tensor) -> list[torch.Tensor]:
        return [numbers]


def test_what_says_that_a_peer_is_gone_is_named() -> None:
    """Other errors of torch pass as they are."""
    from backbones.distributed import launch

    for said, kind in {
        "[gloo/transport/tcp/pair.cc:553] Connection closed by peer": RankError,
        "shapes cannot be multiplied": RuntimeError,
    }.items():
        with pytest.raises(kind) as caught, launch.lost_ranks_named():
            raise RuntimeError(said)
        assert type(caught.value) is kind
        assert said.partition("] ")[2] in str(caught.value)
    with joined(None) as ranks:
        assert (ranks.strategy, ranks.count, ranks.first) == ("single", 1, True)


# shards


def test_a_shard_that_is_missing_or_changed_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save

    from backbones.checkpoint.files import sealed
    from backbones.checkpoint.writing import sha256

    parts = [torch.arange(6.0).view(3, 2), torch.arange(4.0).view(2, 2), torch.ones(0, 2)]
    files = {
        f"model-{i + 1:05d}-of-00003.safetensors": save({"w": rows} | ({"n": ONE} if not i else {}))
        for i, rows in enumerate(parts)
    }
    about = {"step": 1, "scale": 1.0, "steady": 0, "threads": 1, "torch": "2", "processes": 3}

    def write(hashes: dict[str, str]) -> None:
        (tmp_path / "state.json").write_bytes(sealed({**about, "sha256": hashes}))

    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    hashes = {name: sha256(data) for name, data in files.items()}
    write(hashes)
    found = load_tensors(tmp_path, "model")
    assert torch.equal(found["w"], torch.cat(parts))
    assert torch.equal(found["n"], ONE)
    second = "model-00002-of-00003.safetensors"
    write({name: digest for name, digest in hashes.items() if name != second})
    with pytest.raises(CheckpointError, match=f"state.json is damaged: it has no {second}"):
        load_tensors(tmp_path, "model")
    write(hashes)
    (tmp_path / second).write_bytes(files[second][:-1] + b"x")
    with pytest.raises(CheckpointError, match=f"{second} is damaged: its sha256 is not "):
        load_tensors(tmp_path, "model")
    (tmp_path / second).unlink()
    with pytest.raises(CheckpointError, match=f"{second} cannot be read: No such file"):
        load_tensors(tmp_path, "model")


ONE = torch.tensor(1.0)


# from the command line to a sample


def rank_process(agent: int, rank: int) -> int:
    """The process id of one rank, of those that torchrun started."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    marks = {int(c): Path(f"/proc/{c}/environ").read_bytes().split(b"\0") for c in children}
    return next(child for child, all_ in marks.items() if f"RANK={rank}".encode() in all_)


def stopped_midway(folder: Path, stop: str, *how: str) -> str:
    """Start a run of two, stop it by a signal once a checkpoint is there; what stderr was told."""
    run = torchrun("-m", "backbones", *words(*how), cwd=folder)
    pointer = folder / "run" / "checkpoints" / "LATEST"
    while not pointer.exists():
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.01)
    if stop == "a rank is killed":
        os.kill(rank_process(run.pid, 1), signal.SIGKILL)
    else:
        run.send_signal(signal.SIGTERM)
    answered, told = run.communicate(timeout=300)
    assert run.returncode != 0
    assert answered == ""
    return told


def test_a_run_whose_process_is_killed_goes_on(folder: Path) -> None:
    """Shards of two go on under ddp, the end is sampled from and is where one process ends."""
    short = ["--steps", "40"]
    told = stopped_midway(folder, "a rank is killed", *short, "--strategy", "fsdp", "--out", "run")
    said = [line for line in told.splitlines() if line.startswith("error")]
    assert len(said) <= 1, said  # in the first process, unless torchrun had stopped it already
    assert not said or said[0].endswith("the newest checkpoint stands, go on from it with --resume")
    state = json.loads(Path("run/status.json").read_text())["state"]
    assert state in {"failed", "interrupted"}
    cut_off = json.loads(invoke("eval", "run", "--json").stdout)
    assert 2 < cut_off["validation_nats"] < 5
    how = ["train", "--resume", "run", "--strategy", "ddp", "--accumulate", "1", "--json"]
    run = torchrun("-m", "backbones", *how, cwd=folder)
    answered, told = run.communicate(timeout=300)
    assert run.returncode == 0, told
    summary = json.loads(answered)  # one object, of the first process alone
    by_one = json.loads(invoke(*words(*short, "--out", "one", "--json")).stdout)
    assert summary["validation_nats"] == pytest.approx(by_one["validation_nats"], abs=1e-3)
    assert summary["parameters"] == by_one["parameters"]
    scored = json.loads(invoke("eval", "run", "--json").stdout)
    assert scored["validation_nats"] == pytest.approx(summary["validation_nats"], abs=1e-6)
    sampled = invoke("sample", "run", "--prompt", "mercy", "--length", "20")
    assert sampled.exit_code == 0, sampled.stderr
    assert json.loads(Path("run/status.json").read_text())["state"] == "done"
    assert not [path for path in Path("run").rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("stop", ["a rank is killed", "SIGTERM"])
def test_a_stopped_run_of_two_ends_with_the_same_bytes(
    folder: Path, strategy: str, stop: str
) -> None:
    how = ["--steps", "30", "--set", "backbone.dropout=0.1", "--strategy", strategy]
    stopped_midway(folder, stop, *how, "--out", "run")
    goes_on = ["train", "--resume", "run", "--strategy", strategy]
    for line in (goes_on, words(*how, "--out", "whole")):
        run = torchrun("-m", "backbones", *line, cwd=folder)
        _, told = run.communicate(timeout=300)
        assert run.returncode == 0, told
    ends = [latest(folder / name / "checkpoints") for name in ("run", "whole")]
    files = [{path.name: path.read_bytes() for path in end.iterdir()} for end in ends]
    assert files[0] == files[1]
