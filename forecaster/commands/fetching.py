"""`forecaster fetch`: a row a symbol, and the exit code of the worst that happened."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import UsageError
from forecaster.fetching import FetchRequest
from forecaster.fetching import fetch as fetch_bars


@dataclass(frozen=True, kw_only=True)
class Fetch(Output):
    """Arguments of `forecaster fetch`."""

    symbols: tuple[str, ...] = ()
    source: str = "bundled"
    interval: str = "1d"
    start: str | None = None
    end: str | None = None
    path: Path | None = None
    store: Path = Path("data")
    dry_run: bool = False
    refetch: bool = False


def fetch(given: Fetch) -> None:
    """Fetch, report, and raise what failed: what succeeded is committed by then."""
    request = FetchRequest(
        symbols=given.symbols,
        source=given.source,
        interval=given.interval,
        start=_day("--start", given.start),
        end=_day("--end", given.end),
        path=given.path,
        store=given.store,
        dry_run=given.dry_run,
        refetch=given.refetch,
    )
    with display.progress(1, "symbols", quiet=given.quiet, lines=False) as meter:
        report = fetch_bars(request, meter.say, lambda symbol, of: meter.advance(1 / of, symbol))
    if not given.result(report.as_json()) and not given.quiet:
        display.print_table(report.as_table())
        for line in report.as_lines():
            display.print_line(line)
    if report.failure is not None:
        raise report.failure


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a day; wanted YYYY-MM-DD") from None
