"""What the commands share: how errors and interruptions end, how answers are shown.

Results go to stdout (`--json`: one object), all else to stderr. Exit codes are those of `errors`; a
traceback is shown only under --debug.
"""

import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec

import click
from click.shell_completion import CompletionItem

from ..errors import BackbonesError, DivergedError, RankError, StorageError, printable
from ..freed import keep_freed_memory
from . import completing
from .examples import EXAMPLES

P = ParamSpec("P")
GRACE = 2.0  # seconds in which the first process of a run comes to say why it ends
INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141  # 128 + the signal's number, as shells have it


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The command on one thread, its errors told in a line, with the exit code of their kind."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            be_reproducible()
            refuse_many_processes()
            command(*args, **kwargs)
        except KeyboardInterrupt as stopped:  # an argument says by which other signal
            code = TERMINATED if stopped.args else INTERRUPTED
            stop(stopped, f"{str(stopped) or 'interrupted'}{how_to_go_on()}", code)
        except BrokenPipeError:  # whoever reads has had enough: nothing to say, and to nobody
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            click.get_current_context().exit(BROKEN_PIPE)
        except BackbonesError as error:
            stop(error, str(error), error.exit_code)
        except OSError as error:
            stop(error, str(error), StorageError.exit_code)
        except Exception as error:  # whatever it is, it is ours: exit 1, never silence
            told = f"this is a bug, {type(error).__name__}: {error} (--debug shows where)"
            stop(error, told, BackbonesError.exit_code)

    return wrapped


def how_to_go_on() -> str:
    """What to say of it after a stop, where the command in hand can go on."""
    names = {parameter.name for parameter in click.get_current_context().command.params}
    return ": go on with --resume" if "resume" in names else ""


def stop(error: BaseException, told: str, code: int) -> None:
    """Tell of an error on stderr and exit."""
    from ..distributed.launch import rank_here

    context, rank = click.get_current_context(), rank_here()
    if rank and isinstance(error, KeyboardInterrupt | RankError | DivergedError):
        time.sleep(GRACE)  # the first process says the same, and would be ended with this one
        context.exit(code)
    if context.obj["debug"]:
        click.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
    where = f"error in process {rank} of the run" if rank else "error"
    click.echo(f"{where}: {printable(' '.join(told.split()))}", err=True)
    context.exit(code)


def refuse_many_processes() -> None:
    """UsageError where torchrun started what one process does; `train` sees for itself."""
    from ..distributed.launch import refuse_count

    name = click.get_current_context().command.name
    if name != "train":
        refuse_count(f"`{name}` is of one: start it without")


def be_reproducible() -> None:
    """One thread (small models are slower on two, and sums round differently), fixed algorithms.

    Memory that is freed is kept: a fifth of a training step's time.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # else CUDA's products are not fixed
    import torch

    keep_freed_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def say(pieces: Iterable[str]) -> None:
    """Each piece on stdout as soon as it is there, and the end of the line."""
    for piece in pieces:
        click.echo(piece, nl=False)  # which flushes
    click.echo()


def answer(values: Mapping[str, Any], *, json_: bool) -> None:
    """One object on stdout, as JSON or as a line a field."""
    if json_:
        click.echo(json.dumps(values))
    else:
        for name, value in values.items():
            click.echo(f"{name:<18} {value}")


def tell(text: str) -> None:
    """A line of progress on stderr, but under -q."""
    if not click.get_current_context().obj["quiet"]:
        click.echo(text, err=True)


def offer(names: Callable[[], Iterable[str]], otherwise: str = "plain") -> Any:
    """What `shell_complete` wants: names that begin as the word does, of a list its last one.

    Where there is none, the shell completes by itself as for `otherwise`: dir, file, plain. Nothing
    that goes wrong is told: who presses a key has asked nothing yet.
    """

    def complete(_: click.Context, __: click.Parameter, word: str) -> list[CompletionItem]:
        before, comma, last = word.rpartition(",")
        try:
            found = [each for each in names() if each.startswith(last)]
        except Exception:
            found = []
        items = [CompletionItem(f"{before}{comma}{each}") for each in found]
        return items or [CompletionItem(word, type=otherwise)]

    return complete


RUN = {"type": click.Path(path_type=Path), "shell_complete": offer(completing.runs, "dir")}
PRESET, RECIPE = ({"shell_complete": offer(n)} for n in (completing.presets, completing.recipes))


def show_examples(command: click.Command, name: str) -> None:
    """Give a command, and all below it, the examples of its full name."""
    lines = "\n".join(f"  {line}" for line in EXAMPLES[name])
    command.epilog = f"\b\nExamples:\n{lines}"
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            show_examples(each, f"{name} {word}")
