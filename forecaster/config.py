"""What a run does: one frozen record, from TOML, `--set` and flags; checked when made."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from forecaster.errors import UsageError, suggestion
from forecaster.symbols import Symbol

DEFAULT_UNIVERSE = ("^GSPC", "^IXIC", "AAPL", "IBM", "MSFT", "GOOG")
QUICK: dict[str, Any] = {
    "symbols": ("^GSPC", "^IXIC"),
    "test_from": "2017-01-01",
    "refit_every": 262,  # a year of weekdays: two fits, and none for the last bar or two
    "learner": {"seeds": 1, "steps": 100},
}

MOST_POSITIONS = 4096  # of a sequence of `panel`: its mask alone is 16 MiB a sequence
Positive = Annotated[int, Field(gt=0)]


class Record(BaseModel):
    """Frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnerConfig(Record):
    """Sizes and training of `BackboneForecaster`. How they were chosen: README, "Result"."""

    tokens: Literal["prior", "scaled", "uniform", "levels"] = "prior"
    context: Positive = 64  # bars a window
    # Symbols that a network reads together, each bar beside all that had closed by then; `context`
    # is then of moments at which some symbol closed. None: each symbol alone.
    panel: Annotated[int, Field(ge=2)] | None = None
    d_model: Positive = 64
    n_layers: Positive = 1
    n_heads: Positive = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    field_bins: Annotated[int, Field(ge=3)] = 16
    return_bins: Annotated[int, Field(ge=4)] = 40
    head: Literal["low_rank", "categorical", "student_t"] = "low_rank"
    basis: Annotated[int, Field(ge=1, le=20)] = 5  # smooth functions of a low-rank head
    variance_tokens: bool = True  # the size of the bars ahead is taught beside their return
    # What the networks say over the prior counts for shrink / h: targets of h bars overlap, and a
    # history holds h times fewer of them.
    shrink: Annotated[float, Field(ge=0, le=1)] = 0.5
    # The same for what they say of the next bar's variance, through which its return is forecast.
    variance_shrink: Annotated[float, Field(ge=0, le=1)] = 1.0
    pool: bool = True  # beyond the next bar, equal parts with two classical densities, `pooled.py`
    batch: Positive = 16  # windows a step
    steps: Positive | None = None  # none: as many as the history bears, see `steps_for`
    warmup: Annotated[int, Field(ge=0)] = 20
    skip: Annotated[int, Field(ge=0)] = 16  # first positions of a window that are not scored
    lr: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    head_lr: Annotated[float, Field(gt=0)] = 0.3  # factor of lr
    head_weight_decay: Annotated[float, Field(ge=0)] = 1.0
    clip: Annotated[float, Field(gt=0)] = 1.0  # gradient norm
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.98  # decay of the weights' average
    seeds: Positive = 8  # networks whose probabilities are averaged

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}")
        if self.skip >= self.context:
            raise ValueError(f"skip={self.skip} leaves nothing of context={self.context}")
        positions = self.context * (self.panel or 0)
        if positions > MOST_POSITIONS:
            raise ValueError(
                f"panel={self.panel} symbols of context={self.context} moments are {positions}"
                f" positions a sequence, at most {MOST_POSITIONS}: lower either"
            )
        if self.panel is not None and self.tokens == "levels":
            raise ValueError("tokens=levels codes a bar by its window: panel has none of its own")
        for name, value in (("head", "student_t"), ("tokens", "levels")):
            if self.variance_tokens and getattr(self, name) == value:
                raise ValueError(
                    f"{name}={value} has no variance tokens: set variance_tokens=false"
                )
        return self


class RunConfig(Record):
    """A backtest or a training, whole. One config on the same bars gives the same bytes."""

    symbols: tuple[str, ...] = DEFAULT_UNIVERSE
    interval: str = "1d"
    horizons: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 5, 20)  # bars ahead
    test_from: str = "2010-01-01"  # first origins close after this day
    test_until: str | None = None  # bars after this day are not looked at
    refit_every: Positive = 252  # bars
    baselines: tuple[str, ...] = ("all",)
    # One learner each: names of backbones.presets, `mlp`, or a name with `-shuffled` behind it.
    presets: tuple[str, ...] = ("llama",)
    learner: LearnerConfig = LearnerConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    # The last tenth of the bars: as any others, not to be seen, or the test. See `vault.py`.
    vault: Literal["off", "locked", "open"] = "off"

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("no symbols given: name at least one")
        return tuple(dict.fromkeys(Symbol(text) for text in value))

    @field_validator("presets")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("horizons")
    @classmethod
    def _horizons(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @field_validator("test_from", "test_until", mode="before")
    @classmethod
    def _day(cls, value: str | date | None) -> str | None:
        try:  # TOML has days of its own
            return value and date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError(f"{value!r} is not a day; wanted YYYY-MM-DD") from None

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def resolve(
    file: Path | None, settings: Sequence[str], flags: Mapping[str, Any], *, quick: bool = False
) -> RunConfig:
    """Flags over `--set a.b=c` over TOML over `--quick` over defaults. Raises UsageError."""
    tree: dict[str, Any] = {}
    if quick:
        _merge(tree, QUICK)
    if file is not None:
        _merge(tree, read_toml(file))
    for text in settings:
        _merge(tree, setting(text))
    _merge(tree, {name: value for name, value in flags.items() if value not in (None, ())})
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise UsageError(_first_complaint(error)) from None


def _merge(tree: dict[str, Any], new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        if isinstance(value, Mapping) and isinstance(tree.get(name), dict):
            _merge(tree[name], value)
        else:
            tree[name] = dict(value) if isinstance(value, Mapping) else value


def read_toml(file: Path) -> dict[str, Any]:
    """The settings in a file. Raises UsageError for one that is no TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"config {file}: {error.strerror}; wanted a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"config {file}: not TOML: {error}") from None


def setting(text: str) -> dict[str, Any]:
    """`learner.steps=50` -> {"learner": {"steps": 50}}; the value in TOML, else a plain word."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise UsageError(f"--set {text!r}: wanted key=value, for example learner.steps=50")
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    first, *rest = path.split(".")
    for name in reversed(rest):
        parsed = {name: parsed}
    return {first: parsed}


def _first_complaint(error: ValidationError) -> str:
    """The first thing wrong: key path, value, and the nearest known key for a misspelt one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        record = LearnerConfig if len(first["loc"]) > 1 else RunConfig
        return f"config key {key!r} is unknown{suggestion(key.split('.')[-1], record.model_fields)}"
    if first["type"] == "value_error":
        return f"config {key}: {first['msg'].removeprefix('Value error, ')}"
    return f"config {key}={first['input']!r}: {first['msg'].lower()}"
