"""`forecaster train` and `forecaster predict`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display, predicting, sampling, workflows
from forecaster import training as work
from forecaster.bars import Panel
from forecaster.commands.arguments import Configured, Output, listed, refuse_with_resume
from forecaster.errors import UsageError
from forecaster.frames import Provenance
from forecaster.learner import FIELD_STEPS
from forecaster.runs import RunFolder, find_run
from forecaster.sampling import Shown


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
    paths: int | None = None
    store: Path = Path("data")
    out: Path | None = None


def train(given: Train) -> None:
    """Fit, with progress on stderr; the summary on stdout."""
    old = RunFolder.open(given.resume, "train") if given.resume else None
    if old is not None:
        refuse_with_resume(given)
        config, until = old.config(), old.read_json("data.json")["until"]
    else:
        presets = (given.preset,) if given.preset else ()
        config, until = given.resolved(presets=presets), given.until
    if until is not None:
        work.midnight_after(until)  # refused before anything is fetched
    panel, digest = workflows.load_panel(config, given.store, given.say, dry_run=given.dry_run)
    plan = work.plan_training(config, panel, until)
    if given.dry_run:
        record = work.describe(plan)
        if not given.result(record):
            display.print_record(record)
        return
    if old is not None:
        workflows.refuse_other_data(old, panel, digest)
        old.go_on()
    run = old or _new_run(given, plan, workflows.describe_data(panel, digest) | {"until": until})
    given.say(f"training {config.presets[0]} on {display.listed(panel.symbols)} into {run.path}")
    record = _with_progress(given, plan, run)
    if not given.result(record | {"run": str(run.path)}):
        _show(record, run.path)


def _show(record: dict[str, Any], place: Path) -> None:
    """What came of a training, and what to do with it; all else is in summary.json."""
    bars = ", ".join(f"{symbol} {count:,}" for symbol, count in record["bars"].items())
    display.print_line(f"{record['preset']}: bars to {record['until'][:10]}: {bars}")
    loss = sum(record["loss_nats"]) / len(record["loss_nats"])
    display.print_line(
        f"{record['seeds']} networks of {record['parameters']:,} parameters, last loss {loss:.4f}"
        f" nats; untaught {record['untaught_loss_nats']:.4f}"
    )
    display.print_line(f"run: {place}")
    display.print_line(f"forecasts from the last bars: forecaster predict {place}")


def _new_run(given: Train, plan: work.Training, data: dict[str, Any]) -> RunFolder:
    return RunFolder.create(given.out, "train", plan.config, data)


def _with_progress(given: Train, plan: work.Training, run: RunFolder) -> dict[str, Any]:
    learner = plan.config.learner
    with display.progress(learner.seeds * plan.steps, "steps", quiet=given.quiet) as meter:
        fields: set[int] = set()

        def on_step(seed: int, report: Any) -> None:
            meter.advance(1, f"seed {seed + 1} of {learner.seeds}, loss {report.loss:.3f}")

        def on_field(seed: int, report: Any) -> None:
            if not fields:
                meter.begin(learner.seeds * FIELD_STEPS)
            fields.add(seed)
            meter.advance(1, f"bars of seed {seed + 1} of {learner.seeds}, loss {report.loss:.3f}")

        return work.run_training(plan, run, on_step, on_field, resume=bool(given.resume))


def predict(given: Predict) -> None:
    """Quantiles from each symbol's last bar, and paths where they are asked for."""
    run = find_run(given.run, "train")
    wanted = listed(given.horizons, whole_numbers=True)
    place = _samples_path(given, run) if given.paths else None
    panel, _ = workflows.load_panel(run.config(), given.store, given.say)
    given.say(f"forecasting {display.listed(panel.symbols)}, pooled models fitted again")
    table, notes = predicting.predict(run, panel, wanted)
    for note in notes:
        given.say(f"note: {note}")
    if given.out:
        predicting.keep_predictions(table, given.out)
    rows = table.drop_columns(["y"]).to_pylist()
    record: dict[str, Any] = {"predictions": [display.plain(row) for row in rows]}
    if place is not None:
        steps = max(wanted or run.config().horizons)
        record["samples"] = _sample(given, run, panel, (place, steps))
    if not given.result(record):
        display.print_predictions(rows)
        display.print_record({k: v for k, v in record.items() if k != "predictions"})


def _samples_path(given: Predict, run: RunFolder) -> Path:
    """Where paths go. Raises UsageError where a file is."""
    place = (given.out.parent if given.out else run.path) / "samples.parquet"
    if place.exists() or place == given.out:
        raise UsageError(f"{place} exists; choose an --out in another folder")
    return place


def _sample(
    given: Predict, run: RunFolder, panel: Panel, where: tuple[Path, int]
) -> dict[str, Any]:
    """Paths to a file, `where` being its path and their steps, with progress on stderr."""
    place, steps = where
    walker, origins = sampling.load_walker(run), sampling.last_origins(panel)
    walk = sampling.Walk(given.paths or 0, steps, run.config().seed)
    factor = workflows.printed_over_adjusted(run.config(), given.store)[origins.member]
    provenance = Provenance(run.path.name, 0, panel.interval)
    given.say(f"sampling {walk.paths} paths of {steps} bars a symbol and model into {place}")
    total = 2 * len(origins) * walk.paths * steps
    with display.progress(total, "bars", quiet=given.quiet) as meter:

        def on_bars(count: int) -> None:
            meter.advance(count, f"{walk.paths} paths of {steps} bars", count)

        source = sampling.PathSource(walker, panel, origins)
        return sampling.keep_samples(place, source, walk, Shown(factor, provenance, on_bars))
