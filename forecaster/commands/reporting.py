"""`forecaster report`: the page of a finished backtest, once more."""

from dataclasses import dataclass
from pathlib import Path

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.runs import find_run


@dataclass(frozen=True, kw_only=True)
class Report(Output):
    """Arguments of `forecaster report`."""

    run: Path
    out: Path | None = None
    store: Path = Path("data")


def report(given: Report) -> None:
    """The page of RUN, in its folder or at --out."""
    run = find_run(given.run, "backtest")
    run.require_done()
    given.say(f"reading and drawing {run.path}")
    from forecaster.report import write_report

    place, without_bars = write_report(run, given.store, given.out)
    if without_bars:
        given.say(f"the page has no candles: {without_bars}")
    record = {"report": str(place), "bytes": place.stat().st_size}
    if not given.result(record):
        display.print_line(f"report: {place}")
