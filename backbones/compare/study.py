"""What is compared: one record, from which the runs and all that follows are derived."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..config import Record
from ..errors import UsageError
from ..text.tokenizer import Kind

RATES = (0.5, 1.0, 2.0, 4.0)  # of the recipe's learning rates; each arm tries all of them
STUDY_FILE = "study.json"

# Fields of a plan that a study sets itself, and what decides them.
DECIDED = {
    "corpus": "--corpus",
    "corpus_sha256": "--corpus",
    "preset": "--presets",
    "recipe_name": "--recipe",
    "tokenizer": "--tokenizer",
    "backbone.vocab_size": "--tokenizer",
    "train.seed": "--seeds",
    "train.evaluate_every": "the study, at each quarter",
    "train.checkpoint_every": "the study, at the end",
}


class Variation(Record):
    """Values of one field of the plan, each tried with every preset."""

    field: str  # dotted, as in --set
    values: tuple[Any, ...] = Field(min_length=1)


class Study(Record):
    """Presets, crossed with variations, over seeds 1 to n, on one text under one recipe.

    The first arm is the reference: the others are brought to its count of parameters and compared
    with it seed by seed.
    """

    corpus: str
    corpus_sha256: str
    presets: tuple[str, ...] = Field(min_length=1)
    vary: tuple[Variation, ...] = ()
    changes: dict[str, Any] = Field(default_factory=dict)  # fields of every plan, by dotted name
    recipe: str = "cpu"
    tokenizer: Kind = "char"
    vocab_size: PositiveInt = 1024  # of a bpe
    seeds: Annotated[int, Field(ge=1)] = 3
    steps: PositiveInt | None = None  # None: the recipe's
    parity: bool = True  # d_ffn is solved for; False: widths are the presets' own
    parameters: PositiveInt | None = None  # None: the first arm's
    rates: tuple[PositiveFloat, ...] = Field(default=RATES, min_length=1)  # one: no tuning
    tune_steps: PositiveInt | None = None  # None: a quarter of the steps
    finalists: PositiveInt = 2  # rates that an arm tries first with all the steps; 1: none

    @property
    def is_tuned(self) -> bool:
        """Whether arms choose among rates."""
        return len(self.rates) > 1

    @property
    def finals_an_arm(self) -> int:
        """About how many rates each arm tries with all the steps: one more than the finalists."""
        if not self.is_tuned or self.finalists == 1:
            return 0
        return min(self.finalists + 1, len(self.rates))

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> Self:
        varied = [v.field for v in self.vary]
        for name in (*self.changes, *varied):
            if name in DECIDED:
                raise ValueError(f"{name} cannot be changed: it is decided by {DECIDED[name]}")
        if "split" in varied:
            raise ValueError("split cannot be varied: all arms are scored on one text")
        twice = sorted(
            {name for name in varied if varied.count(name) > 1} | self.changes.keys() & set(varied)
        )
        if twice:
            raise ValueError(f"{twice[0]} is given twice, once is wanted")
        widths = "backbone.d_ffn" in varied or (
            self.parameters is not None and "backbone.d_ffn" in self.changes
        )
        if self.parity and widths:
            raise ValueError("backbone.d_ffn is solved for: change it with --as-is only")
        if self.parameters is not None and not self.parity:
            raise ValueError(f"parameters={self.parameters} are ignored as-is: one of the two")
        return self

    @model_validator(mode="after")
    def _refuse_one_rate_twice(self) -> Self:
        shown = [f"{rate:g}" for rate in self.rates]
        twice = sorted({rate for rate in shown if shown.count(rate) > 1})
        if twice:
            raise ValueError(f"rates name {twice[0]} twice, once is wanted")
        if self.tune_steps is not None and not self.is_tuned:
            raise ValueError(f"tune_steps={self.tune_steps} tune nothing: rates has one value")
        return self


def read_study(folder: Path) -> Study:
    """The study in a folder; UsageError where there is none."""
    try:
        return Study.from_json((folder / STUDY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no study: {STUDY_FILE} cannot be read") from error
