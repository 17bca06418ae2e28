"""README and docs are true: their commands and examples run, and each command is in them."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pages import PAGES, README, ROOT, blocks, command_lines, headings, named_examples

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
EVERY_LINE = [line for page in PAGES.values() for line in command_lines(page)]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def with_lines() -> list[str]:
    return [name for name, page in PAGES.items() if command_lines(page)]


def with_sessions() -> list[str]:
    return [name for name, page in PAGES.items() if sessions(page)]


def sessions(page: str) -> list[str]:
    """Python blocks that are typed at a prompt."""
    return [each for each in blocks(page, "python") if each.startswith(">>>")]


def shrunk(line: str) -> list[str]:
    """The command as given, and what makes it small, unless it goes on with a run."""
    words = shlex.split(line)
    more = [] if "--resume" in words else SHRUNK.get(" ".join(words[:2]), [])
    given = {word for word in words if word.startswith("--")} - {"--set"}
    pairs = zip(more[::2], more[1::2], strict=True)
    return words + [word for pair in pairs if pair[0] not in given for word in pair]


def write_bars(path: Path) -> None:
    """The CSV file that the pages speak of."""
    rows = [f"2020-01-{d:02d},{d}.5,{d}.9,{d}.1,{d}.7,{1000 + d}" for d in range(1, 29)]
    path.write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")


@pytest.mark.parametrize("name", with_lines())
def test_every_command_of_a_page_runs(name: str, tmp_path: Path):
    """One after another in one folder, as a reader would."""
    write_bars(tmp_path / "bars.csv")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in command_lines(PAGES[name]):
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
def test_every_command_is_on_a_page_and_has_help(name: str, command: click.Command):
    assert any(line.startswith(name) for line in EVERY_LINE), name
    assert command.help


def test_the_set_up_lines_are_those_of_ci():
    lines = re.findall(r"^python3 -m venv .*$", README, re.M)
    assert [line.rsplit("&& ", 1)[1] for line in lines] == ["forecaster backtest", "pytest -n auto"]
    assert len({line.rsplit(" && ", 1)[0] for line in lines}) == 1


def run_session(text: str, name: str, names: dict[str, object]) -> list[str]:
    """Run what is typed; what went otherwise than it says. `names` is what is known by then."""
    told: list[str] = []
    test = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append, clear_globs=False)
    names.update(test.globs)
    return told


@pytest.mark.parametrize("name", with_sessions())
def test_python_examples_say_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The blocks of a page are one session in one folder, the files that it names beside it."""
    for page in PAGES.values():
        for file, text in named_examples(page).items():
            (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    for block in sessions(PAGES[name]):
        told = run_session(block, name, names)
        assert told == [], "".join(told)


def test_planted_an_example_that_says_something_else():
    assert "Got:" in "".join(run_session(">>> 1 + 1\n3\n", "planted", {}))
    assert "NameError" in "".join(run_session(">>> nobody\n", "planted", {}))


@pytest.mark.parametrize("name", PAGES)
def test_every_python_block_is_run_or_is_a_file_under_test(name: str):
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    for file, text in named_examples(PAGES[name]).items():
        assert files[file] == text, file
        assert text.count("\n") <= 35, file
    found = blocks(PAGES[name], "python")
    assert len(found) == len(sessions(PAGES[name])) + len(named_examples(PAGES[name]))


def broken_links(name: str, page: str) -> list[str]:
    """Targets on our side that are not there: files, and headings of pages."""
    broken = []
    for target in re.findall(r"\]\(([^) ]+)\)", page):
        file, _, anchor = target.partition("#")
        place = (ROOT / name).parent / file if file else ROOT / name
        if target.startswith("https://"):
            continue
        if not place.exists() or (anchor and anchor not in headings(place.read_text("utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("name", PAGES)
def test_nothing_links_to_what_is_not_there(name: str):
    assert broken_links(name, PAGES[name]) == []


def test_planted_broken_links():
    planted = "[a](docs/data.md#yahoo) [b](docs/nowhere.md) [c](docs/data.md#nothing) [d](#no)"
    assert broken_links("README.md", planted) == ["docs/nowhere.md", "docs/data.md#nothing", "#no"]


def test_every_page_is_linked_from_the_readme_and_links_back():
    for name, page in PAGES.items():
        if name != "README.md":
            assert f"]({name}" in README, name
            assert "](../README.md" in page, name


def unknown_tests(page: str) -> list[str]:
    """Tests and test files that a page names and that are not there."""
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_")]
    known = {path.stem for path in paths} | {"test_from", "test_until"}  # the last are settings
    for path in paths:
        known |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return sorted(set(re.findall(r"\btest_\w+", page)) - known)


def test_tests_that_pages_rest_on_are_there():
    assert [
        (name, unknown_tests(page)) for name, page in PAGES.items() if unknown_tests(page)
    ] == []
    assert unknown_tests("pinned by `test_of_nothing`") == ["test_of_nothing"]
