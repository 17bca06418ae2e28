"""What a study found, an arm a record: the numbers of the table, the page and the JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from ..language.plan import TextPlan
from .arms import Arm
from .curves import Curve, curve_of
from .estimates import Estimate, Verdict, estimate, verdict
from .running import Results
from .tasks import Done


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRuns:
    """An arm with its runs, by seed, and their curves."""

    arm: Arm
    runs: tuple[Done, ...]
    curves: tuple[Curve, ...]

    @property
    def nats(self) -> list[float]:
        """Final scores by seed."""
        return self.values(f"{self.arm.plan.split}_nats")

    def values(self, name: str) -> list[float]:
        """A field of every record."""
        return [run.record[name] for run in self.runs]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmSummary:
    """One row. Nats are a character's, by the arm's own loss but for softmax_nats."""

    name: str
    preset: str
    varied: dict[str, Any]
    loss: str
    parameters: int
    parameter_gap: float  # share of the reference's count
    d_ffn: int
    factor: float  # of the recipe's rates
    lr: float
    at_edge: bool  # of the rates tried: a better one may lie beyond
    tokens: int  # of each run
    nats: Estimate
    difference: Estimate | None  # to the reference, paired by seed; None: the reference itself
    verdict: Verdict
    training_nats: float  # mean, on text that was trained on
    overfit: float  # mean of nats - training_nats
    best_nats: float  # mean of the lowest scores on the way: optimistic
    best_steps: tuple[int, ...]  # where those were, by seed
    softmax_nats: float | None  # mean, by a softmax at a fitted temperature; None: not taken
    seconds: float  # median over seeds, in steps
    ms_per_step: float  # median over seeds of the median step
    time_ratio: float  # of ms_per_step to the reference's


def by_arm(results: Results) -> list[ArmRuns]:
    """The runs under their arms, with their curves."""
    found = []
    for arm in results.arms:
        runs = tuple(run for run in results.runs if run.task.arm == arm.name)
        found.append(ArmRuns(arm=arm, runs=runs, curves=tuple(curve_of(run) for run in runs)))
    return found


def summarise(results: Results) -> list[ArmSummary]:
    """One summary an arm, the reference first."""
    arms = by_arm(results)
    return [summary_of(each, arms[0], results.study.rates) for each in arms]


def summary_of(found: ArmRuns, reference: ArmRuns, rates: tuple[float, ...]) -> ArmSummary:
    """An arm beside the reference."""
    arm, plan, factor = found.arm, found.runs[0].task.plan, found.runs[0].task.factor
    paired = None
    if found.arm.name != reference.arm.name:
        paired = estimate([a - b for a, b in zip(found.nats, reference.nats, strict=True)])
    training, best = found.values("training_nats"), [curve.best for curve in found.curves]
    ms = median(found.values("ms_per_step_median"))
    return ArmSummary(
        name=arm.name,
        preset=arm.preset,
        varied=arm.varied,
        loss=plan.loss,
        parameters=arm.parameters,
        parameter_gap=arm.parameters / reference.arm.parameters - 1,
        d_ffn=plan.backbone.d_ffn,
        factor=factor,
        lr=plan.train.lr,
        at_edge=len(rates) > 1 and factor in {min(rates), max(rates)},
        tokens=tokens_of(plan),
        nats=estimate(found.nats),
        difference=paired,
        verdict="reference" if paired is None else verdict(paired),
        training_nats=fmean(training),
        overfit=fmean(a - b for a, b in zip(found.nats, training, strict=True)),
        best_nats=fmean(nats for nats, _ in best),
        best_steps=tuple(step for _, step in best),
        softmax_nats=mean_where_known([run.record.get("softmax_nats") for run in found.runs]),
        seconds=median(found.values("training_seconds")),
        ms_per_step=ms,
        time_ratio=ms / median(reference.values("ms_per_step_median")),
    )


def tokens_of(plan: TextPlan) -> int:
    """How many tokens a run trains on, repeats included."""
    return plan.train.steps * plan.batch * plan.context


def mean_where_known(values: Sequence[float | None]) -> float | None:
    """The mean, or None where one value is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def to_plain(summary: ArmSummary) -> dict[str, Any]:
    """A summary as JSON can say it."""
    return asdict(summary)
