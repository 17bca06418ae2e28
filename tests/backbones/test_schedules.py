"""Learning rates against their closed forms, and against torch where torch has the same one."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from backbones.optim import cycle_ends, learning_rate
from backbones.recipe import Restarts, TrainRecipe, Wsd


def rates(**fields: object) -> list[float]:
    recipe = TrainRecipe.model_validate(fields)
    return [learning_rate(step, recipe) for step in range(recipe.steps)]


def torchs_restarts(t_0: int, t_mult: int, steps: int, low: float) -> list[float]:
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=t_0, T_mult=t_mult, eta_min=low
    )
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(("t_0", "t_mult"), [(10, 1), (7, 2), (1, 3)])
def test_restarts_are_torchs(t_0: int, t_mult: int) -> None:
    schedule = Restarts(t_0=t_0, t_mult=t_mult)
    ours = rates(steps=70, lr=0.3, min_lr=0.02, schedule=schedule)
    assert ours == pytest.approx(torchs_restarts(t_0, t_mult, 70, 0.02), abs=1e-15)


def test_planted_cycles_of_one_length() -> None:
    """A schedule that forgets t_mult is found out."""
    ours = rates(steps=70, lr=0.3, min_lr=0.02, schedule=Restarts(t_0=7))
    assert ours != pytest.approx(torchs_restarts(7, 2, 70, 0.02), abs=1e-3)


def test_peaks_decay_and_never_sink_below_the_floor() -> None:
    schedule = Restarts(t_0=4, t_mult=1.5, lr_mult=0.5)  # cycles of 4, 6, 9, 14 (13.5) steps
    recipe = TrainRecipe(steps=35, warmup=2, lr=0.8, min_lr=0.15, schedule=schedule)
    starts = [2, 6, 12, 21]
    assert [learning_rate(s, recipe) for s in starts] == pytest.approx([0.8, 0.4, 0.2, 0.15])
    assert learning_rate(4, recipe) == pytest.approx(0.15 + 0.65 / 2)  # half way in the first
    assert learning_rate(9, recipe) == pytest.approx(0.15 + 0.25 / 2)
    assert learning_rate(0, recipe) == pytest.approx(0.4)
    assert cycle_ends(recipe) == [6, 12, 21, 35]
    assert cycle_ends(recipe.replace(steps=34)) == [6, 12, 21]


def test_cycle_ends_are_where_the_rate_is_about_to_jump() -> None:
    recipe = TrainRecipe(steps=60, lr=1.0, warmup=3, schedule=Restarts(t_0=5, t_mult=2))
    every = [learning_rate(step, recipe) for step in range(60)]
    rises = [i + 1 for i, (a, b) in enumerate(itertools.pairwise(every)) if b > a and i >= 3]
    assert rises == cycle_ends(recipe)
    assert cycle_ends(TrainRecipe(steps=60)) == []


def test_constant_linear_cosine_by_hand() -> None:
    shape: dict[str, object] = {"steps": 12, "lr": 0.8, "warmup": 4}
    warm = [0.2, 0.4, 0.6, 0.8]
    assert rates(**shape, schedule="constant") == pytest.approx([*warm, *[0.8] * 8])
    line = [0.2 + 0.6 * (1 - k / 8) for k in range(8)]
    assert rates(**shape, min_lr=0.2, schedule="linear") == pytest.approx(warm + line)
    wave = [0.2 + 0.3 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert rates(**shape, min_lr=0.2, schedule="cosine") == pytest.approx(warm + wave)


@pytest.mark.parametrize(
    ("shape", "fall"),
    [
        ("linear", lambda p: 1 - p),
        ("sqrt", lambda p: 1 - math.sqrt(p)),
        ("cosine", lambda p: (1 + math.cos(math.pi * p)) / 2),
    ],
)
def test_wsd_is_flat_then_falls(shape: str, fall: object) -> None:
    """20 steps, 2 of them warm-up: 13 flat, then the last quarter, 5 steps, from 1 down."""
    schedule = Wsd(decay=0.25, shape=shape)  # type: ignore[arg-type]
    ours = rates(steps=20, lr=1.0, warmup=2, schedule=schedule)
    assert ours[1:16] == pytest.approx([1.0] * 15)
    assert ours[15:] == pytest.approx([fall(k / 5) for k in range(5)])  # type: ignore[operator]


def test_wsd_that_decays_all_the_way_is_linear() -> None:
    shape: dict[str, object] = {"steps": 30, "lr": 1.0, "warmup": 5}
    whole = rates(**shape, schedule=Wsd(decay=1.0))
    assert whole == pytest.approx(rates(**shape, schedule="linear"))


def test_a_floor_that_is_never_reached_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"min_lr=0\.1 is never reached by schedule='constant'"
    ):
        TrainRecipe.model_validate({"steps": 9, "lr": 1.0, "min_lr": 0.1, "schedule": "constant"})


@pytest.mark.parametrize(
    "schedule",
    ["polynomial", {"kind": "wsd", "decay": 0.0}, {"kind": "restarts", "t_0": 5, "t_mult": 0.5}],
)
def test_a_schedule_that_is_none_is_refused(schedule: object) -> None:
    with pytest.raises(ValidationError, match="schedule"):
        TrainRecipe.model_validate({"steps": 9, "schedule": schedule})


def test_a_schedule_survives_json() -> None:
    recipe = TrainRecipe(steps=9, schedule=Restarts(t_0=3, lr_mult=0.5))
    assert TrainRecipe.from_json(recipe.to_json()) == recipe
