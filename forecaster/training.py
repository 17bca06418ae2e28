"""One learner on everything until a day, kept in a run folder and read back from it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from forecaster.atomic import commit_bytes, read_regular
from forecaster.bars import Panel
from forecaster.config import RunConfig
from forecaster.errors import CheckpointError, StorageError, UsageError
from forecaster.learner import (
    BackboneForecaster,
    FittedLearner,
    Keep,
    fit_fields,
    kept_losses,
    load_learner,
    require_paths,
)
from forecaster.paths.shapes import fit_shapes
from forecaster.runs import LIMIT_BYTES, RunFolder
from forecaster.tokens import BarTokenizer

Kept = TypeVar("Kept", bound=BaseModel)
SEEDS = "seeds"  # subfolder of a run: one training a seed
TOKENIZER = "tokenizer.json"
SHAPES = "shapes.json"
SYMBOLS = "symbols.json"  # whom a learner of `panel` knows by name
CONFIG = "config.resolved.json"


class Taught(BaseModel):
    """The file SYMBOLS: in the order of their places in the learner's embedding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taught: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Training:
    """What a training will do."""

    config: RunConfig
    forecaster: BackboneForecaster
    history: Panel

    @property
    def steps(self) -> int:
        """Training steps of each network."""
        return self.forecaster.steps(self.history)


def plan_training(config: RunConfig, panel: Panel, until: str | None) -> Training:
    """Raises UsageError unless there is one preset, DataError for too little history."""
    if len(config.presets) != 1:
        raise UsageError(f"presets {config.presets}: train takes one; name it with --preset")
    history = panel if until is None else panel.until(midnight_after(until))
    empty = [bars.symbol for bars in history if len(bars) == 0]
    if empty:
        raise UsageError(f"{', '.join(empty)}: no bar is closed by {until}; choose a later day")
    forecaster = BackboneForecaster(config.presets[0], config.learner, config.seed)
    forecaster.check(history, config.horizons)
    return Training(config, forecaster, history)


def describe(training: Training) -> dict[str, Any]:
    """Sizes and spans, before anything is fitted."""
    network = training.forecaster
    return {
        "preset": network.name,
        "backbone": network.body().model_dump(mode="json"),
        "bars": {str(bars.symbol): len(bars) for bars in training.history},
        "until": str(training.history.clock[-1]),
        "windows": training.steps * network.windows,
        "seeds": training.config.learner.seeds,
    }


def run_training(
    training: Training,
    run: RunFolder,
    on_step: Callable[[int, Any], None],
    on_field: Callable[[int, Any], None] | None = None,
    *,
    resume: bool,
) -> dict[str, Any]:
    """Fit, keep, and account for it; the record of summary.json.

    `on_step` is told the number of a network and each of its steps, `on_field` the same of the
    FIELD_STEPS of its heads for the fields of a bar, where it can draw any.
    """
    keep = Keep(path=run.path / SEEDS, resume=resume, on_step=on_step, on_field=on_field)
    try:
        record = _trained(training, run, keep)
    except KeyboardInterrupt:
        run.finish("interrupted")
        raise
    except Exception:
        run.finish("failed")
        raise
    run.finish("done")
    return record


def _trained(training: Training, run: RunFolder, keep: Keep) -> dict[str, Any]:
    """The same, but for how it ended."""
    fitted = training.forecaster.fit(training.history, training.config.horizons, keep)
    fields = _prepare_paths(training, fitted, run, keep)
    losses = kept_losses(run.path / SEEDS, training.config.learner.seeds)
    text = fitted.tokenizer.model_dump_json(indent=1).encode()
    kept = {
        TOKENIZER: commit_bytes(run.path / TOKENIZER, text),
        CONFIG: hashlib.sha256(read_regular(run.path / CONFIG, LIMIT_BYTES)).hexdigest(),
    }
    if fitted.symbols:
        kept[SYMBOLS] = run.write_json(SYMBOLS, {"taught": fitted.symbols})
    record = describe(training) | {
        "tokenizer": fitted.tokenizer.digest,
        "parameters": fitted.parameters,
        "loss_nats": [round(float(np.mean(each[-20:])), 4) for each in losses],
        "untaught_loss_nats": round(fitted.untaught_loss(training.history), 4),
    }
    record |= {**fields, "kept": kept | fields.get("kept", {})}
    run.write_json("summary.json", record)
    return record


def _prepare_paths(
    training: Training, fitted: FittedLearner, run: RunFolder, keep: Keep
) -> dict[str, Any]:
    """What paths need beyond forecasts, kept; nothing of a learner that cannot draw any."""
    try:
        require_paths(fitted)
    except UsageError:
        return {}
    taught = fit_fields(fitted, training.history, training.config.seed, keep)
    shapes = fit_shapes(training.history, fitted.tokenizer)
    return {
        "kept": {SHAPES: commit_bytes(run.path / SHAPES, shapes.model_dump_json().encode())},
        "fields_loss_nats": [round(each.taught, 4) for each in taught],
        "untaught_fields_loss_nats": [round(each.untaught, 4) for each in taught],
    }


def load(run: RunFolder) -> FittedLearner:
    """The learner of a finished training. Raises CheckpointError for another kind of run."""
    config = read_kept(run, CONFIG, RunConfig)
    tokenizer = read_kept(run, TOKENIZER, BarTokenizer)
    forecaster = BackboneForecaster(config.presets[0], config.learner, config.seed)
    known = config.learner.panel is not None
    symbols = read_kept(run, SYMBOLS, Taught).taught if known else ()
    return load_learner(forecaster, run.path / SEEDS, tokenizer, symbols)


def read_kept(run: RunFolder, name: str, kind: type[Kept]) -> Kept:
    """A file of a training, as it was when it ended. Raises CheckpointError for any other."""
    wanted = run.read_json("summary.json").get("kept", {}).get(name)
    try:
        data = read_regular(run.path / name, LIMIT_BYTES)
        if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
            raise ValueError("not as it was written")
        return kind.model_validate_json(data)
    except (StorageError, ValueError):
        raise CheckpointError(
            f"{run.path}/{name} is missing or damaged; resume the training or start another"
        ) from None


def midnight_after(day: str) -> np.datetime64:
    """When a day named on the command line has ended. Raises UsageError for what is no day."""
    try:
        return np.datetime64(date.fromisoformat(day), "D") + np.timedelta64(1, "D")
    except ValueError:
        raise UsageError(f"--until {day!r} is not a day; wanted YYYY-MM-DD") from None
