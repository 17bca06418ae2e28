"""Commands that have commands: `forecaster store` and `forecaster runs`. Imports click alone."""

from typing import Any

import click

from forecaster.commands.shared import FOLDER, options


@click.group()
def store() -> None:
    """Bars that are there."""


@store.command("ls")
@options("store", "json", "quiet")
def store_ls(**given: Any) -> None:
    """One line a symbol: bars, source, and what is odd about them."""
    from forecaster.commands import storing

    storing.ls(storing.InStore(**given))


@store.command("verify")
@options("store", "json", "quiet")
def store_verify(**given: Any) -> None:
    """Hash every file. Exit code 5 where one is not what was committed."""
    from forecaster.commands import storing

    storing.verify_store(storing.InStore(**given))


@store.command("repair")
@options("store", "json", "quiet")
def store_repair(**given: Any) -> None:
    """Bring back what can be, remove what nobody needs, say what to fetch again."""
    from forecaster.commands import storing

    storing.repair_store(storing.InStore(**given))


@click.group()
def runs() -> None:
    """Runs that are there."""


@runs.command("ls")
@options("json")
def runs_ls(**given: Any) -> None:
    """One line a run, oldest first."""
    from forecaster.commands import past_runs

    past_runs.runs_ls(past_runs.RunsLs(**given))


@runs.command("show")
@click.argument("run", type=FOLDER)
@click.option("--details", is_flag=True, help="Every comparison, group and calibration test.")
@options("json")
def runs_show(**given: Any) -> None:
    """What a run found, as when it ended."""
    from forecaster.commands import past_runs

    past_runs.runs_show(past_runs.RunsShow(**given))
