"""Commands on what is there: store, runs, settings, this machine. Imports click alone."""

from typing import Any

import click

from forecaster.commands.shared import BASELINES, FILE, PRESET, options, run_of


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
@click.argument("run", **run_of())
@click.option("--details", is_flag=True, help="Every comparison, group and calibration test.")
@options("json")
def runs_show(**given: Any) -> None:
    """What a run found, as when it ended."""
    from forecaster.commands import past_runs

    past_runs.runs_show(past_runs.RunsShow(**given))


@click.command()
@click.argument("run", **run_of("backtest"))
@options("store", "out", "json", "quiet")
def report(**given: Any) -> None:
    """Write the page of a finished backtest again, into RUN or to --out."""
    from forecaster.commands import reporting

    reporting.report(reporting.Report(**given))


@click.command()
@click.argument("run", **run_of("backtest"))
@click.option(
    "--against", metavar="RUN2", help="A second backtest, beside it.", **run_of("backtest")
)
@click.option(
    "--learner", metavar="TRAINED", help="A training: its attention maps.", **run_of("train")
)
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True)
@click.option("--no-browser", is_flag=True, help="Only say where it is.")
@options("store", "dry", "json", "quiet")
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


@runs.command("compare")
@click.argument("run", **run_of("backtest"))
@click.argument("other", **run_of("backtest"))
@options("json")
def runs_compare(**given: Any) -> None:
    """Settings, bars and scores in which two finished runs differ."""
    from forecaster.commands import past_runs

    past_runs.runs_compare(past_runs.RunsCompare(**given))


@runs.command("rm")
@click.argument("run", **run_of())
@click.option("--yes", is_flag=True, help="Do not ask.")
@options("json", "quiet")
def runs_rm(**given: Any) -> None:
    """Remove a run's folder for good; asks before."""
    from forecaster.commands import past_runs

    past_runs.runs_rm(past_runs.RunsRm(**given), lambda question: click.confirm(question, err=True))


@click.group()
def config() -> None:
    """Settings of a run."""


@config.command("show")
@click.option("--preset", "presets", multiple=True, help="A backbone; may be repeated.", **PRESET)
@click.option(
    "--baselines", metavar="all|naive|NAME,...", help="Rows beside the learner.", **BASELINES
)
@click.option("--quick", is_flag=True, help="As of backtest.")
@options("symbols", "horizons", "config", "set", "json")
def config_show(**given: Any) -> None:
    """The settings that a backtest would have, as TOML, each with what has set it."""
    from forecaster.commands import looking

    looking.config_show(looking.ConfigShow(**given))


@click.command()
@options("store", "json")
def doctor(**given: Any) -> None:
    """Check Python, packages, cores, store, runs and disk. Exit code 11 where one of them fails."""
    from forecaster.commands import looking

    looking.doctor(looking.Doctor(**given))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets a shell complete both programs: commands, runs, symbols, presets."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"click completes nothing in {shell}")
    for name in ("forecaster", "backbones"):
        click.echo(made(context.command, {}, name, f"_{name.upper()}_COMPLETE").source())


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Counted.")
@click.option("--symbols", type=click.IntRange(1), default=4, show_default=True)
@click.option("--bars", type=click.IntRange(800), default=3000, show_default=True)
@click.option("--starts", type=click.IntRange(1), default=40, show_default=True, help="Of paths.")
@click.option("--paths", type=click.IntRange(1), default=200, show_default=True)
@click.option("--page", type=FILE, help="Where the bench `scaling` draws its lines.")
@options("set", "out", "json", "quiet")
def bench(**given: Any) -> None:
    """Time ways and sizes of one thing against each other: ratios, with their spread.

    NAMES are fits, tokens, scoring, paths, backtest (all of them if none is named) and scaling.
    """
    from forecaster.commands import benching

    benching.bench(benching.Bench(**given))


COMMANDS = (bench, store, runs, config, report, explore, ledger, doctor, completion)
