"""`train`, by one process or by each of several."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from .. import language
from ..distributed import Ranks
from ..distributed.launch import joined
from ..language import TrainRequest
from ..train import StepReport

Progress = Callable[[int], AbstractContextManager[Callable[[StepReport], None]]]


def train_here(
    options: dict[str, Any], tell: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    """What to answer to the options of the command; nothing but in the first process of a run."""
    dry_run, strategy, device = (options.pop(name) for name in ("dry_run", "strategy", "device"))
    compiled = options.pop("compiled")
    with joined(strategy, device, compiled=compiled, tell=tell) as ranks:
        return train_by_ranks(TrainRequest(**options), ranks, progress, dry_run=dry_run)


def train_by_ranks(
    request: TrainRequest, ranks: Ranks, progress: Progress, *, dry_run: bool
) -> dict[str, Any]:
    """What to answer: of a run its summary, of a dry one its plan; nothing but in the first."""
    ready = ranks.first_then_rest(lambda: language.prepare(request))
    folder = Path(ranks.same(str(ready.folder)))  # its name may have the time in it
    if dry_run:
        plan = {"run": str(folder)} | ready.plan.model_dump(mode="json")
        return plan if ranks.first else {}
    shown = progress(ready.plan.train.steps) if ranks.first else nullcontext(None)
    with shown as on_step:
        return language.train_run(
            ready.corpus, ready.plan, folder, resume=ready.resume, on_step=on_step, ranks=ranks
        )
