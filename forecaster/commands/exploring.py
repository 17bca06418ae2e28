"""`forecaster explore`: a finished backtest in a browser, forecast by forecast."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import UsageError
from forecaster.runs import RunFolder, find_run

if TYPE_CHECKING:
    from forecaster.explorer.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Explore(Output):
    """Arguments of `forecaster explore`."""

    run: Path
    against: Path | None = None
    learner: Path | None = None
    port: int = 8050
    no_browser: bool = False
    dry_run: bool = False
    store: Path = Path("data")


def explore(given: Explore) -> None:
    """Serve until Ctrl-C. Raises UsageError without the extra, for a taken port, for other runs."""
    runs = [finished(path, "backtest") for path in (given.run, given.against) if path is not None]
    learner = finished(given.learner, "train") if given.learner is not None else None
    try:
        from forecaster.explorer import app as explorer
    except ModuleNotFoundError as error:
        raise UsageError(
            f"explore needs {error.name}, of the extra `ui`: pip install 'forecaster-lab[ui]'"
        ) from None
    from forecaster.explorer.subject import read_subject

    given.say(f"reading {', '.join(str(run.path) for run in runs)}")
    subject = read_subject(runs, given.store)
    network = None
    if learner is not None:
        from forecaster.explorer.heads import open_network

        network = open_network(learner, subject.first.panel, subject.first.without_bars)
    app = explorer.build_app(subject, network)
    if given.dry_run:
        _describe(given, subject)
        return
    made = explorer.server(app, given.port)
    url = f"http://{explorer.HOST}:{made.port}/"
    if not given.result({"url": url}):
        given.say(f"explorer: {url}  (this machine alone; Ctrl-C ends it)")
    explorer.serve(made, None if given.no_browser else _open)


def _describe(given: Explore, subject: "Subject") -> None:
    """What there is to walk through."""
    origins = sum(len(subject.cutoffs(symbol)) for symbol in subject.symbols)
    record = {"symbols": list(subject.symbols), "origins": origins, "models": list(subject.models)}
    if not given.result(record):
        display.print_record(record)


def finished(path: Path, kind: str) -> RunFolder:
    """A run of a kind, by its path or its name below runs/, that has ended well."""
    run = find_run(path, kind)
    run.require_done()
    return run


def _open(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
