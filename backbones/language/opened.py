"""Open what came of a run: score it, and sample from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import latest, load_weights
from ..errors import CorpusError, UsageError
from ..generate import Sampling, stream
from ..model import LanguageModel
from ..text.corpora import Corpus
from ..text.tokenizer import Tokenizer
from ..train import as_trained, computing, device_of
from .folder import read_plan, read_tokenizer
from .plan import TextPlan
from .score import held_out, mean_nats, softmax_nats

UNKNOWN = "\ufffd"  # what bytes read as that are no character, or none yet


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageRun:
    """A run as its newest checkpoint has it, the model in eval mode."""

    folder: Path
    plan: TextPlan
    tokenizer: Tokenizer
    model: LanguageModel


def open_run(folder: Path) -> LanguageRun:
    """The run in a folder; CheckpointError where there is none, or where it is damaged."""
    plan = read_plan(folder)
    model = LanguageModel(plan.backbone)
    as_trained(model, plan.train.precision)
    load_weights(latest(folder / "checkpoints"), model)
    return LanguageRun(
        folder=folder, plan=plan, tokenizer=read_tokenizer(folder), model=model.eval()
    )


def score_run(
    run: LanguageRun, corpus: Corpus, on_windows: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Mean nats a character over all windows of the plan's split that do not overlap.

    `on_windows(of, more)` is told of `more` windows that were read, of so many: each is read twice.

    Under the link of the loss, and under a softmax with one temperature, which is fitted on the
    end of what the run was trained on.
    """
    refuse_other_text(corpus, run.plan)
    plan, (training, scored) = run.plan, run.plan.parts(corpus)
    text = held_out(scored, run.tokenizer, plan.context)
    before = held_out(training[-len(scored) :], run.tokenizer, plan.context)
    watch = partial(on_windows, 2 * len(text.windows[0])) if on_windows else None
    with computing(plan.train.precision, device_of(run.model)):
        nats = mean_nats(run.model, text, plan.loss, watch)
        softmax, temperature = softmax_nats(run.model, text, before, watch)
    return {
        "run": str(run.folder),
        "corpus": corpus.name,
        "windows": len(text.windows[0]),
        "tokens": text.tokens,
        "characters": text.characters,
        f"{plan.split}_nats": nats,
        "softmax_nats": softmax,
        "temperature": temperature,
    }


def sample_text(run: LanguageRun, prompt: str, count: int, sampling: Sampling) -> str:
    """The prompt and `count` tokens more: the pieces of `written` in one."""
    return "".join(written(run, prompt, count, sampling))


def written(run: LanguageRun, prompt: str, count: int, sampling: Sampling) -> Iterator[str]:
    """The prompt, then what `count` tokens more add to it, a piece as soon as it is known.

    Looks back on at most the context of training. A piece is whole characters: bytes of one that
    is not over wait for the rest of it.
    """
    if not prompt:
        raise UsageError("--prompt is empty: a character is wanted")
    context = run.plan.context
    if sampling.window is None:
        sampling = sampling.replace(window=context)
    elif sampling.window > context:
        raise UsageError(f"window={sampling.window} is above {context}, the context of training")
    ids = run.tokenizer.encode(prompt).unsqueeze(0)
    sampling = sampling.replace(link=run.plan.loss)
    with computing(run.plan.train.precision, device_of(run.model)):
        yield run.tokenizer.decode(ids[0])
        waiting, said = ids[0, :0], ""
        for new in stream(run.model, ids, count, sampling):
            waiting = torch.cat((waiting, new[0]))
            text = run.tokenizer.decode(waiting)
            whole = text.rstrip(UNKNOWN)
            yield whole.removeprefix(said)
            waiting, said = (waiting[:0], "") if whole == text else (waiting, whole)
        yield run.tokenizer.decode(waiting).removeprefix(said)


def refuse_other_text(corpus: Corpus, plan: TextPlan) -> None:
    """CorpusError unless the corpus is, byte for byte, the one that the plan names."""
    if corpus.sha256 != plan.corpus_sha256:
        raise CorpusError(
            f"corpus {corpus.name!r} has sha256 {corpus.sha256[:12]}..., "
            f"the run was planned on {plan.corpus!r} with {plan.corpus_sha256[:12]}..."
        )
