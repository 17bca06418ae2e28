"""What is compared: one record, from which the runs and all that follows are derived."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from ..config import Record
from ..errors import UsageError
from ..text.tokenizer import Kind

RATES = (0.5, 1.0, 2.0, 4.0)  # of the recipe's learning rates; each preset tries all of them
TUNED_FOR = 4  # a trial has a quarter of the steps


class Variation(Record):
    """Values of one field of the plan, each tried with every preset."""

    field: str  # dotted, as in --set
    values: tuple[Any, ...] = Field(min_length=1)


class Study(Record):
    """Presets, crossed with variations, over seeds 1 to n, on one text under one recipe.

    The first arm is the reference: others are brought to its count of parameters and compared with
    it seed by seed.
    """

    corpus: str
    corpus_sha256: str
    presets: tuple[str, ...] = Field(min_length=1)
    vary: tuple[Variation, ...] = ()
    changes: dict[str, Any] = Field(default_factory=dict)  # fields of every plan
    recipe: str = "cpu"
    tokenizer: Kind = "char"
    vocab_size: PositiveInt = 1024  # of a bpe
    seeds: Annotated[int, Field(ge=1)] = 3
    steps: PositiveInt | None = None  # None: the recipe's
    parity: bool = True  # d_ffn is solved for; False: widths are the presets' own
    parameters: PositiveInt | None = None  # None: the first arm's
    rates: tuple[PositiveFloat, ...] = RATES  # factors of the recipe's rates; one: no tuning
    tune_steps: PositiveInt | None = None  # None: a quarter of the steps


def variation(text: str) -> Variation:
    """`loss=softmax,taylor` as a record; UsageError where there is no value."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise UsageError(f"--vary {text!r}: FIELD=VALUE,VALUE,... is wanted")
    return Variation(field=name, values=tuple(listed(values)))


def listed(text: str) -> list[Any]:
    """Values at commas, each JSON where it is JSON, else text."""
    try:
        return json.loads(f"[{text}]")
    except json.JSONDecodeError:
        return [value_of(part) for part in text.split(",")]


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def read_study(folder: Path) -> Study:
    """The study in a folder; UsageError where there is none."""
    try:
        return Study.from_json((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no study: study.json cannot be read") from error
