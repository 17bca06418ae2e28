"""`forecaster runs ls` and `runs show`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import UsageError
from forecaster.runs import RUNS, RunFolder, list_runs


@dataclass(frozen=True, kw_only=True)
class RunsLs(Output):
    """Arguments of `forecaster runs ls`."""


@dataclass(frozen=True, kw_only=True)
class RunsShow(Output):
    """Arguments of `forecaster runs show`."""

    run: Path


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
    path = given.run if given.run.exists() else RUNS / given.run
    run = RunFolder.open(path)
    status = run.read_json("status.json")
    if status["state"] != "done":
        raise UsageError(
            f"run {path} is {status['state']}; go on with:"
            f" forecaster {status['kind']} --resume {path}"
        )
    record = run.read_json("summary.json")
    if given.result(record):
        return
    if status["kind"] == "backtest":
        from forecaster.tables import print_summary  # models' names: a second of imports

        print_summary(record, str(path))
    else:
        display.print_record(record)


def _line(run: RunFolder) -> dict[str, Any]:
    status, where = run.read_json("status.json"), run.read_json("environment.json")
    return {
        "run": str(run.path),
        "kind": status["kind"],
        "state": status["state"],
        "started_at": where["started_at"],
    }
