"""The arms of a study: each a plan at equal parameters, without its seed and its rate."""

import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..language.plan import TextPlan, changed, plan_run
from ..model import parameters_of
from ..text.corpora import Corpus
from .parity import at_parity
from .study import Study

TUNED_FOR = 4  # a trial has this part of the steps, where a study does not say
SCORES = 4  # of a run on its way, the last one included


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One of the things compared."""

    name: str  # the preset, and what of it was varied
    preset: str
    varied: dict[str, Any]  # by dotted name
    plan: TextPlan
    parameters: int

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        return re.sub(r"[^A-Za-z0-9_.]+", "-", self.name).strip("-")


def arms_of(study: Study, corpus: Corpus) -> list[Arm]:
    """Presets x variations in order; UsageError for a field, a value or a preset that is none."""
    arms: list[Arm] = []
    for name in study.presets:
        for values in itertools.product(*(v.values for v in study.vary)):
            varied = {v.field: x for v, x in zip(study.vary, values, strict=True)}
            arms.append(arm_of(study, corpus, name, varied, arms[0].parameters if arms else None))
    slugs = [arm.slug for arm in arms]
    twice = [arm.name for arm in arms if slugs.count(arm.slug) > 1]
    if twice:
        raise UsageError(f"arms need names of their own: {twice[0]!r} and {twice[1]!r}")
    return arms


def arm_of(
    study: Study, corpus: Corpus, preset: str, varied: dict[str, Any], reference: int | None
) -> Arm:
    """One arm; `reference` is the first one's count of parameters, None for the first itself."""
    plan = plan_run(corpus, preset, study.recipe, study.tokenizer, study.vocab_size)
    short = {} if study.steps is None else {"train.steps": study.steps}
    plan = changed(plan, short | study.changes | varied)
    plan = changed(plan, scored_on_the_way(plan.train.steps))
    wanted = study.parameters or reference
    if study.parity and wanted is not None:
        plan = changed(plan, {"backbone.d_ffn": at_parity(plan.backbone, wanted).d_ffn})
    return Arm(
        name=" ".join([preset, *(f"{last(field)}={shown(x)}" for field, x in varied.items())]),
        preset=preset,
        varied=varied,
        plan=plan,
        parameters=parameters_of(plan.backbone),
    )


def scored_on_the_way(steps: int) -> dict[str, int]:
    """Fields for SCORES scores, evenly, and no checkpoint before the last step."""
    return {"train.evaluate_every": max(1, steps // SCORES), "train.checkpoint_every": steps}


def last(field: str) -> str:
    """The last part of a dotted name."""
    return field.rpartition(".")[2]


def shown(value: Any) -> str:
    """A value as it is named in a table."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, separators=(",", ":"))
    return "none" if value is None else str(value)


def trial_plan(arm: Arm, factor: float, study: Study) -> TextPlan:
    """A short run at the recipe's rates times `factor`, seed 0, scored on the split "selection"."""
    steps = study.tune_steps or max(1, arm.plan.train.steps // TUNED_FOR)
    warmup = min(arm.plan.train.warmup, steps - 1)
    short = {"train.steps": steps, "train.warmup": warmup, "train.seed": 0, "split": "selection"}
    return changed(at_rate(arm.plan, factor), short | {"train.evaluate_every": None})


def final_plan(arm: Arm, factor: float, study: Study) -> TextPlan:
    """The same trial with all the steps: what learns fastest at first is not always ahead then."""
    train = arm.plan.train
    return changed(
        trial_plan(arm, factor, study), {"train.steps": train.steps, "train.warmup": train.warmup}
    )


def at_rate(plan: TextPlan, factor: float) -> TextPlan:
    """The plan with AdamW's and Muon's rates times `factor`; a floor keeps its share."""
    train = plan.train
    rates: dict[str, Any] = {"train.lr": train.lr * factor, "train.min_lr": train.min_lr * factor}
    if train.muon is not None:
        rates["train.muon.lr"] = train.muon.lr * factor
    return changed(plan, rates)
