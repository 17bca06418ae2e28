"""A finished backtest as one HTML page: the verdict first, then all that it rests on."""

from pathlib import Path

from forecaster import display
from forecaster.atomic import commit_bytes
from forecaster.bars import Panel
from forecaster.errors import UsageError
from forecaster.leftovers import sweep
from forecaster.report.material import read_material
from forecaster.report.page import page_of
from forecaster.runs import RunFolder

NAME = "report.html"

__all__ = ["NAME", "attempt", "write_report"]


def write_report(run: RunFolder, bars: Panel | Path, out: Path | None = None) -> tuple[Path, str]:
    """The page's path, and why it lacks bars if it does. `bars`: the run's, or their store.

    Whole or not at all. Raises UsageError where `out` exists, CheckpointError for a run of another
    version, StorageError for damaged tables or a disk that refuses.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists; choose another --out")
    found = read_material(run, bars)
    if out is None:
        sweep(run.path)  # drafts of pages whose process was killed
    place = out or run.path / NAME
    commit_bytes(place, page_of(found).encode())
    return place, found.without_bars


def attempt(run: RunFolder, bars: Panel) -> Path | None:
    """The page of a run that has just ended; a failure is said and costs nothing but the page."""
    try:
        return write_report(run, bars)[0]
    except Exception as error:  # whatever it is: the run is done, and its numbers are kept
        display.say(
            [
                f"{run.path / NAME} was not written: {type(error).__name__}: {error};"
                f" the run is kept, try again with: forecaster report {run.path}"
            ]
        )
        return None
