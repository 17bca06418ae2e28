"""Training: what a step does, what is logged, and that a resumed run is the same run."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from variants import SMALL_PRESETS

from backbones.checkpoint import latest, load_weights, read_config
from backbones.errors import CheckpointError, DivergedError, StorageError
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.optim import build_optimizer, learning_rate, parameter_groups
from backbones.recipe import GroupRule, TrainRecipe
from backbones.storage import replace_file, write_folder
from backbones.train import RunFolder, StepReport, TrainResult, fit, started, step_losses
from backbones.train.average import move_average

CONFIG = SMALL_PRESETS["llama"].replace(dropout=0.1)
STEPS = 9


class PowerCutError(Exception):
    """The power cut of these tests."""


def data(step: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(11, (4, 10), generator=torch.Generator().manual_seed(step))
    return ids[:, :-1], ids[:, 1:]


def train(
    folder: Path | None = None,
    *,
    stop_after: int | None = None,
    resume: bool = False,
    model: LanguageModel | None = None,
    nan_in: int | None = None,
    **changes: object,
) -> tuple[LanguageModel, TrainResult]:
    torch.manual_seed(5)
    model = LanguageModel(CONFIG) if model is None else model

    def loss_of(step: int) -> Tensor:
        inputs, targets = data(step)
        return cross_entropy(model(inputs), targets) * (math.nan if step == nan_in else 1.0)

    def power_cut(report: StepReport) -> None:
        if report.step == stop_after:
            raise PowerCutError

    recipe = TrainRecipe(steps=STEPS, lr=1e-2, checkpoint_every=2).replace(**changes)
    run = None if folder is None else RunFolder(path=folder, config={"a": 1}, resume=resume)
    # A random evaluation: it must not move the training.
    result = fit(
        model,
        loss_of,
        recipe,
        evaluate=lambda: {"drawn": torch.rand(()).item()},
        run=run,
        on_step=power_cut,
    )
    return model, result


def final_bytes(folder: Path) -> dict[str, bytes]:
    place = latest(folder / "checkpoints")
    assert place.name == f"step-{STEPS:06d}"
    return {path.name: path.read_bytes() for path in place.iterdir()}


def events(folder: Path) -> list[dict[str, object]]:
    """The metrics, without what depends on the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


# exact resume


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("cut", [2, 5])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, cut: int, ema: float | None) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, ema=ema, evaluate_every=3)
    with pytest.raises(PowerCutError):
        train(parts, stop_after=cut, ema=ema, evaluate_every=3)
    model, result = train(parts, resume=True, ema=ema, evaluate_every=3)
    assert final_bytes(parts) == final_bytes(whole)
    assert events(parts) == events(whole)
    assert result.step == STEPS
    for name, tensor in LanguageModel(CONFIG).state_dict().items():
        assert not torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize("lost", ["rng/torch", "exp_avg"])
def test_planted_a_checkpoint_that_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Without the generator, or the moments, the bytes differ: the law above can fail."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole)
    with pytest.raises(PowerCutError):
        train(parts, stop_after=4)
    if lost == "rng/torch":
        monkeypatch.setattr(torch, "set_rng_state", lambda _: None)
    else:
        monkeypatch.setattr("backbones.checkpoint.refuse_other_moments", zero_moments)
    train(parts, resume=True)
    assert final_bytes(parts)["model.safetensors"] != final_bytes(whole)["model.safetensors"]


def zero_moments(_: str, moments: dict[str, Tensor], __: object) -> None:
    for kind in ("exp_avg", "exp_avg_sq"):
        moments[kind].zero_()


def test_a_run_that_is_done_can_be_resumed(tmp_path: Path) -> None:
    model, _ = train(tmp_path / "run")
    again, result = train(tmp_path / "run", resume=True)
    assert result.loss is None
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_how_often_one_evaluates_does_not_move_the_training() -> None:
    often, _ = train(evaluate_every=1)
    never, _ = train()
    for one, other in zip(often.parameters(), never.parameters(), strict=True):
        assert torch.equal(one, other)


# after each step


def normalised(model: nn.Module) -> None:
    """Every row of every matrix at length one: what a scheme on a sphere does after a step."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(nn.functional.normalize(parameter, dim=1))


def train_normalised(folder: Path, **how: object) -> LanguageModel:
    torch.manual_seed(5)
    model = LanguageModel(CONFIG)
    resume, stop_after = bool(how.pop("resume", False)), how.pop("stop_after", None)

    def power_cut(report: StepReport) -> None:
        if report.step == stop_after:
            raise PowerCutError

    fit(
        model,
        lambda step: cross_entropy(model(data(step)[0]), data(step)[1]),
        TrainRecipe(steps=STEPS, lr=1e-2, checkpoint_every=2).replace(**how),
        run=RunFolder(path=folder, config={}, resume=resume),
        on_step=power_cut,
        after_step=lambda: normalised(model),
    )
    return model


def longest_deviation(model: nn.Module) -> float:
    rows = [p.norm(dim=1) - 1 for p in model.parameters() if p.ndim > 1]
    return torch.cat(rows).abs().max().item()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_what_happens_after_a_step_holds_of_all_that_is_kept(
    tmp_path: Path, ema: float | None
) -> None:
    """Checkpoints and averages are on the sphere too, and a resumed run is the same run."""
    whole, parts, saved = tmp_path / "whole", tmp_path / "parts", LanguageModel(CONFIG)
    model = train_normalised(whole, ema=ema)
    assert not any(p.requires_grad is False for p in model.parameters())
    load_weights(latest(whole / "checkpoints"), saved)
    assert longest_deviation(model) < 1e-6
    assert longest_deviation(saved) < 1e-6
    with pytest.raises(PowerCutError):
        train_normalised(parts, ema=ema, stop_after=5)
    train_normalised(parts, ema=ema, resume=True)
    assert final_bytes(parts) == final_bytes(whole)


def test_planted_an_average_that_leaves_the_sphere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "backbones.train.step.move_average",
        lambda state, recipe, _: move_average(state, recipe, None),
    )
    assert longest_deviation(train_normalised(tmp_path, ema=0.9)) > 1e-4


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    train(tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["LATEST", "step-000006", "step-000008", "step-000009"]


# refusals


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PowerCutError):
        train(tmp_path / "run", stop_after=3)
    with pytest.raises(CheckpointError) as caught:
        train(tmp_path / "run", resume=True, lr=0.5, clip=None)
    assert str(caught.value).endswith(
        "step-000002 is of another configuration: "
        "recipe.clip=1.0 in the run, None here; recipe.lr=0.01 in the run, 0.5 here"
    )


def test_a_folder_with_a_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(StorageError) as caught:
        train(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds a run already: resume it, or name another folder"
    )


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        train(tmp_path, resume=True)
    assert str(caught.value) == (
        f"{tmp_path / 'checkpoints'} has no checkpoint: it holds no file LATEST"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "config.json"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    train(tmp_path)
    path = latest(tmp_path / "checkpoints") / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=f"{name} is damaged: its sha256 is not "):
        train(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is damaged: Expecting"), ("{}", "it has no 'scale'")]
)
def test_a_damaged_state_is_refused(tmp_path: Path, text: str, message: str) -> None:
    train(tmp_path)
    (latest(tmp_path / "checkpoints") / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, resume=True)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    path = latest(tmp_path / "checkpoints") / "model.safetensors"
    path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read: No such file"):
        train(tmp_path, resume=True)


def test_a_run_cut_off_while_it_removes_old_checkpoints_removes_them_later(tmp_path: Path) -> None:
    train(tmp_path)
    place = tmp_path / "checkpoints"
    (place / "step-000004").mkdir()  # half of it was gone by then
    (place / "step-000004" / "config.json").write_text("{}")
    train(tmp_path, resume=True)
    assert sorted(p.name for p in place.glob("step-*")) == [
        *("step-000006", "step-000008", "step-000009")
    ]


def test_another_count_of_threads_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.raises(CheckpointError, match="made with 1 torch threads, this process has 3"):
        train(tmp_path, resume=True)


def test_another_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path)
    made_with = torch.__version__
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(
        CheckpointError, match=rf"made with torch {re.escape(made_with)}, this is 1\.0: "
    ):
        train(tmp_path, resume=True)


def test_a_run_cut_off_in_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole)
    train(parts, steps=2)
    (parts / "checkpoints" / "LATEST").unlink()  # as if the end had come just before it
    (parts / "checkpoints" / ".step-000004.1").mkdir()
    (parts / ".metrics.jsonl.1").write_text("{")
    with (parts / "metrics.jsonl").open("a") as file:
        file.write('{"event"')
    assert not started(parts)
    train(parts)
    assert final_bytes(parts) == final_bytes(whole)
    assert events(parts) == events(whole)
    assert {p.name for p in parts.iterdir()} == {"checkpoints", "metrics.jsonl"}
    assert {p.name for p in (parts / "checkpoints").iterdir()} == {
        *("LATEST", "step-000006", "step-000008", "step-000009")
    }


def test_a_done_run_resumed_says_its_scores_once(tmp_path: Path) -> None:
    train(tmp_path)
    said = events(tmp_path)
    train(tmp_path, resume=True)
    assert events(tmp_path) == said
    damaged = '{"event": "step", "st{"event": "step", "step": 9}\n'
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(damaged)
    train(tmp_path, resume=True)
    assert events(tmp_path) == said
    assert step_losses(tmp_path) == [e["loss"] for e in said if e["event"] == "step"]


def test_another_model_is_refused(tmp_path: Path) -> None:
    """The config says the same, the model is another one: names, then shapes, are compared."""
    train(tmp_path)
    named = LanguageModel(CONFIG.replace(qk_norm="rms"))
    with pytest.raises(CheckpointError, match=r"only the model has a tensor '.*norm\.k\.gain'"):
        train(tmp_path, resume=True, model=named)
    shaped = LanguageModel(CONFIG.replace(d_ffn=40))
    with pytest.raises(CheckpointError, match=r"is \[88, 32\] torch.float32, \[40, 32\]"):
        train(tmp_path, resume=True, model=shaped)


def test_a_moment_of_another_type_is_refused(tmp_path: Path) -> None:
    """torch's own loading would take it."""
    train(tmp_path)
    double = LanguageModel(CONFIG).double()
    with pytest.raises(CheckpointError, match=r"torch.float32, .* torch.float64 is wanted"):
        train(tmp_path, resume=True, model=double)


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        replace_file(tmp_path / "missing" / "file", b"")
    assert str(caught.value) == (
        f"{tmp_path / 'missing' / 'file'} cannot be written: No such file or directory"
    )


def test_a_disk_that_refuses_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / ".folder.1").mkdir()  # of a process that was cut off

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("backbones.storage.os.fsync", full)
        for write, name, data in (
            (replace_file, "file", b""),
            (write_folder, "folder", {"a": b""}),
        ):
            with pytest.raises(StorageError, match=f"{name} cannot be written: No space left"):
                write(tmp_path / name, data)  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


# checkpoints


def test_a_checkpoint_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut while the second one is written leaves the first as the latest."""
    rename = Path.rename

    def cut_off(self: Path, target: Path) -> Path:
        if target.name == "step-000004":
            raise PowerCutError
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_off)
        with pytest.raises(PowerCutError):
            train(tmp_path / "run")
    assert latest(tmp_path / "run" / "checkpoints").name == "step-000002"
    train(tmp_path / "whole")
    train(tmp_path / "run", resume=True)
    assert final_bytes(tmp_path / "run") == final_bytes(tmp_path / "whole")


def test_no_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    train(tmp_path)
    assert sorted(final_bytes(tmp_path)) == [
        "config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    config = read_config(latest(tmp_path / "checkpoints"))
    assert config["a"] == 1
    assert config["recipe"]["lr"] == 1e-2


def test_weights_come_back(tmp_path: Path) -> None:
    """With an average, they are the averaged ones, which the trained model holds too."""
    model, _ = train(tmp_path, ema=0.9)
    fresh = LanguageModel(CONFIG)
    load_weights(latest(tmp_path / "checkpoints"), fresh)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


# steps


class Point(nn.Module):
    """One number at 1, for steps that can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1, bias=True)
        self.trunk = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_leaves_the_weights(bad: float) -> None:
    model = Point()
    recipe = TrainRecipe(steps=5, lr=0.25)
    seen: list[float] = []

    def loss_of(step: int) -> Tensor:
        seen.append(model.trunk.weight.item())
        return model.trunk.weight.sum() * (bad if step == 2 else 1.0)

    with pytest.raises(DivergedError) as caught:
        fit(model, loss_of, recipe)
    assert str(caught.value) == (
        f"loss={bad} in step 3 at lr=0.164: that step was not taken, "
        "a lower lr or a longer warmup is worth trying"
    )
    assert model.trunk.weight.item() == seen[-1]
    assert seen[-1] < seen[0]


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    """NaN in step 6: the step is not taken, step 4 is kept, and goes on to what it would be."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole)
    with pytest.raises(DivergedError, match="loss=nan in step 6 at"):
        train(parts, nan_in=5)
    place = latest(parts / "checkpoints")
    assert place.name == "step-000004"
    assert events(parts)[-1]["step"] == 5
    train(parts, resume=True)
    assert final_bytes(parts) == final_bytes(whole)


def test_planted_a_loop_that_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.train.step.refuse_non_finite", lambda *_: None)
    model = Point()
    fit(model, lambda _: model.trunk.weight.sum() * math.nan, TrainRecipe(steps=1))
    assert math.isnan(model.trunk.weight.item())


def test_a_gradient_that_is_not_finite_leaves_the_weights() -> None:
    model = Point()

    def loss_of(_: int) -> Tensor:
        return (model.trunk.weight - 1.0).abs().sqrt().sum()  # slope 0/0 at 1

    with pytest.raises(DivergedError, match="gradient norm=nan in step 1"):
        fit(model, loss_of, TrainRecipe(steps=1))
    assert model.trunk.weight.item() == 1.0


def test_one_step_of_adamw_by_hand() -> None:
    """w - lr wd w - lr sign(g), the first step of Adam being the sign; the bias does not decay."""
    model = Point()
    recipe = TrainRecipe(steps=1, lr=0.1, weight_decay=0.5, clip=None, eps=1e-12)
    fit(model, lambda _: sum(p.sum() for p in model.parameters()), recipe)  # type: ignore[arg-type, return-value]
    assert model.trunk.weight.item() == pytest.approx(1 - 0.1 * 0.5 - 0.1)
    assert model.head.bias.item() == pytest.approx(1 - 0.1)


def test_a_prefix_learns_at_its_own_pace() -> None:
    model = Point()
    rules = (
        GroupRule(prefix="head.", lr_factor=0.5, weight_decay=0.25),
        GroupRule(prefix="head.bias", lr_factor=0.0),
    )
    recipe = TrainRecipe(steps=1, lr=0.1, weight_decay=0.5, clip=None, eps=1e-12, groups=rules)
    fit(model, lambda _: sum(p.sum() for p in model.parameters()), recipe)  # type: ignore[arg-type, return-value]
    assert model.trunk.weight.item() == pytest.approx(1 - 0.1 * 0.5 - 0.1)
    assert model.head.weight.item() == pytest.approx(1 - 0.05 * 0.25 - 0.05)
    assert model.head.bias.item() == 1.0


def test_a_prefix_that_fits_nothing_is_refused() -> None:
    recipe = TrainRecipe(steps=1, groups=(GroupRule(prefix="haed."),))
    with pytest.raises(ValueError, match=r"groups: no parameter's name starts with 'haed\.'"):
        parameter_groups(Point(), recipe)


def test_frozen_parameters_are_in_no_group() -> None:
    model = Point()
    model.trunk.weight.requires_grad = False
    groups = parameter_groups(model, TrainRecipe(steps=1))
    assert [list(group.parameters) for group in groups] == [["head.weight"], ["head.bias"]]


def test_fused_adamw_is_torchs_plain_one() -> None:
    """The fused kernel is a choice of speed: at the same gradients it takes the same steps."""
    torch.manual_seed(1)
    model, twin = LanguageModel(CONFIG), LanguageModel(CONFIG)
    twin.load_state_dict(model.state_dict())
    fused = build_optimizer(model, TrainRecipe(steps=1))
    groups = [{"params": list(twin.parameters()), "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), foreach=False)
    for group in fused.param_groups:
        group["weight_decay"] = 0.0
    for _ in range(3):
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        fused.step()
        plain.step()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_learning_rate_by_hand() -> None:
    recipe = TrainRecipe(steps=12, lr=0.8, min_lr=0.2, warmup=4)
    rates = [learning_rate(step, recipe) for step in range(12)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates[8] == pytest.approx(0.5)  # half way down
    assert rates[11] == pytest.approx(0.2 + 0.6 * (1 + math.cos(math.pi * 7 / 8)) / 2)


def test_the_average_by_hand() -> None:
    """Decays (1 + n) / (10 + n) bounded by ema, over weights 1 - lr k of a constant gradient."""
    model, seen = Point(), []
    recipe = TrainRecipe(steps=3, lr=0.1, min_lr=0.1, weight_decay=0.0, ema=0.2, eps=1e-12)

    def evaluate() -> dict[str, float]:
        seen.append(model.trunk.weight.item())
        return {}

    fit(model, lambda _: model.trunk.weight.sum(), recipe, evaluate=evaluate)
    average, weight = 1.0, 1.0
    for n in (1, 2, 3):
        weight -= 0.1
        decay = min(0.2, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    assert seen == [pytest.approx(average)]
    assert model.trunk.weight.item() == pytest.approx(average)


def test_metrics_say_what_happened(tmp_path: Path) -> None:
    train(tmp_path, evaluate_every=4)
    log = events(tmp_path)
    assert [event["step"] for event in log if event["event"] == "step"] == list(range(1, STEPS + 1))
    assert [event["step"] for event in log if event["event"] == "evaluation"] == [4, 8, STEPS]
    assert set(log[0]) == {"event", "step", "loss", "lr", "grad_norm"}


def test_a_score_that_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    model = Point()
    run = RunFolder(path=tmp_path, config={})
    result = fit(
        model,
        lambda _: model.trunk.weight.sum(),
        TrainRecipe(steps=1),
        evaluate=lambda: {"score": math.nan},
        run=run,
    )
    assert math.isnan(result.scores["score"])
    assert events(tmp_path)[-1] == {"event": "evaluation", "step": 1, "score": None}


@pytest.mark.slow
@pytest.mark.parametrize("config", SMALL_PRESETS.values(), ids=SMALL_PRESETS.keys())
def test_one_batch_is_learned_by_heart(config: object) -> None:
    model = LanguageModel(config)  # type: ignore[arg-type]
    inputs, targets = data(0)
    recipe = TrainRecipe(steps=300, lr=1e-2, warmup=20, weight_decay=0.0)
    result = fit(model, lambda _: cross_entropy(model(inputs), targets), recipe)
    assert result.loss is not None
    assert result.loss < 0.1
