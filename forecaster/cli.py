"""The command line: each command parses, calls one function, and shows what came back.

Results go to stdout, everything else to stderr. Nothing heavy is imported before a command runs.
"""

import io
import sys
from typing import Any

import click

from forecaster.boundary import exit_code, harmless, raise_on_sigterm
from forecaster.commands import completing
from forecaster.commands.groups import COMMANDS
from forecaster.commands.shared import (
    BASELINES,
    FILE,
    PRESET,
    offer,
    options,
    run_of,
    show_examples,
)

OUTCOME = ("store", "out", "dry", "json", "quiet")  # of commands that leave a run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forecaster-lab", prog_name="forecaster")
def cli() -> None:
    """Distributions of future returns, walk-forward, against baselines that are hard to beat."""


@cli.command()
@click.argument("symbols", nargs=-1, shell_complete=offer(lambda _: completing.bundled()))
@click.option(
    "--source", default="bundled", show_default=True, help="bundled, csv, yahoo, MODULE:CLASS."
)
@click.option("--interval", default="1d", show_default=True, help="Length of a bar.")
@click.option("--start", metavar="YYYY-MM-DD", help="First day.")
@click.option("--end", metavar="YYYY-MM-DD", help="Last day.")
@click.option("--path", type=FILE, help="The file of --source csv, parquet or tradingview.")
@click.option(
    "--refetch", is_flag=True, help="Ask yahoo for all again; let it replace what differs."
)
@options("store", "dry", "json", "quiet")
def fetch(**given: Any) -> None:
    """Bring bars into the store.

    Without SYMBOLS, what the source brings by default.
    """
    from forecaster.commands import fetching

    fetching.fetch(fetching.Fetch(**given))


@cli.command()
@click.option("--preset", "presets", multiple=True, help="A backbone; may be repeated.", **PRESET)
@click.option(
    "--baselines", metavar="all|naive|NAME,...", help="Rows beside the learner.", **BASELINES
)
@click.option("--test-from", metavar="YYYY-MM-DD", help="First origins close after this day.")
@click.option("--refit-every", type=int, help="Bars between refits.")
@click.option("--quick", is_flag=True, help="Two symbols, two years, one small network.")
@click.option(
    "--resume", metavar="RUN", help="Go on with an interrupted run.", **run_of("backtest")
)
@click.option("--vault", is_flag=True, help="End before the last tenth of the bars.")
@click.option("--open-vault", is_flag=True, help="Test on that tenth alone; the ledger knows.")
@click.option("--fail-under", type=float, metavar="SKILL", help="Exit 11 below this skill in %.")
@options("symbols", "horizons", "jobs", "scheduler", "config", "set", *OUTCOME)
def backtest(**given: Any) -> None:
    """Walk forward: refit, forecast, score, compare."""
    from forecaster.commands import backtesting

    backtesting.backtest(backtesting.Backtest(**given))


@cli.command()
@click.option("--preset", help="A backbone of `backbones list`.", **PRESET)
@click.option("--until", metavar="YYYY-MM-DD", help="Learn from bars closed by this day.")
@click.option("--resume", metavar="RUN", help="Go on with an interrupted run.", **run_of("train"))
@options("symbols", "horizons", "config", "set", *OUTCOME)
def train(**given: Any) -> None:
    """Fit one learner and keep it in a run folder."""
    from forecaster.commands import training

    training.train(training.Train(**given))


@cli.command()
@click.argument("run", **run_of("train"))
@click.option(
    "--paths",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Sample N candle paths a symbol and model, as far as the longest horizon.",
)
@options("horizons", "store", "out", "json", "quiet")
def predict(**given: Any) -> None:
    """Forecast from the last bars with a trained RUN; paths go beside --out, or into RUN."""
    from forecaster.commands import training

    training.predict(training.Predict(**given))


@cli.command()
@click.argument("run", **run_of("train"))
@click.option("--until", metavar="DATE", help="Score up to this day  [default: the last]")
@click.option("--paths", type=click.IntRange(2, 1000), default=100, show_default=True, metavar="N")
@click.option("--every", type=click.IntRange(1), default=5, show_default=True, help="Bars.")
@options("store", "json", "quiet")
def paths(**given: Any) -> None:
    """Score the sampled paths of a trained RUN on the bars that came after its training."""
    from forecaster.commands import path_scoring

    path_scoring.paths(path_scoring.Paths(**given))


@cli.command()
@click.argument("target", type=FILE, shell_complete=run_of("backtest")["shell_complete"])
@click.option("--examples", type=click.IntRange(1), default=30, show_default=True)
@click.option("--markets", type=click.IntRange(1), default=1, help="Of each placebo; 1 if not set.")
@click.option("--source", help="Bars for a predictions file: bundled, csv, ... instead of a store.")
@click.option("--path", type=FILE, help="The file of --source csv or parquet.")
@click.option("--interval", default="1d", show_default=True)
@click.option("--against", type=FILE, metavar="EARLIER", help="An earlier predictions file.")
@options("symbols", "store", "json", "quiet")
def audit(**given: Any) -> None:
    """Look for knowledge of the future.

    TARGET is a run folder (leak laws and placebos on its configuration and bars) or a predictions
    file, ours or a foreign one. Exit code 11 where something is found.
    """
    from forecaster.commands import auditing

    auditing.audit(auditing.Audit(**given))


@cli.command()
@click.argument("run", **run_of("backtest"))
@click.option("--model", help="Whose forecasts size the positions  [default: the first preset]")
@click.option("--cost-bp", default="0,1,2,5,10,20", show_default=True, help="A side, in 1e-4.")
@click.option(
    "--target-volatility",
    type=click.FloatRange(0.001, 1.0),
    default=0.1,
    show_default=True,
    help="Of each symbol's account, a year.",
)
@options("store", "out", "json", "quiet")
def strategy(**given: Any) -> None:
    """Size positions by a finished RUN's forecasts, beside holding; fills go to RUN or --out."""
    from forecaster.commands import strategy as sizing

    sizing.strategy(sizing.Strategy(**given))


for command in COMMANDS:
    cli.add_command(command)
show_examples(cli, "forecaster")


def main() -> None:
    """Entry point: one line and the right exit code for whatever goes wrong."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command line; its exit code."""
    raise_on_sigterm()
    debug = "--debug" in arguments
    try:
        ended = cli.main(args=arguments, standalone_mode=False, prog_name="forecaster")
        sys.stdout.flush()
        return ended if isinstance(ended, int) else 0
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        sys.stderr.write(harmless(said.getvalue()))
        return error.exit_code
    except click.Abort as error:  # what click makes of Ctrl-C, and so of SIGTERM
        return exit_code(error.__cause__ or KeyboardInterrupt(), debug=debug)
    except BaseException as error:
        return exit_code(error, debug=debug)
