"""`forecaster paths`: how good a trained run's sampled paths are, on bars that it has not seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from forecaster import display, path_source, sampling, workflows
from forecaster.commands.arguments import Output
from forecaster.errors import UsageError
from forecaster.path_scores import Stretch, score_paths
from forecaster.runs import find_run
from forecaster.training import midnight_after


@dataclass(frozen=True, kw_only=True)
class Paths(Output):
    """Arguments of `forecaster paths`."""

    run: Path
    until: str | None = None
    paths: int = 100
    every: int = 5
    store: Path = Path("data")


def paths(given: Paths) -> None:
    """Sample, score, show."""
    run = find_run(given.run, "train")
    trained = run.read_json("data.json")["until"]
    if trained is None:
        raise UsageError(
            f"run {run.path} was trained on all bars: nothing is left to score its paths on;"
            " train another with --until"
        )
    config = run.config()
    panel, _ = workflows.load_panel(config, given.store, given.say)
    last = panel.clock[-1] if given.until is None else midnight_after(given.until)
    stretch = Stretch(midnight_after(trained), last, given.every)
    walk = path_source.Walk(given.paths, max(config.horizons), config.seed)
    with display.progress(1, "bars", quiet=given.quiet) as meter:

        def on_bars(count: int, of: int) -> None:
            meter.advance(count / of, f"{walk.paths} paths of {walk.steps} bars", count)

        record = score_paths(sampling.load_walker(run), panel, stretch, walk, on_bars)
    if not given.result(record):
        show(record)


def show(record: dict[str, Any]) -> None:
    """A row a horizon, then the whole path."""
    model, prior = record["model"], record["prior"]
    table = Table(
        title=f"{record['paths']} paths from {record['origins']} origins, {record['first']} to"
        f" {record['last']}: fair CRPS",
        title_justify="left",
    )
    columns = ("h", "density", "paths over density", "p", f"paths over {prior}'s", "p")
    for name in (*columns, f"in 90 %: {model}", f"in 90 %: {prior}"):
        table.add_column(name, justify="right")
    for row in record["crps"]:
        cells = [str(row["h"]), f"{row['density']:.5f}"]
        for name in ("paths_over_density", "learner_over_prior"):
            cells += [f"{row[name]['percent']:+.2f} %", display.p_value(row[name]["p"])]
        table.add_row(*cells, *(f"{row['inside_90'][name]:.1%}" for name in (model, prior)))
    display.print_table(table)
    energy = record["energy"]
    display.print_line(
        f"energy score of {record['steps']} bars together: {model} over {prior}"
        f" {energy['percent']:+.2f} % (t {energy['t']:+.1f}, p {display.p_value(energy['p'])},"
        f" {record['dates']} dates)"
    )
    display.print_line("lower is better; paths are for scenarios, densities for scores")
