"""Options that several commands share, by name."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from forecaster.commands import completing
from forecaster.commands.examples import EXAMPLES

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class PathName(click.Path):
    """A path as the system can have one: click lets others through, and Python breaks at them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Raises BadParameter for a NUL, and for what no file name can say."""
        try:
            legal = b"\0" not in os.fsencode(value)
        except UnicodeEncodeError:
            legal = False
        if not legal:
            self.fail(f"{ascii(value)[:60]} cannot be a path", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = PathName(path_type=Path, file_okay=False)
FILE = PathName(path_type=Path)


def offer(names: Callable[[click.Context], Iterable[str]], otherwise: str = "plain") -> Any:
    """What `shell_complete` wants: names that begin as the word does, of a list its last one.

    Where there is none, the shell completes by itself as for `otherwise`: dir, file, plain. Nothing
    that goes wrong is told: who presses a key has asked nothing yet.
    """

    def complete(context: click.Context, _: click.Parameter, word: str) -> list[CompletionItem]:
        before, comma, last = word.rpartition(",")
        try:
            found = [each for each in names(context) if each.startswith(last)]
        except Exception:
            found = []
        items = [CompletionItem(f"{before}{comma}{each}") for each in found]
        return items or [CompletionItem(word, type=otherwise)]

    return complete


def stored(context: click.Context) -> list[str]:
    """Symbols in the store that the line names so far, or in the default one."""
    return completing.symbols(context.params.get("store") or Path("data"))


stored_ones = offer(stored)


def run_of(kind: str | None = None) -> dict[str, Any]:
    """Type and completion of a parameter that is a run's folder."""
    return {"type": FOLDER, "shell_complete": offer(lambda _: completing.runs(kind), "dir")}


PRESET = {"shell_complete": offer(lambda _: completing.presets())}
BASELINES = {"shell_complete": offer(lambda _: completing.baselines())}


def options(*names: str) -> Decorator:
    """The options of these names, and --debug."""
    shared = {
        "json": click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        "quiet": click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors."),
        "debug": click.option("--debug", is_flag=True, help="Tracebacks instead of one line."),
        "dry": click.option("--dry-run", is_flag=True, help="Show what would be done, do nothing."),
        "store": click.option(
            "--store", type=FOLDER, default=Path("data"), show_default=True, help="Bar store."
        ),
        "config": click.option("--config", type=FILE, help="A TOML file of run settings."),
        "set": click.option(
            *("--set", "settings"),
            multiple=True,
            metavar="KEY=VALUE",
            help="A run setting; may be repeated.",
        ),
        "out": click.option("--out", type=FILE, help="Where the result goes; must not exist."),
        "symbols": click.option(
            *("--symbols",), metavar="A,B", help="Symbols in the store.", shell_complete=stored_ones
        ),
        "horizons": click.option("--horizons", metavar="1,5,20", help="Bars ahead."),
        "jobs": click.option("--jobs", type=click.IntRange(1), help="Processes  [default: cores]"),
        "scheduler": click.option(
            "--scheduler", metavar="tcp://HOST:PORT", help="Of dask workers, instead of --jobs."
        ),
    }

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed((*names, "debug")):
            command = shared[name](command)
        return command

    return decorate


def show_examples(command: click.Command, name: str) -> None:
    """Give a command, and all below it, the examples of its full name."""
    lines = "\n".join(f"  {line}" for line in EXAMPLES[name])
    command.epilog = f"\b\nExamples:\n{lines}"
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            show_examples(each, f"{name} {word}")
