"""A small training by one process or by several, and what several of them do in one torchrun.

`torchrun ... ranks.py FOLDER NAME ...` trains the scenarios of those names and writes
FOLDER/NAME.json; the tests train the same ones in a single process and compare.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from variants import SMALL_PRESETS, VOCAB

from backbones.checkpoint import generators
from backbones.distributed import ALONE, Ranks, Strategy
from backbones.distributed.launch import joined
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.recipe import TrainRecipe
from backbones.sphere import normalize_weights_
from backbones.train import RunFolder, StepReport, as_trained, fit

STEPS, BATCH, CUT = 6, 8, 3
Windows = tuple[Tensor, Tensor]


class PowerCutError(Exception):
    """The power cut of these scenarios, after step CUT in all processes."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A preset, how it is trained, and by whom; `mistake` is one that the tests must see."""

    preset: str = "llama"
    strategy: Strategy = "ddp"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    mistake: str | None = None
    keep: str | None = None  # "cut": stopped after CUT steps; "resume": gone on with; "again": both
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is compared."""

    losses: list[float]
    norms: list[float]
    nats: float


MUON = {"muon": {"lr": 0.02}, "weight_decay": 0.0}
SCENARIOS = {
    "ddp": Scenario(recipe={"accumulate": 2}),
    "ddp_ngpt": Scenario(preset="dint_ngpt", recipe={"ema": 0.9}),
    "fsdp": Scenario(strategy="fsdp", recipe={"accumulate": 2, "ema": 0.9}),
    "fsdp_muon": Scenario(preset="ngpt", strategy="fsdp", recipe=MUON),
    "fsdp_row": Scenario(preset="dint_v1", strategy="fsdp", recipe={"orthograd": "row"}),
    "fsdp_tensor": Scenario(preset="mla", strategy="fsdp", recipe={"orthograd": "tensor"}),
    "ddp_bf16": Scenario(recipe={"precision": "bf16-mixed"}),
    "fsdp_bf16": Scenario(strategy="fsdp", recipe={"precision": "bf16-mixed"}),
    "unaveraged": Scenario(mistake="unaveraged"),
    "same_rows": Scenario(mistake="same_rows"),
    "ddp_cut": Scenario(keep="cut"),
    "fsdp_cut": Scenario(strategy="fsdp", keep="cut", recipe={"ema": 0.9}),
    "dropped": Scenario(dropout=0.3),
    "dropped_again": Scenario(dropout=0.3, keep="again"),
    "dropped_one_seed": Scenario(dropout=0.3, keep="again", mistake="one_generator"),
    "fsdp_resume": Scenario(strategy="fsdp", keep="resume", recipe={"ema": 0.9}),
}
# Every preset, and what keeps whole matrices or rows in view, under both strategies: slow.
FULL = {
    f"{strategy}_{preset}_{name}": Scenario(preset=preset, strategy=strategy, recipe=recipe)
    for strategy in ("ddp", "fsdp")
    for preset in SMALL_PRESETS
    for name, recipe in {"adamw": {"accumulate": 2}, "muon": MUON}.items()
}


class Unaveraged(Ranks):
    """A planted mistake: gradients stay in the process that computed them."""

    def quiet(self, on: bool = True) -> AbstractContextManager[None]:
        return super().quiet(on or True)


def data(step: int) -> Windows:
    ids = torch.randint(VOCAB, (BATCH, 10), generator=torch.Generator().manual_seed(step))
    return ids[:, :-1], ids[:, 1:]


def part(step: int, i: int, n: int) -> Windows:
    inputs, targets = (side.chunk(n)[i] for side in data(step))
    return inputs, targets


def new_model(scenario: Scenario) -> LanguageModel:
    """In float64, but where the recipe has a narrower type."""
    torch.manual_seed(5)
    model = LanguageModel(SMALL_PRESETS[scenario.preset].replace(dropout=scenario.dropout))
    return model if "precision" in scenario.recipe else model.double()


def train(scenario: Scenario, ranks: Ranks = ALONE, folder: Path | None = None) -> Trained:
    """Train by all of the ranks; each gets the same answer."""
    model, reports, run = new_model(scenario), [], None
    recipe = TrainRecipe(steps=STEPS, lr=1e-2, checkpoint_every=CUT).replace(**scenario.recipe)
    as_trained(model, recipe.precision)
    called = ranks.wrap(model)
    if folder is not None:
        run = RunFolder(path=folder, config={}, resume=scenario.keep == "resume")

    def on_step(report: StepReport) -> None:
        reports.append(report)
        if scenario.keep == "cut" and report.step == CUT:
            raise PowerCutError

    def loss(windows: Windows) -> Tensor:
        return cross_entropy(called(windows[0]), windows[1])

    def part_of(step: int, i: int, n: int) -> Tensor:
        return loss(part(step, 0 if scenario.mistake == "same_rows" else i, n))

    result = fit(
        model,
        lambda step: loss(data(step)),
        recipe,
        part_of=part_of,
        evaluate=lambda: {"nats": cross_entropy(model(data(99)[0]), data(99)[1]).item()},
        run=run,
        on_step=on_step,
        after_step=lambda: normalize_weights_(model),
        ranks=ranks,
    )
    return Trained(
        losses=[report.loss for report in reports],
        norms=[report.grad_norm for report in reports],
        nats=result.scores["nats"],
    )


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    with joined("ddp") as ranks:
        for name in names:
            found = trained_by(ranks, (SCENARIOS | FULL)[name], folder / name)
            if ranks.first:
                (folder / f"{name}.json").write_text(json.dumps(found and asdict(found)))


def trained_by(ranks: Ranks, scenario: Scenario, folder: Path) -> Trained | None:
    """What a scenario came to; None where it was cut off."""
    kind = Unaveraged if scenario.mistake == "unaveraged" else Ranks
    mine = kind(scenario.strategy, rank=ranks.rank, count=ranks.count)
    if scenario.mistake == "one_generator":
        generators.numbered = lambda kind, _: kind
    try:
        if scenario.keep != "again":
            return train(scenario, mine, folder if scenario.keep else None)
        with suppress(PowerCutError):
            train(replace(scenario, keep="cut"), mine, folder)
        return train(replace(scenario, keep="resume"), mine, folder)
    except PowerCutError:
        return None


def alone(scenario: Scenario, folder: Path | None = None) -> Trained:
    """The scenario in a single process, without its mistake, in one part, whole."""
    recipe = {k: v for k, v in scenario.recipe.items() if k != "accumulate"}
    return train(replace(scenario, mistake=None, keep=None, recipe=recipe), folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
