"""`forecaster runs ls`, `show`, `compare` and `rm`, and `ledger`."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import CheckpointError, LockedError, UsageError
from forecaster.runs import RUNNING, RUNS, RunFolder, find_run, list_runs


@dataclass(frozen=True, kw_only=True)
class RunsLs(Output):
    """Arguments of `forecaster runs ls`."""


@dataclass(frozen=True, kw_only=True)
class RunsShow(Output):
    """Arguments of `forecaster runs show`."""

    run: Path
    details: bool = False


@dataclass(frozen=True, kw_only=True)
class RunsCompare(Output):
    """Arguments of `forecaster runs compare`."""

    run: Path
    other: Path


@dataclass(frozen=True, kw_only=True)
class RunsRm(Output):
    """Arguments of `forecaster runs rm`."""

    run: Path
    yes: bool = False


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


def runs_compare(given: RunsCompare) -> None:
    """Settings, bars and scores in which two finished runs differ."""
    from forecaster.side_by_side import compare

    runs = [find_run(path) for path in (given.run, given.other)]
    for run in runs:
        run.require_done()
    record = compare(*runs)
    if not given.result(record):
        from forecaster.beside import print_comparison

        print_comparison(record)


def runs_rm(given: RunsRm, confirm: Callable[[str], bool]) -> None:
    """Remove a run's folder for good, once `confirm` has said yes to a question or --yes is given.

    Raises UsageError for what is no run, for a link, and without --yes where nobody can be asked.
    """
    run = find_run(given.run)
    if run.path.is_symlink():
        raise UsageError(f"{run.path} is a link to a run: remove the link, or name the run itself")
    files = [path for path in run.path.rglob("*") if path.is_file()]
    size = sum(path.lstat().st_size for path in files)
    state = run.state()
    if state == RUNNING:
        raise LockedError(f"run {run.path} is being worked on: stop it first, or wait for its end")
    told = f"{run.path} ({state}, {len(files)} files, {size / (1 << 20):.1f} MiB)"
    if not given.yes:
        if given.as_json or not sys.stdin.isatty():
            raise UsageError(f"{told} is removed for good: say so with --yes")
        if not confirm(f"remove {told} for good?"):
            given.say(f"{run.path} is kept")
            return
    shutil.rmtree(run.path)
    if not given.result({"removed": str(run.path), "bytes": size}):
        given.say(f"removed {told}; the ledger keeps its trial")


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
        "state": run.state(),
        "started_at": where["started_at"],
    }
