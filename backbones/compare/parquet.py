"""A study as three Parquet files, whose metadata "study" is the study as JSON.

results.parquet, a row a run; curves.parquet, a row a step or a score of a run; trials.parquet, a
row a trial of a rate, short ones and finals. Nats are a character's where they are scores and a
token's where they are a batch's loss; gaps are shares; seconds are those of training steps alone.
The same records give the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from ..storage import replace_file
from .running import Results
from .study import Study
from .summary import ArmRuns, by_arm, tokens_of
from .tasks import Done

RESULTS = pa.schema(
    [
        ("arm", pa.string()),
        ("preset", pa.string()),
        ("varied", pa.string()),  # JSON: {field: value}
        ("seed", pa.int64()),
        ("parameters", pa.int64()),
        ("parameter_gap", pa.float64()),  # parameters over the reference arm's, less 1
        ("d_ffn", pa.int64()),
        ("factor", pa.float64()),  # of the recipe's learning rates
        ("lr", pa.float64()),
        ("steps", pa.int64()),
        ("tokens", pa.int64()),
        ("loss", pa.string()),
        ("split", pa.string()),  # what was scored
        ("nats", pa.float64()),  # final score by the arm's own loss
        ("training_nats", pa.float64()),  # the same on text that was trained on
        ("softmax_nats", pa.float64()),  # final score by a softmax; null: not taken
        ("best_nats", pa.float64()),  # lowest score on the way: optimistic
        ("best_step", pa.int64()),
        ("seconds", pa.float64()),
        ("ms_per_step", pa.float64()),  # median
    ]
)
CURVES = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("event", pa.string()),  # "step" or "evaluation"
        ("step", pa.int64()),  # steps done
        ("nats", pa.float64()),  # loss of the step's batch, or score
        ("seconds", pa.float64()),  # in steps up to here; null for an evaluation
    ]
)
TRIALS = pa.schema(
    [
        ("arm", pa.string()),
        ("factor", pa.float64()),
        ("lr", pa.float64()),
        ("steps", pa.int64()),
        ("nats", pa.float64()),  # on the last tenth of the training part; null: diverged
    ]
)


def write_parquet(results: Results, folder: Path) -> list[Path]:
    """The three files, each whole or not at all; StorageError where the disk refuses."""
    arms = by_arm(results)
    tables = {
        "results.parquet": (RESULTS, [row for each in arms for row in result_rows(each, arms[0])]),
        "curves.parquet": (CURVES, [row for each in arms for row in curve_rows(each)]),
        "trials.parquet": (TRIALS, [trial_row(t) for t in (*results.trials, *results.finals)]),
    }
    for name, (schema, rows) in tables.items():
        replace_file(folder / name, to_parquet(rows, schema, results.study))
    return [folder / name for name in tables]


def to_parquet(rows: list[dict[str, Any]], schema: pa.Schema, study: Study) -> bytes:
    """Rows as a file's bytes."""
    told: Mapping[str, str] = {"study": study.to_json()}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows, schema.with_metadata(told)), sink)
    return sink.getvalue().to_pybytes()


def result_rows(found: ArmRuns, reference: ArmRuns) -> Iterator[dict[str, Any]]:
    """An arm's runs by seed."""
    arm = found.arm
    for run, curve in zip(found.runs, found.curves, strict=True):
        plan, record, (best, step) = run.task.plan, run.record, curve.best
        yield {
            "arm": arm.name,
            "preset": arm.preset,
            "varied": json.dumps(arm.varied),
            "seed": plan.train.seed,
            "parameters": arm.parameters,
            "parameter_gap": arm.parameters / reference.arm.parameters - 1,
            "d_ffn": plan.backbone.d_ffn,
            "factor": run.task.factor,
            "lr": plan.train.lr,
            "steps": plan.train.steps,
            "tokens": tokens_of(plan),
            "loss": plan.loss,
            "split": plan.split,
            "nats": run.nats,
            "training_nats": record["training_nats"],
            "softmax_nats": record.get("softmax_nats"),
            "best_nats": best,
            "best_step": step,
            "seconds": record["training_seconds"],
            "ms_per_step": record["ms_per_step_median"],
        }


def curve_rows(found: ArmRuns) -> Iterator[dict[str, Any]]:
    """The steps of each of an arm's runs, then its scores."""
    for run, curve in zip(found.runs, found.curves, strict=True):
        same = {"arm": found.arm.name, "seed": run.task.plan.train.seed}
        for step, loss, seconds in zip(curve.steps, curve.losses, curve.seconds, strict=True):
            yield same | {"event": "step", "step": step, "nats": loss, "seconds": seconds}
        for step, score in zip(curve.scored, curve.scores, strict=True):
            yield same | {"event": "evaluation", "step": step, "nats": score, "seconds": None}


def trial_row(trial: Done) -> dict[str, Any]:
    """A trial of a rate."""
    train = trial.task.plan.train
    return {
        "arm": trial.task.arm,
        "factor": trial.task.factor,
        "lr": train.lr,
        "steps": train.steps,
        "nats": trial.nats,
    }
