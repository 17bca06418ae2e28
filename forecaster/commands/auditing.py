"""`forecaster audit`: laws on a run, smells in a predictions file; GateError where one is found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from forecaster import display, workflows
from forecaster.audit.laws import Check
from forecaster.audit.predictions import audit_predictions
from forecaster.audit.run import Effort, audit_run
from forecaster.bars import Panel
from forecaster.commands.arguments import Output, listed
from forecaster.errors import GateError, UsageError, printable
from forecaster.runs import RunFolder, find_run
from forecaster.sources import source
from forecaster.store import Store
from forecaster.symbols import Symbol


@dataclass(frozen=True, kw_only=True)
class Audit(Output):
    """Arguments of `forecaster audit`."""

    target: Path
    examples: int = 30
    markets: int = 1
    source: str | None = None
    path: Path | None = None
    interval: str = "1d"
    against: Path | None = None
    symbols: str | None = None
    store: Path = Path("data")


def audit(given: Audit) -> None:
    """Audit, show, and raise GateError with the first leak found."""
    run = None if given.target.is_file() else _run(given.target)
    record = _of_run(given, run) if run else _of_file(given, given.target)
    target = run.path if run else given.target
    record |= {"target": str(target)}
    if not given.result(record):
        show(record)
    if record["leaks"]:
        more = len(record["leaks"]) - 1
        others = f" (and {more} more)" if more else ""
        raise GateError(f"audit of {target}: {record['leaks'][0]}{others}")


def _run(target: Path) -> RunFolder:
    try:
        return find_run(target)
    except UsageError as error:
        raise UsageError(f"{printable(str(target))} is no predictions file, and {error}") from None


def _of_run(given: Audit, run: RunFolder) -> dict[str, Any]:
    for name in ("source", "path", "against", "symbols"):
        if getattr(given, name) is not None:
            raise UsageError(f"--{name} is for predictions files; {run.path} is a run with its own")
    config = run.config()
    plan, _ = workflows.plan_backtest(config, given.store, given.say)
    stored = workflows.stored_panel(config, given.store)
    with display.progress(1, "laws", quiet=given.quiet) as meter:

        def on_check(check: Check, laws: int) -> None:
            meter.advance(1 / laws, check.stage)

        return audit_run(plan, stored, Effort(given.examples, given.markets), on_check)


def _of_file(given: Audit, path: Path) -> dict[str, Any]:
    return audit_predictions(path, bars=_bars(given), against=given.against)


def _bars(given: Audit) -> Panel | None:
    """Bars of the named symbols, from a source or from the store; None where none are named."""
    names = listed(given.symbols)
    if names is None:
        if given.source is not None or given.path is not None:
            raise UsageError("--source brings bars of symbols: name them with --symbols")
        return None
    if given.source is None:
        panel = Store(given.store).panel(names, given.interval)
    else:
        origin = source(given.source, given.path)
        panel = Panel(
            tuple(origin.fetch(Symbol(name), given.interval, None, None).bars for name in names)
        )
    return panel.adjusted()


def show(record: dict[str, Any]) -> None:
    """A row a law, what was reduced, and the verdict."""
    table = Table(title=f"audit of {record['target']}", title_justify="left")
    for name in ("stage", "law", "what must hold", "examples", "verdict", "seconds"):
        table.add_column(name, justify="right" if name in {"examples", "seconds"} else "left")
    for check in record["checks"]:
        verdict = Text("holds" if check["holds"] else str(check["finding"]))
        words = (Text(check["stage"]), check["law"], Text(check["states"]))
        style = "" if check["holds"] else "bold red"
        table.add_row(
            *words, str(check["examples"]), verdict, f"{check['seconds']:.1f}", style=style
        )
    display.print_table(table)
    for line in record["notes"]:
        display.print_line(line)
    for leak in record["leaks"]:
        display.print_line(f"smells of look-ahead: {leak}")
    if not record["leaks"]:
        display.print_line(f"nothing found; the audit can see {record['sees']}")
