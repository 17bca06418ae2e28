"""The help of every command of both programs, word for word, and its examples.

To accept a change: `python tests/test_help.py`.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from backbones.cli import main
from backbones.commands.examples import EXAMPLES as TEXT_EXAMPLES
from forecaster.cli import cli
from forecaster.commands.examples import EXAMPLES

GOLDEN = Path(__file__).parent / "golden" / "help"
PROGRAMS: dict[str, click.Group] = {"forecaster": cli, "backbones": main}
ALL = EXAMPLES | TEXT_EXAMPLES
WIDTH = 80


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command, and every one below it, by full name."""
    yield name, command
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            yield from commands(each, f"{name} {word}")


COMMANDS = {name: each for n, program in PROGRAMS.items() for name, each in commands(program, n)}


def help_of(name: str) -> str:
    """As a terminal of 80 columns shows it."""
    words = name.split()
    context: click.Context | None = None
    for i in range(len(words)):
        command = COMMANDS[" ".join(words[: i + 1])]
        settings = command.context_settings
        names = settings.get("help_option_names") if context is None else None
        context = click.Context(
            command,
            parent=context,
            info_name=words[i],
            terminal_width=WIDTH,
            help_option_names=names,
        )
    assert context is not None
    return context.get_help() + "\n"


def place(name: str) -> Path:
    return GOLDEN / f"{name.replace(' ', '-')}.txt"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_as_before_and_fits_a_terminal(name: str):
    text = help_of(name)
    assert text == place(name).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.isascii()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_a_module_too(name: str):
    """As torchrun, and machines where scripts are not on the path, want it."""
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == help_of(name).splitlines()[0]


def test_no_golden_file_is_of_a_command_that_is_gone():
    assert set(GOLDEN.iterdir()) == {place(name) for name in COMMANDS}


def test_every_command_has_examples_and_there_are_no_others():
    assert set(ALL) == set(COMMANDS)


def parsed(line: str) -> str:
    """The full name of the command that a line calls; raises what click says of a wrong one."""
    line = line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0]
    words = shlex.split(line)
    command: click.Command = PROGRAMS[words[0]]
    name = words.pop(0)
    while isinstance(command, click.Group):
        command = command.commands[words[0]]
        name = f"{name} {words.pop(0)}"
    command.make_context(name, words)
    return name


@pytest.mark.parametrize("name", ALL)
def test_examples_are_what_the_command_takes(name: str):
    for line in ALL[name]:
        assert parsed(line).startswith(name), line
        assert line in help_of(name)


@pytest.mark.parametrize("line", ["forecaster fetch --sauce yahoo", "backbones attention runs/x"])
def test_a_wrong_example_is_seen(line: str):
    with pytest.raises(click.UsageError):
        parsed(line)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for path in GOLDEN.iterdir():
        path.unlink()
    for each in COMMANDS:
        place(each).write_text(help_of(each), encoding="utf-8")
