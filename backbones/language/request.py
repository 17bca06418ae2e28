"""What a user asks of `train`, and the corpus, plan and folder that it comes to."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizer import Kind
from .folder import read_plan
from .plan import BPE_IDS, TextPlan, changed, plan_run

PRESET, RECIPE = "llama", "cpu"  # where a new run does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """The options of `train` as given; None where they were not."""

    corpus: str | None = None
    preset: str | None = None
    recipe: str | None = None
    tokenizer: Kind | None = None
    vocab_size: int | None = None  # of a bpe
    seed: int | None = None
    steps: int | None = None
    accumulate: int | None = None
    changes: tuple[str, ...] = ()  # each FIELD=VALUE
    out: Path | None = None
    resume: Path | None = None
    path: Path | None = None  # where a corpus lies that no package holds
    data: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All that `train_run` needs."""

    corpus: Corpus
    plan: TextPlan
    folder: Path
    resume: bool


def prepare(request: TrainRequest) -> Prepared:
    """A new run or one to go on with; UsageError for what is missing, unknown or contradictory."""
    if request.resume is not None:
        return prepare_resume(request, request.resume)
    if request.corpus is None:
        raise UsageError("--corpus is missing: 'tinyshakespeare' or the path of a text file")
    if request.vocab_size is not None and request.tokenizer != "bpe":
        raise UsageError(
            f"--vocab-size {request.vocab_size} belongs to --tokenizer bpe: "
            "characters and bytes have theirs"
        )
    corpus = load_corpus(request.corpus, request.data, path=request.path)
    plan = plan_run(
        corpus,
        request.preset or PRESET,
        request.recipe or RECIPE,
        request.tokenizer or "char",
        request.vocab_size or BPE_IDS,
    )
    plan = changed(plan, parsed(request))
    return Prepared(
        corpus=corpus, plan=plan, folder=request.out or default_folder(corpus, plan), resume=False
    )


def prepare_resume(request: TrainRequest, folder: Path) -> Prepared:
    """The run's own plan under the options given again, which `train_run` compares with it."""
    if request.out is not None:
        raise UsageError(f"--out {request.out} and --resume {folder}: a run goes on in its folder")
    plan = read_plan(folder)
    corpus = load_corpus(request.corpus or plan.corpus, request.data, path=request.path)
    names = {
        "preset": request.preset,
        "recipe_name": request.recipe,
        "tokenizer": request.tokenizer,
        "backbone.vocab_size": request.vocab_size,
    }
    given: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
    if request.corpus is not None:
        given |= {"corpus": corpus.name, "corpus_sha256": corpus.sha256}
    return Prepared(
        corpus=corpus, plan=changed(plan, given | parsed(request)), folder=folder, resume=True
    )


def parsed(request: TrainRequest) -> dict[str, Any]:
    """Dotted fields of the plan and the values asked for, JSON where they are JSON, else text."""
    fields = dict(setting(text) for text in request.changes)
    short = {
        "train.steps": request.steps,
        "train.seed": request.seed,
        "train.accumulate": request.accumulate,
    }
    return fields | {name: value for name, value in short.items() if value is not None}


def setting(text: str) -> tuple[str, Any]:
    """`train.lr=1e-3` as a field and a value; UsageError where there is no value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r} has no '=': FIELD=VALUE is wanted")
    return name, value_of(value)


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def default_folder(corpus: Corpus, plan: TextPlan) -> Path:
    """runs/<utc>-<preset>-<corpus>-seedN."""
    return new_folder(f"{plan.preset}-{corpus.label}-seed{plan.train.seed}")


def new_folder(name: str) -> Path:
    """runs/<utc>-<name>."""
    return Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
