"""Commands on what is there: the store, runs, finished backtests. Imports click alone."""

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


@click.command()
@click.argument("run", type=FOLDER)
@options("store", "out", "json", "quiet")
def report(**given: Any) -> None:
    """Write the page of a finished backtest again, into RUN or to --out."""
    from forecaster.commands import reporting

    reporting.report(reporting.Report(**given))


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--against", type=FOLDER, metavar="RUN2", help="A second backtest, beside it.")
@click.option("--learner", type=FOLDER, metavar="TRAINED", help="A training: its attention maps.")
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True)
@click.option("--no-browser", is_flag=True, help="Only say where it is.")
@options("store", "json", "quiet")
def explore(**given: Any) -> None:
    """Walk through a finished backtest in a browser, on this machine alone."""
    from forecaster.commands import exploring

    exploring.explore(exploring.Explore(**given))


@click.command()
@options("store", "json", "quiet")
def ledger(**given: Any) -> None:
    """Every configuration that was scored on the store's bars."""
    from forecaster.commands import past_runs

    past_runs.ledger(past_runs.Ledger(**given))


COMMANDS = (store, runs, report, explore, ledger)
