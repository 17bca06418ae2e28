"""Train a plan in a folder, and use what came of it.

B windows   T context
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import differences, latest, load_weights
from ..errors import CheckpointError, CorpusError, UsageError
from ..generate import Sampling, generate
from ..losses import cross_entropy
from ..model import LanguageModel
from ..storage import replace_file, to_json
from ..text.batches import Batches, every_window
from ..text.corpora import Corpus
from ..text.tokenizer import CharTokenizer
from ..train import RunFolder, StepReport, fit
from .folder import read_plan, read_tokenizer, status, training_seconds, write_plan
from .plan import TextPlan

SCORED_AT_ONCE = 64  # windows; memory depends on it, results do not


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageRun:
    """A run as its newest checkpoint has it, the model in eval mode."""

    folder: Path
    plan: TextPlan
    tokenizer: CharTokenizer
    model: LanguageModel


def train_run(
    corpus: Corpus,
    plan: TextPlan,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> dict[str, Any]:
    """Train by the plan in `folder`; returns the summary that is written there too.

    Raises UsageError where a new run's folder exists, CheckpointError where a resumed one is of
    another plan, CorpusError where the text is too short or is not the plan's, DivergedError.
    """
    if folder.exists() and not resume:
        raise UsageError(f"{folder} exists: name another --out, or go on with --resume {folder}")
    if resume:
        refuse_other_plan(folder, plan)
    refuse_other_text(corpus, plan)
    tokenizer = CharTokenizer.of(corpus.text)
    ids, held_out = (tokenizer.encode(part) for part in corpus.parts)
    batches = Batches(ids=ids, context=plan.context, batch=plan.batch, seed=plan.train.seed)
    batches(0)  # a text too short for a batch is refused before anything is written
    windows = every_window(held_out, plan.context)
    torch.manual_seed(plan.train.seed)
    model = LanguageModel(plan.backbone)
    if not resume:
        write_plan(folder, plan, tokenizer)
    config = plan.model_dump(mode="json", exclude={"train"})
    with status(folder):
        result = fit(
            model,
            lambda step: loss_of(model, batches(step)),
            plan.train,
            evaluate=lambda: {"validation_nats": mean_nats(model, windows)},
            run=RunFolder(path=folder, config=config, resume=resume),
            on_step=on_step,
        )
        summary = summarise(plan, model, folder) | dict(result.scores)
        replace_file(folder / "summary.json", to_json(summary))
    return summary


def summarise(plan: TextPlan, model: LanguageModel, folder: Path) -> dict[str, Any]:
    """What a table of runs needs of one, besides its scores."""
    seconds, steps = training_seconds(folder), plan.train.steps
    return {
        "run": str(folder),
        "preset": plan.preset,
        "corpus": plan.corpus,
        "recipe": plan.recipe_name,
        "seed": plan.train.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
        "tokens": steps * plan.batch * plan.context,
        "training_seconds": round(seconds, 3),
        "ms_per_step": round(1000 * seconds / steps, 3),
    }


def open_run(folder: Path) -> LanguageRun:
    """The run in a folder; CheckpointError where there is none, or where it is damaged."""
    plan = read_plan(folder)
    model = LanguageModel(plan.backbone)
    load_weights(latest(folder / "checkpoints"), model)
    return LanguageRun(
        folder=folder, plan=plan, tokenizer=read_tokenizer(folder), model=model.eval()
    )


def score_run(run: LanguageRun, corpus: Corpus) -> dict[str, Any]:
    """Mean nats a character over all windows of the validation part that do not overlap."""
    refuse_other_text(corpus, run.plan)
    windows = every_window(run.tokenizer.encode(corpus.parts[1]), run.plan.context)
    return {
        "run": str(run.folder),
        "corpus": corpus.name,
        "windows": len(windows[0]),
        "characters": windows[0].numel(),
        "validation_nats": mean_nats(run.model, windows),
    }


def sample_text(run: LanguageRun, prompt: str, count: int, sampling: Sampling) -> str:
    """The prompt and `count` characters more, looking back on at most the context of training."""
    if not prompt:
        raise UsageError("--prompt is empty: a character is wanted")
    context = run.plan.context
    if sampling.window is None:
        sampling = sampling.replace(window=context)
    elif sampling.window > context:
        raise UsageError(f"window={sampling.window} is above {context}, the context of training")
    ids = run.tokenizer.encode(prompt).unsqueeze(0)
    return run.tokenizer.decode(generate(run.model, ids, count, sampling)[0])


def loss_of(model: LanguageModel, windows: tuple[Tensor, Tensor]) -> Tensor:
    """Mean nats a token over windows of inputs and targets, each [B, T]."""
    inputs, targets = windows
    return cross_entropy(model(inputs), targets)


@torch.no_grad()
def mean_nats(model: LanguageModel, windows: tuple[Tensor, Tensor]) -> float:
    """Mean nats a token over many windows, some at a time; the model should be in eval mode."""
    parts = zip(*(side.split(SCORED_AT_ONCE) for side in windows), strict=True)
    total = sum(loss_of(model, part).item() * part[0].numel() for part in parts)
    return total / windows[0].numel()


def refuse_other_plan(folder: Path, plan: TextPlan) -> None:
    """CheckpointError that names every field in which the run in `folder` has another plan."""
    there = read_plan(folder).model_dump(mode="json")
    odd = differences(there, plan.model_dump(mode="json"))
    if odd:
        raise CheckpointError(f"{folder} cannot go on with another plan: {odd}")


def refuse_other_text(corpus: Corpus, plan: TextPlan) -> None:
    """CorpusError unless the corpus is, byte for byte, the one that the plan names."""
    if corpus.sha256 != plan.corpus_sha256:
        raise CorpusError(
            f"corpus {corpus.name!r} has sha256 {corpus.sha256[:12]}..., "
            f"the run was planned on {plan.corpus!r} with {plan.corpus_sha256[:12]}..."
        )
