"""All that decides a run's result, in one record, and how single fields of it are changed."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from ..config import BackboneConfig, Record
from ..errors import UsageError
from ..losses import Link
from ..model import parameters_of
from ..presets import PRESETS, Sizes, preset, sized
from ..recipe import TrainRecipe
from ..text.corpora import Corpus, Split
from ..text.recipes import TextRecipe, text_recipe
from ..text.tokenizer import Kind, fit_tokenizer

Share = Annotated[float, Field(gt=0, le=1)]
BPE_IDS = 1024  # of a bpe whose size is not given


class TextPlan(Record):
    """Two runs of one plan are equal to the last bit, on one machine."""

    corpus: str
    corpus_sha256: str
    preset: str
    recipe_name: str
    split: Split = "validation"  # "selection": to choose a recipe; see Corpus.parts_for
    training_share: Share = 1.0  # of the training part, from its start; less of it over-fits sooner
    tokenizer: Kind = "char"
    loss: Link = "softmax"
    context: PositiveInt
    batch: PositiveInt
    backbone: BackboneConfig
    train: TrainRecipe

    @model_validator(mode="after")
    def _refuse_unequal_parts(self) -> Self:
        if self.batch % self.train.accumulate:
            raise ValueError(
                f"batch={self.batch} is not a multiple of train.accumulate={self.train.accumulate}"
            )
        return self

    def parts(self, corpus: Corpus) -> tuple[str, str]:
        """What this plan trains on, and what it scores."""
        training, scored = corpus.parts_for(self.split)
        return training[: round(self.training_share * len(training))], scored


def plan_run(
    corpus: Corpus, preset_name: str, recipe_name: str, kind: Kind = "char", merges: int = BPE_IDS
) -> TextPlan:
    """A preset on a corpus under a recipe; UsageError for a name that does not exist.

    `merges` is how many ids a bpe may have.
    """
    recipe = text_recipe(recipe_name)
    tokenizer = fit_tokenizer(kind, corpus.text, corpus.parts[0], merges)
    axes = sized(preset(preset_name), sizes_of(recipe, tokenizer.vocab_size))
    axes = axes.replace(init_std=recipe.init_std)
    if recipe.bias is not None:
        axes = axes.replace(bias=recipe.bias)
    return TextPlan(
        corpus=corpus.name,
        corpus_sha256=corpus.sha256,
        preset=preset_name,
        recipe_name=recipe_name,
        tokenizer=kind,
        context=recipe.context,
        batch=recipe.batch,
        backbone=axes,
        train=recipe.train,
    )


def changed(plan: TextPlan, changes: Mapping[str, Any]) -> TextPlan:
    """The plan with fields of dotted names changed; UsageError for an unknown or invalid one."""
    fields = plan.model_dump()
    for name, value in changes.items():
        put(fields, name, value)
    try:
        return TextPlan.model_validate(fields)
    except ValidationError as error:
        raise UsageError(first_fault(error)) from error


def put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Set one dotted name in nested dicts; UsageError with the nearest name where there is none."""
    *outer, last = name.split(".")
    place = fields
    for part in outer:
        place = inner(place, part, name)
    if last not in place:
        refuse_field(place, last, name)
    place[last] = value


def inner(place: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    """The record in field `part`; UsageError where there is none."""
    if part not in place:
        refuse_field(place, part, name)
    if not isinstance(place[part], dict):
        raise UsageError(f"--set {name}: {part!r} has no fields")
    return place[part]


def refuse_field(place: dict[str, Any], part: str, name: str) -> NoReturn:
    """UsageError with the field that was perhaps meant, or with all there are."""
    near = difflib.get_close_matches(part, place, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(place)}"
    raise UsageError(f"--set {name}: there is no field {part!r}, {hint}")


def first_fault(error: ValidationError) -> str:
    """The first of a record's faults, in one line: where, what was found, what is wanted."""
    fault = error.errors()[0]
    where, reason = ".".join(str(part) for part in fault["loc"]), fault["msg"]
    if fault["type"] == "value_error":  # one of our own, which says all of it
        return f"{where}: {reason.removeprefix('Value error, ')}".removeprefix(": ")
    found = repr(fault["input"])
    return f"{where}={found if len(found) < 60 else found[:57] + '...'}: {reason}"


def preset_table() -> dict[str, dict[str, Any]]:
    """Each preset at the sizes of recipe cpu, with the 65 characters of tinyshakespeare."""
    sizes = sizes_of(text_recipe("cpu"), vocab_size=65)
    configs = {name: sized(axes, sizes) for name, axes in PRESETS.items()}
    return {
        name: {"parameters": parameters_of(config), **config.model_dump(mode="json")}
        for name, config in configs.items()
    }


def sizes_of(recipe: TextRecipe, vocab_size: int) -> Sizes:
    """The sizes that a recipe gives a preset."""
    fields = recipe.model_dump(include={"context", "d_model", "n_layers", "n_heads"})
    return Sizes(vocab_size=vocab_size, **fields)
