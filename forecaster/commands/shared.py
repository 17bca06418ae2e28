"""Options that several commands share, by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
        "symbols": click.option("--symbols", metavar="A,B", help="Symbols in the store."),
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
