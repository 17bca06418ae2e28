"""What each precision computes in which type, what it refuses, and that it resumes exactly."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from variants import SMALL_PRESETS

from backbones.checkpoint import latest
from backbones.errors import DivergedError, UsageError
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.recipe import Precision, TrainRecipe
from backbones.sphere import normalize_weights_
from backbones.train import RunFolder, StepReport, computing, fit, step
from backbones.train.precision import refuse_unsupported

CONFIG = SMALL_PRESETS["llama"]
EVERY: list[Precision] = ["fp32", "bf16-mixed", "bf16", "fp16-mixed", "fp16"]
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}
IDS = torch.randint(11, (4, 10), generator=torch.Generator().manual_seed(0))


class PowerCutError(Exception):
    """The power cut of these tests."""


def recipe_of(precision: Precision, **changes: object) -> TrainRecipe:
    fields = {"steps": 6, "lr": 3e-3, "precision": precision, "weight_decay": 0.0} | changes
    return TrainRecipe.model_validate(fields | ({"eps": 1e-4} if precision == "fp16" else {}))


def train(
    recipe: TrainRecipe, run: RunFolder | None = None, stop_after: int | None = None
) -> tuple[LanguageModel, list[Tensor], float]:
    """The model, the logits of each step as the loss was given them, and the last loss."""
    torch.manual_seed(2)
    model, seen = LanguageModel(CONFIG), list[Tensor]()

    def loss_of(_: int) -> Tensor:
        seen.append(model(IDS[:, :-1]))
        return cross_entropy(seen[-1], IDS[:, 1:])

    def cut(report: StepReport) -> None:
        if report.step == stop_after:
            raise PowerCutError

    result = fit(model, loss_of, recipe, run=run, on_step=cut)
    return model, seen, math.nan if result.loss is None else result.loss


@pytest.mark.parametrize("precision", EVERY)
def test_types_are_as_the_name_says(precision: Precision) -> None:
    model, logits, _ = train(recipe_of(precision, steps=1))
    narrow = NARROW.get(precision.removesuffix("-mixed"), torch.float32)
    assert logits[0].dtype == narrow
    weights = torch.float32 if precision.endswith("-mixed") else narrow
    assert {p.dtype for p in model.parameters()} == {weights}
    assert cross_entropy(logits[0], IDS[:, 1:]).dtype == torch.float32


def test_planted_a_silent_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were "bf16-mixed" computed in float32, the law above would see it."""
    monkeypatch.setattr(step, "computing", lambda *_: computing("fp32", torch.device("cpu")))
    _, logits, _ = train(recipe_of("bf16-mixed", steps=1))
    assert logits[0].dtype != torch.bfloat16


@pytest.mark.parametrize("precision", EVERY)
def test_each_learns_about_as_float32_does(precision: Precision) -> None:
    _, _, wide = train(recipe_of("fp32", steps=25, lr=1e-2))
    _, _, narrow = train(recipe_of(precision, steps=25, lr=1e-2))
    assert wide < 2.0
    assert narrow == pytest.approx(wide, abs=0.35)


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_every_preset_trains_in_every_precision(name: str) -> None:
    """Three steps of Muon, on the sphere where the preset lives there: float32's loss, nearly."""
    losses: dict[Precision, float] = {}
    for precision in EVERY:
        torch.manual_seed(2)
        model = LanguageModel(SMALL_PRESETS[name])
        result = fit(
            model,
            partial(loss_of_ids, model),
            recipe_of(precision, steps=3, eps=1e-4, muon={}),
            after_step=partial(normalize_weights_, model),
        )
        assert result.loss is not None
        losses[precision] = result.loss
    assert losses == {p: pytest.approx(losses["fp32"], abs=0.05) for p in EVERY}


def loss_of_ids(model: LanguageModel, _: int) -> Tensor:
    return cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16", "fp16-mixed", "fp16"])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, precision: Precision) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe = recipe_of(precision, checkpoint_every=2, muon={})
    train(recipe, RunFolder(path=whole, config={}))
    with pytest.raises(PowerCutError):
        train(recipe, RunFolder(path=parts, config={}), stop_after=3)
    train(recipe, RunFolder(path=parts, config={}, resume=True))
    places = [latest(folder / "checkpoints") for folder in (whole, parts)]
    for path in places[0].iterdir():
        assert path.read_bytes() == (places[1] / path.name).read_bytes(), path.name


# the loss scale


class Steep(nn.Module):
    """A slope of 3 at weight 1, in float16: times 65536 it overflows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self) -> Tensor:
        return (3 * self.weight).float().sum()


def test_an_overflow_halves_the_scale_and_loses_no_step() -> None:
    model, calls = Steep(), []

    def loss_of(number: int) -> Tensor:
        calls.append(number)
        return model()

    recipe = recipe_of("fp16", steps=3, lr=0.25, schedule="constant", clip=None)
    result = fit(model, loss_of, recipe)
    assert result.step == 3
    assert calls == [0, 0, 0, 1, 2]  # 3 * 65536 and 3 * 32768 are infinite, 3 * 16384 is not
    assert model.weight.item() == pytest.approx(0.25, abs=2e-3)


def test_a_scale_can_be_named() -> None:
    model, calls = Steep(), []

    def loss_of(number: int) -> Tensor:
        calls.append(number)
        return model()

    fit(model, loss_of, recipe_of("fp16", steps=1, loss_scale=1024.0))
    assert calls == [0]


def test_the_scale_grows_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "STEADY", 2)
    model = Steep()
    run = RunFolder(path=tmp_path, config={})
    fit(model, lambda _: model(), recipe_of("fp16", steps=5, loss_scale=64.0), run=run)
    state = (latest(tmp_path / "checkpoints") / "state.json").read_text()
    assert '"scale": 256.0' in state
    assert '"steady": 1' in state


def test_a_gradient_that_no_scale_saves_ends_the_run() -> None:
    model = Steep()

    def loss_of(_: int) -> Tensor:
        return (model.weight - 1).abs().sqrt().float().sum()  # slope 0/0 at 1

    with pytest.raises(DivergedError, match=r"gradient norm=nan in step 1 at lr="):
        fit(model, loss_of, recipe_of("fp16", steps=1))
    assert model.weight.item() == 1.0


def test_small_slopes_survive_by_the_scale() -> None:
    """2^-26 is 0 in float16; scaled by 2^16 it moves the weight, scaled by 1 it does not."""
    moved = {}
    for scale in (65536.0, 1.0):
        model = Steep()
        recipe = recipe_of("fp16-mixed", steps=1, lr=0.1, loss_scale=scale, clip=None, eps=1e-12)

        def loss_of(_: int, model: Steep = model) -> Tensor:
            return (model.weight.half() * 1.0).float().sum() * 2.0**-26

        fit(model, loss_of, recipe)
        moved[scale] = 1 - model.weight.item()
    assert moved[65536.0] == pytest.approx(0.1, abs=1e-3)
    assert moved[1.0] == 0.0


# refusals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "fp16"}, r"eps=1e-08 is lost in precision='fp16': 0.0001 or more"),
        ({"precision": "bf16", "ema": 0.9}, "ema=0.9 stands still in precision='bf16'"),
        ({"loss_scale": 8.0}, r"loss_scale=8.0 belongs to float16, not to precision='fp32'"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainRecipe.model_validate({"steps": 1} | fields)


def test_what_a_device_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_unsupported("bf16", torch.device("cpu"))
    refuse_unsupported("fp32", torch.device("mps"))
    with pytest.raises(UsageError, match="precision='fp16' is not known to work on mps"):
        refuse_unsupported("fp16", torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    refuse_unsupported("fp16", torch.device("cuda"))
    with pytest.raises(UsageError, match="precision='bf16-mixed' is not known to work on cuda"):
        refuse_unsupported("bf16-mixed", torch.device("cuda"))
