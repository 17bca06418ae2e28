"""`forecaster train` and `forecaster predict`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display, workflows
from forecaster import training as work
from forecaster.commands.arguments import Configured, Output, listed
from forecaster.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Arguments of `forecaster train`."""

    preset: str | None = None
    until: str | None = None
    resume: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Predict(Output):
    """Arguments of `forecaster predict`."""

    run: Path
    horizons: str | None = None
    store: Path = Path("data")
    out: Path | None = None


def train(given: Train) -> None:
    """Fit, with progress on stderr; the summary on stdout."""
    old = RunFolder.open(given.resume, "train") if given.resume else None
    if old is not None:
        config, until = old.config(), old.read_json("data.json")["until"]
    else:
        presets = (given.preset,) if given.preset else ()
        config, until = given.resolved(presets=presets), given.until
    panel, digest = workflows.load_panel(config, given.store, given.say, dry_run=given.dry_run)
    plan = work.plan_training(config, panel, until)
    if given.dry_run:
        record = work.describe(plan)
        if not given.result(record):
            display.print_record(record)
        return
    if old is not None:
        workflows.refuse_other_data(old, digest)
    run = old or _new_run(given, plan, workflows.describe_data(panel, digest) | {"until": until})
    given.say(f"training {config.presets[0]} on {', '.join(panel.symbols)} into {run.path}")
    record = _with_progress(given, plan, run)
    if not given.result(record | {"run": str(run.path)}):
        display.print_record(record | {"run": str(run.path)})


def _new_run(given: Train, plan: work.Training, data: dict[str, Any]) -> RunFolder:
    run = RunFolder.create(given.out, "train", plan.config)
    run.write_json("data.json", data)
    return run


def _with_progress(given: Train, plan: work.Training, run: RunFolder) -> dict[str, Any]:
    learner = plan.config.learner
    with display.progress(learner.seeds * plan.steps, quiet=given.quiet) as meter:

        def on_step(seed: int, report: Any) -> None:
            meter.advance(1, f"seed {seed + 1} of {learner.seeds}, loss {report.loss:.3f}")

        return work.run_training(plan, run, on_step, resume=bool(given.resume))


def predict(given: Predict) -> None:
    """Quantiles from each symbol's last bar."""
    run = RunFolder.open(given.run, "train")
    wanted = listed(given.horizons, whole_numbers=True)
    panel, _ = workflows.load_panel(run.config(), given.store, given.say)
    table = work.predict(run, panel, wanted)
    if given.out:
        work.keep_predictions(table, given.out)
    rows = table.drop_columns(["y"]).to_pylist()
    if not given.result({"predictions": [display.plain(row) for row in rows]}):
        display.print_predictions(rows)
