"""What a user asks of `compare`, and the study, corpus and folder that it comes to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import UsageError
from ..language.plan import first_fault
from ..language.request import new_folder, setting, value_of
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizer import Kind
from .running import refuse_other_study
from .study import Study, Variation, read_study

CORPUS = "tinyshakespeare"  # where a new study does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRequest:
    """The options of `compare` as given; None, or empty, where they were not."""

    presets: str | None = None  # A,B,...
    vary: tuple[str, ...] = ()  # each FIELD=VALUE,VALUE,...
    changes: tuple[str, ...] = ()  # each FIELD=VALUE
    corpus: str | None = None
    path: Path | None = None  # where a corpus lies that no package holds
    recipe: str | None = None
    tokenizer: Kind | None = None
    vocab_size: int | None = None  # of a bpe
    seeds: int | None = None
    steps: int | None = None
    rates: str | None = None  # 0.5,1,...
    tune_steps: int | None = None
    finalists: int | None = None
    parameters: int | None = None
    as_is: bool = False
    out: Path | None = None
    resume: Path | None = None
    data: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyStudy:
    """All that `run_study` needs."""

    study: Study
    corpus: Corpus
    folder: Path


def prepare_study(request: StudyRequest) -> ReadyStudy:
    """A new study or one to go on with; UsageError for what is missing, unknown or contradictory.

    Options given with a study to go on with must be the study's own.
    """
    if request.resume is not None:
        if request.out is not None:
            raise UsageError(f"--out {request.out} and --resume {request.resume}: one of the two")
        before = read_study(request.resume)
        corpus = load_corpus(request.corpus or before.corpus, request.data, path=request.path)
        study = study_of(before.model_dump() | given(request, corpus))
        refuse_other_study(request.resume, study)
        return ReadyStudy(study=study, corpus=corpus, folder=request.resume)
    if request.presets is None:
        raise UsageError("--presets is missing: for instance llama,diff_v1 (see `backbones list`)")
    if request.vocab_size is not None and request.tokenizer != "bpe":
        raise UsageError(f"--vocab-size {request.vocab_size} belongs to --tokenizer bpe")
    if request.out is not None and request.out.exists():
        raise UsageError(f"{request.out} exists: name another --out, or --resume {request.out}")
    corpus = load_corpus(request.corpus or CORPUS, request.data, path=request.path)
    named = {"corpus": corpus.name, "corpus_sha256": corpus.sha256}
    return ReadyStudy(
        study=study_of(named | given(request, corpus)),
        corpus=corpus,
        folder=request.out or new_folder(f"compare-{corpus.label}"),
    )


def given(request: StudyRequest, corpus: Corpus) -> dict[str, Any]:
    """The fields of a study that the options name."""
    fields: dict[str, Any] = {
        "presets": request.presets and tuple(request.presets.split(",")),
        "vary": tuple(variation(text) for text in request.vary) or None,
        "changes": dict(setting(text) for text in request.changes) or None,
        "recipe": request.recipe,
        "tokenizer": request.tokenizer,
        "vocab_size": request.vocab_size,
        "seeds": request.seeds,
        "steps": request.steps,
        "rates": request.rates and tuple(request.rates.split(",")),
        "tune_steps": request.tune_steps,
        "finalists": request.finalists,
        "parameters": request.parameters,
        "parity": False if request.as_is else None,
        "corpus": request.corpus and corpus.name,
        "corpus_sha256": request.corpus and corpus.sha256,
    }
    return {name: value for name, value in fields.items() if value is not None}


def study_of(fields: dict[str, Any]) -> Study:
    """The study of these fields; UsageError with the first fault."""
    try:
        return Study.model_validate(fields)
    except ValidationError as error:
        raise UsageError(first_fault(error)) from error


def variation(text: str) -> Variation:
    """`loss=softmax,taylor` as a record; UsageError where there is no value."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise UsageError(f"--vary {text!r}: FIELD=VALUE,VALUE,... is wanted")
    try:
        return Variation(field=name, values=tuple(json.loads(f"[{values}]")))
    except json.JSONDecodeError:
        return Variation(field=name, values=tuple(value_of(part) for part in values.split(",")))
