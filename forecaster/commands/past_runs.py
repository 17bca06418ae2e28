"""`forecaster runs ls`, `runs show` and `ledger`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import CheckpointError
from forecaster.runs import RUNS, RunFolder, find_run, list_runs


@dataclass(frozen=True, kw_only=True)
class RunsLs(Output):
    """Arguments of `forecaster runs ls`."""


@dataclass(frozen=True, kw_only=True)
class RunsShow(Output):
    """Arguments of `forecaster runs show`."""

    run: Path
    details: bool = False


@dataclass(frozen=True, kw_only=True)
class Ledger(Output):
    """Arguments of `forecaster ledger`."""

    store: Path


def runs_ls(given: RunsLs) -> None:
    """Path, kind, state and start of every run."""
    rows = [_line(run) for run in list_runs()]
    if given.result({"runs": rows}):
        return
    if not rows:
        given.say(f"no runs in {RUNS}/ yet; make one with: forecaster backtest")
    for row in rows:
        display.print_line(f"{row['run']}  {row['kind']}  {row['state']}  {row['started_at']}")


def runs_show(given: RunsShow) -> None:
    """The tables of a backtest, the summary of a training."""
    run = find_run(given.run)
    run.require_done()
    status = run.read_json("status.json")
    record = run.read_json("summary.json")
    if given.result(record):
        return
    if status["kind"] == "backtest" and "sets" not in record:
        raise CheckpointError(f"{run.path}/summary.json is of another version; start a new run")
    if status["kind"] == "backtest":
        from forecaster.tables import print_summary  # models' names: a second of imports

        print_summary(record, str(run.path))
        if given.details:
            from forecaster.details import print_details

            print_details(record)
    else:
        display.print_record(record)


def ledger(given: Ledger) -> None:
    """One line a trial, oldest first. Raises StorageError for a damaged ledger."""
    from forecaster import ledger as books

    book = books.read(given.store)
    books.refuse_damage(given.store, book)
    if given.result({"trials": [trial.model_dump(mode="json") for trial in book.trials]}):
        return
    if not book.trials:
        given.say(
            f"no trials in {given.store / books.NAME} yet; make one with: forecaster backtest"
        )
    for trial in book.trials:
        vault = "" if trial.vault == "off" else f"  vault {trial.vault}"
        display.print_line(
            f"{trial.at}  {trial.config[:6]}  {','.join(trial.symbols)} {trial.interval}"
            f"  {trial.test_from} to {trial.test_until}{vault}  {trial.headline}"
        )


def _line(run: RunFolder) -> dict[str, Any]:
    status, where = run.read_json("status.json"), run.read_json("environment.json")
    return {
        "run": str(run.path),
        "kind": status["kind"],
        "state": status["state"],
        "started_at": where["started_at"],
    }
