"""Studies for tests: a small text, one that is quick to run, and one whose records are planted."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backbones.compare import Results, Study, arms_of
from backbones.compare.running import run_tasks
from backbones.compare.tasks import Done, Task
from backbones.compare.tuning import trial_tasks
from backbones.text.corpora import Corpus

VERSE = "the quality of mercy is not strain'd it droppeth as the gentle rain from heaven"


def text_of(words: int = 1000) -> str:
    """Words in no order, so that no two windows are the same; five characters a word or so."""
    return " ".join(random.Random(0).choices(VERSE.split(), k=words))


def corpus_of(text: str | None = None) -> Corpus:
    text = text_of() if text is None else text
    return Corpus(name="words", text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def study_of(corpus: Corpus, **fields: Any) -> Study:
    """A study of some seconds."""
    small: dict[str, Any] = {
        "presets": ("llama", "diff_v1"),
        "recipe": "smoke",
        "steps": 8,
        "seeds": 2,
        "rates": (1.0, 2.0),
        "finalists": 1,
        "changes": {"train.warmup": 1},
    }
    return Study(corpus=corpus.name, corpus_sha256=corpus.sha256, **(small | fields))


def plant(task: Task, nats: float | None, **more: Any) -> Done:
    """A run that was never made: its folder, with a curve that ends at `nats`."""
    task.folder.mkdir(parents=True)
    name = f"{task.plan.split}_nats"
    record = {"arm": task.arm, "factor": task.factor, name: nats, "training_seconds": 4.0}
    record |= {"training_nats": (nats or 0) - 0.25, "ms_per_step_median": 500.0} | more
    steps = task.plan.train.steps
    events: list[dict[str, Any]] = [
        {"event": "step", "step": k, "loss": 4.0 - k / 8, "seconds": 0.5}
        for k in range(1, steps + 1)
    ]
    if nats is not None:
        scores = {steps // 2: nats - 0.125, steps: nats}
        events += [{"event": "evaluation", "step": k, name: v} for k, v in scores.items()]
    text = "".join(json.dumps(event) + "\n" for event in events)
    (task.folder / "metrics.jsonl").write_text(text)
    return Done(task=task, record=record)


def planted(
    folder: Path,
    nats: Mapping[str, Sequence[float]],
    more: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Results:
    """Results whose final scores by arm and seed are `nats`, each trial's its factor."""
    corpus = corpus_of()
    seeds = len(next(iter(nats.values())))
    study = study_of(corpus, **({"presets": tuple(nats), "seeds": seeds} | fields))
    arms = arms_of(study, corpus)
    factors = {arm.name: study.rates[0] for arm in arms}
    runs = run_tasks(study, arms, factors, folder)
    scores = [nats[arm.preset][seed] for seed in range(seeds) for arm in arms]
    return Results(
        study=study,
        arms=tuple(arms),
        trials=tuple(plant(task, task.factor) for task in trial_tasks(study, arms, folder)),
        finals=(),
        runs=tuple(
            plant(task, score, **(more or {})) for task, score in zip(runs, scores, strict=True)
        ),
    )
