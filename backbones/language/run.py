"""Train a plan in a folder, in one process or in several."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..by_hand import plainly
from ..checkpoint import differences
from ..distributed import ALONE, Ranks
from ..embedding import vocabulary
from ..errors import CheckpointError, UsageError
from ..model import LanguageModel
from ..sphere import normalize_weights_
from ..storage import replace_file, to_json
from ..text.batches import Batches
from ..text.corpora import Corpus
from ..text.tokenizer import Tokenizer, fit_tokenizer
from ..train import RunFolder, StepReport, as_trained, computing, device_of, fit, started
from ..train.kernels import attention_kernels
from .folder import (
    read_plan,
    read_tokenizer,
    sigterm_raised,
    status,
    training_seconds,
    write_plan,
)
from .opened import refuse_other_text
from .plan import TextPlan
from .score import HeldOut, Windows, held_out, loss_of, mean_nats


def train_run(
    corpus: Corpus,
    plan: TextPlan,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Train by the plan in `folder`; returns the summary that is written there too.

    Each process of a run calls this; the first writes the folder and gets the summary, the others
    get an empty one. Raises UsageError where a new run's folder exists, the plan has another
    tokeniser's size or its batch cannot be dealt out, CheckpointError where a resumed run is of
    another plan, CorpusError where the text is too short or is not the plan's, DivergedError.
    """
    # The others find the folder that the first one made, and that its plan is theirs.
    text = ranks.first_then_rest(
        lambda: begin(corpus, plan, folder, resume=resume or not ranks.first, ranks=ranks)
    )
    torch.manual_seed(plan.train.seed)
    model = LanguageModel(plan.backbone).to(ranks.means.device)
    as_trained(model, plan.train.precision)
    if ranks.first and ranks is not ALONE:
        with plainly() if ranks.means.compiled else nullcontext():  # as torch.compile has it
            ranks.tell(f"{ranks}; {plan.train.precision}; {kernels_of(model, text, plan)}")
    trained = ranks.wrap(model)
    config = plan.model_dump(mode="json", exclude={"train"})
    with status(folder) if ranks.first else sigterm_raised():
        result = fit(
            model,
            lambda step: loss_of(trained, text.batches(step), plan.loss),
            plan.train,
            part_of=lambda step, i, n: loss_of(trained, text.part(step, i, n), plan.loss),
            evaluate=lambda: {f"{plan.split}_nats": mean_nats(model, text.held_out, plan.loss)},
            run=RunFolder(path=folder, config=config, resume=resume and started(folder)),
            on_step=on_step,
            after_step=lambda: normalize_weights_(model),
            ranks=ranks,
        )
        if not ranks.first:
            return {}
        summary = summarise(plan, model, folder) | dict(result.scores)
        replace_file(folder / "summary.json", to_json(summary))
    return summary


def kernels_of(model: LanguageModel, text: "RunText", plan: TextPlan) -> str:
    """What attention and the optimiser run on: tried with the first window."""
    first = text.held_out.windows[0][:1].to(device_of(model))
    with computing(plan.train.precision, device_of(model)):
        attention = attention_kernels(lambda: model(first))
    muon = "Muon and " if plan.train.muon else ""
    return f"attention: {attention}; optimiser: {muon}fused AdamW"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunText:
    """What a run trains on, and what it scores."""

    batches: Batches
    held_out: HeldOut

    def part(self, step: int, i: int, n: int) -> Windows:
        """Part i of n equal ones of a batch: inputs and targets, each [B/n, T]."""
        inputs, targets = self.batches(step)
        size = len(inputs) // n
        mine = slice(i * size, (i + 1) * size)
        return inputs[mine], targets[mine]


def begin(corpus: Corpus, plan: TextPlan, folder: Path, *, resume: bool, ranks: Ranks) -> RunText:
    """A new run's folder, or the check that a resumed one is of this plan; the text of either."""
    if folder.exists() and not resume:
        raise UsageError(f"{folder} exists: name another --out, or go on with --resume {folder}")
    if resume:
        refuse_other_plan(folder, plan)
    refuse_other_text(corpus, plan)
    refuse_uneven_shares(plan, ranks)
    tokenizer = read_tokenizer(folder) if resume else tokenizer_of(corpus, plan)
    training, scored = plan.parts(corpus)
    batches = Batches(
        ids=tokenizer.encode(training), context=plan.context, batch=plan.batch, seed=plan.train.seed
    )
    batches(0)  # a text too short for a batch is refused before anything is written
    text = RunText(batches=batches, held_out=held_out(scored, tokenizer, plan.context))
    if not resume:
        write_plan(folder, plan, tokenizer)
    return text


def refuse_uneven_shares(plan: TextPlan, ranks: Ranks) -> None:
    """UsageError unless each process can compute the same number of parts of equal size."""
    count = ranks.count * plan.train.accumulate
    if plan.batch % count:
        raise UsageError(
            f"batch={plan.batch} is not a multiple of {count}: {ranks.count} processes times "
            f"train.accumulate={plan.train.accumulate}, each part of a batch has as many windows"
        )


def tokenizer_of(corpus: Corpus, plan: TextPlan) -> Tokenizer:
    """The plan's tokeniser of its corpus; UsageError where its size is not the backbone's."""
    size = vocabulary(plan.backbone)
    tokenizer = fit_tokenizer(plan.tokenizer, corpus.text, plan.parts(corpus)[0], size)
    if tokenizer.vocab_size != size:
        raise UsageError(
            f"tokenizer {plan.tokenizer!r} has {tokenizer.vocab_size} ids, backbone.vocab_size="
            f"{size}: name it by --tokenizer, which sets both"
        )
    return tokenizer


def summarise(plan: TextPlan, model: LanguageModel, folder: Path) -> dict[str, Any]:
    """What a table of runs needs of one, besides its scores."""
    seconds, steps = training_seconds(folder), plan.train.steps
    return {
        "run": str(folder),
        "preset": plan.preset,
        "corpus": plan.corpus,
        "recipe": plan.recipe_name,
        "tokenizer": plan.tokenizer,
        "loss": plan.loss,
        "seed": plan.train.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
        "tokens": steps * plan.batch * plan.context,
        "training_seconds": round(seconds, 3),
        "ms_per_step": round(1000 * seconds / steps, 3),
    }


def refuse_other_plan(folder: Path, plan: TextPlan) -> None:
    """CheckpointError that names every field in which the run in `folder` has another plan."""
    there = read_plan(folder).model_dump(mode="json")
    odd = differences(there, plan.model_dump(mode="json"))
    if odd:
        raise CheckpointError(f"{folder} cannot go on with another plan: {odd}")
