"""The README is true: each of its commands runs, and each command is in it."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SIZES = ("steps=3", "seeds=1", "d_model=16", "n_layers=1", "context=32", "batch=4")
SMALL = [word for size in SIZES for word in ("--set", f"learner.{size}")]
# What makes a command of minutes one of seconds. Nothing else about it changes.
SHRUNK = {
    "forecaster backtest": [
        *[*SMALL, "--symbols", "^IXIC,AAPL", "--test-from", "2012-06-01"],
        *["--baselines", "random_walk,volatility_20,garch_student_t,har_empirical,harx"],
    ],
    "forecaster train": SMALL,
    "backbones train": ["--steps", "3", "--set", "train.warmup=1"],
}


def command_lines() -> list[str]:
    """Lines of the README's shell blocks, comments off, but for the two that set up."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("python3 -m venv")]


def shrunk(line: str) -> list[str]:
    """The command as given, and what makes it small, unless it goes on with a run."""
    words = shlex.split(line)
    more = [] if "--resume" in words else SHRUNK.get(" ".join(words[:2]), [])
    given = {word for word in words if word.startswith("--")} - {"--set"}
    pairs = zip(more[::2], more[1::2], strict=True)
    return words + [word for pair in pairs if pair[0] not in given for word in pair]


def write_bars(path: Path) -> None:
    """The CSV file that the README speaks of."""
    rows = [f"2020-01-{d:02d},{d}.5,{d}.9,{d}.1,{d}.7,{1000 + d}" for d in range(1, 29)]
    path.write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")


def test_every_command_of_the_readme_runs(tmp_path: Path):
    write_bars(tmp_path / "bars.csv")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    lines = command_lines()
    assert len(lines) >= 12
    for line in lines:
        done = subprocess.run(
            shrunk(line), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-800:]}"
        assert "Traceback" not in done.stderr


def commands(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, by its full name."""
    if isinstance(group, click.Group):
        for word, command in group.commands.items():
            yield from commands(command, f"{name} {word}")
    else:
        yield name, group


def every_command() -> list[tuple[str, click.Command]]:
    from backbones.cli import main
    from forecaster.cli import cli

    return [*commands(cli, "forecaster"), *commands(main, "backbones")]


@pytest.mark.parametrize(("name", "command"), every_command(), ids=lambda c: str(c))
def test_every_command_is_in_the_readme_and_has_help(name: str, command: click.Command):
    assert any(line.startswith(name) for line in command_lines()), name
    assert command.help


def test_the_set_up_lines_are_those_of_ci():
    lines = re.findall(r"^python3 -m venv .*$", README, re.M)
    assert [line.rsplit("&& ", 1)[1] for line in lines] == ["forecaster backtest", "pytest -n auto"]
    assert len({line.rsplit(" && ", 1)[0] for line in lines}) == 1


def test_nothing_links_to_a_file_that_is_not_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def unknown_tests(page: str) -> list[str]:
    """Tests and test files that a page names and that are not there."""
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_")]
    known = {path.stem for path in paths} | {"test_from", "test_until"}  # the last are settings
    for path in paths:
        known |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return sorted(set(re.findall(r"\btest_\w+", page)) - known)


def test_tests_that_decisions_rest_on_are_there():
    assert unknown_tests(README) == []
    assert unknown_tests("pinned by `test_of_nothing`") == ["test_of_nothing"]
