"""What a run leaves in its folder while it trains, and how it finds that again."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import TrainingState, latest, restore_checkpoint, save_checkpoint
from ..errors import StorageError
from ..recipe import TrainRecipe
from ..storage import replace_file, sweep

KEPT = 3  # checkpoints: the latest, and two in case it is damaged


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """Where a run is kept, and what it is: `config` is written beside each checkpoint, as JSON.

    With `resume`, the run goes on from its newest checkpoint; its config must be the same.
    """

    path: Path
    config: Mapping[str, Any]
    resume: bool = False


class Keeper:
    """The run folder's side of training: restores on opening, then logs and saves."""

    def __init__(self, run: RunFolder, recipe: TrainRecipe, state: TrainingState) -> None:
        self.config = {**run.config, "recipe": recipe.model_dump(mode="json")}
        self.checkpoints, self.metrics = run.path / "checkpoints", run.path / "metrics.jsonl"
        self.last, self.ranks = recipe.steps, state.ranks
        with self.ranks.together():
            if run.resume:
                restored = restore_checkpoint(latest(self.checkpoints), state, self.config)
                if restored != self.ranks.count:
                    self.ranks.tell(
                        f"{run.path}: its checkpoint is of {restored} process(es), this run of "
                        f"{self.ranks.count}: sums round differently, bytes will not be the same"
                    )
            if self.ranks.first:
                self.tidy(run, state)

    def tidy(self, run: RunFolder, state: TrainingState) -> None:
        """Leave nothing in the folder of what was cut off, and nothing that will come again."""
        if run.resume:
            sweep(self.checkpoints)
            prune(self.checkpoints, state.step)
        elif started(run.path):
            raise StorageError(f"{run.path} holds a run already: resume it, or name another folder")
        else:
            run.path.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.checkpoints, ignore_errors=True)  # cut off before the first was kept
        sweep(run.path)
        self.forget_after(state.step)

    def forget_after(self, step: int) -> None:
        """Drop the events of what will be done again, and a line cut off in the middle.

        The scores of the final weights come after their checkpoint, all others before theirs.
        """
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if self.is_before(line, step)]
        replace_file(self.metrics, "".join(kept).encode())

    def is_before(self, line: str, step: int) -> bool:
        """Whether an event was written before the checkpoint of a step; a damaged one was not."""
        try:
            event = json.loads(line)
        except ValueError:
            return False
        final = event["event"] == "evaluation" and step == self.last
        return event["step"] < step + (not final)

    def log(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line, in the first process; a value that is no number is written as null."""
        if not self.ranks.first:
            return
        line = {"event": event, "step": step} | {k: finite(v) for k, v in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def save(self, state: TrainingState) -> None:
        """One checkpoint, which becomes the latest; of those before it the newest stay."""
        save_checkpoint(self.checkpoints, state, self.config)
        if self.ranks.first:
            prune(self.checkpoints, state.step)


def started(folder: Path) -> bool:
    """Whether a run in the folder has kept a checkpoint that it could go on from."""
    return (folder / "checkpoints" / "LATEST").exists()


def step_losses(folder: Path) -> list[float]:
    """The loss of every step of the run in a folder, those before a resume included."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [event["loss"] for event in map(json.loads, lines) if event["event"] == "step"]


def prune(checkpoints: Path, step: int) -> None:
    """Remove all but the newest KEPT checkpoints up to `step`, oldest first."""
    places = {int(p.name.removeprefix("step-")): p for p in checkpoints.glob("step-*")}
    for old in sorted(s for s in places if s <= step)[:-KEPT]:
        shutil.rmtree(places[old], ignore_errors=True)  # what stays of it is not the latest


def finite(value: Any) -> Any:
    """The value, or None for a number that JSON cannot say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
