"""Seconds of training until a loss: several recipes side by side, a step of each in turn.

One process, one thread. The arm that has done the smallest share of its steps goes next, so that
whatever slows the machine slows all of them alike.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..language.plan import TextPlan
from ..language.run import tokenizer_of
from ..language.score import held_out, loss_of, mean_nats
from ..model import LanguageModel
from ..sphere import normalize_weights_
from ..text.batches import Batches
from ..text.corpora import Corpus
from ..train import evaluation, start
from ..train.step import take_step
from .cases import Row

BAR = 1.8857  # nats a character: what nanoGPT publishes, an estimate on 20 random batches


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A plan, and how its time is counted.

    With `looks`, the loss is taken every so many steps, and the time is that of the first look at
    the bar or under it. Without, the schedule counts whole, whatever it reaches.
    """

    name: str
    plan: TextPlan
    looks: int | None = None


class Runner:
    """One arm under one seed, as far as it has come."""

    def __init__(self, arm: Arm, corpus: Corpus, seed: int, bar: float) -> None:
        self.arm, self.bar = arm, bar
        self.seconds = self.cpu_seconds = 0.0
        plan = arm.plan
        self.recipe = plan.train.replace(seed=seed)
        tokenizer = tokenizer_of(corpus, plan)
        training, scored = corpus.parts_for(plan.split)
        self.batches = Batches(
            ids=tokenizer.encode(training), context=plan.context, batch=plan.batch, seed=seed
        )
        self.text = held_out(scored, tokenizer, plan.context)
        torch.manual_seed(seed)
        self.model = LanguageModel(plan.backbone)
        self.state = start(self.model, self.recipe)
        self.nats, self.done = math.inf, False

    @property
    def share(self) -> float:
        """Of its steps, how many are done."""
        return self.state.step / self.recipe.steps

    def step(self) -> None:
        """One step, which counts, and a look where one is due, which does not."""
        plan, model = self.arm.plan, self.model
        began = time.process_time()
        report = take_step(
            self.state,
            lambda step: loss_of(model, self.batches(step), plan.loss),
            self.recipe,
            lambda: normalize_weights_(model),
        )
        self.seconds += report.seconds
        self.cpu_seconds += time.process_time() - began
        last = self.state.step == self.recipe.steps
        looks = self.arm.looks
        if last or (looks is not None and self.state.step % looks == 0):
            scores = evaluation(self.state, self.scores, None, self.recipe)
            self.nats = scores["nats"]
            self.done = last or self.nats <= self.bar

    def scores(self) -> dict[str, float]:
        """Nats a character of the whole scored part."""
        return {"nats": mean_nats(self.model, self.text, self.arm.plan.loss)}


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of a race: of what came of each runner, and of how many steps are done, of all."""

    tell: Callable[[str], None]
    on_step: Callable[[int, int], None]


def race(arms: Sequence[Arm], corpus: Corpus, seeds: Sequence[int], told: Told) -> list[Row]:
    """A row an arm and seed, and a row an arm over all seeds; ratios are to the first arm."""
    rows: list[Row] = []
    for seed in seeds:
        runners = [Runner(arm, corpus, seed, BAR) for arm in arms]
        most = sum(runner.recipe.steps for runner in runners)
        while waiting := [runner for runner in runners if not runner.done]:
            min(waiting, key=lambda runner: runner.share).step()
            told.on_step(sum(runner.state.step for runner in runners), most)
        for runner in runners:
            told.tell(
                f"seed {seed}, {runner.arm.name}: {runner.nats:.4f} after {runner.seconds:.1f} s"
            )
            rows.append(row_of(runner, runners[0], seed))
    return rows + [over_seeds(rows, arm.name) for arm in arms]


def row_of(runner: Runner, first: Runner, seed: int) -> Row:
    """What one arm came to under one seed."""
    return Row(
        bench="time-to-loss",
        case=f"seed {seed}",
        way=runner.arm.name,
        against=first.arm.name,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in runner.model.parameters()),
        steps=runner.state.step,
        seconds=runner.seconds,
        cpu_seconds=runner.cpu_seconds,
        nats=runner.nats,
        reached=runner.nats <= runner.bar,
        ratio=runner.seconds / first.seconds,
        cpu_ratio=runner.cpu_seconds / first.cpu_seconds,
    )


def over_seeds(rows: Sequence[Row], way: str) -> Row:
    """Medians over seeds; the spread of a ratio is from its least to its largest."""
    mine = [row for row in rows if row.way == way]
    ratios = [row.ratio or 0.0 for row in mine]
    return Row(
        bench="time-to-loss",
        case=f"median of {len(mine)} seeds",
        way=way,
        against=mine[0].against,
        threads=mine[0].threads,
        parameters=mine[0].parameters,
        steps=round(statistics.median(row.steps or 0 for row in mine)),
        seconds=statistics.median(row.seconds or 0.0 for row in mine),
        cpu_seconds=statistics.median(row.cpu_seconds or 0.0 for row in mine),
        nats=statistics.median(row.nats or 0.0 for row in mine),
        reached=all(row.reached for row in mine),
        cpu_ratio=statistics.median(row.cpu_ratio or 0.0 for row in mine),
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
    )
