"""Commands that are killed or failed, what they must leave, and a server that runs them."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import fork_server

VERSE = "The quality of mercy is not strain'd, it droppeth as the gentle rain from heaven.\n"
SIZES = ("d_model=8", "n_layers=1", "n_heads=2", "context=24", "batch=2", "skip=4")
TINY = [word for size in SIZES for word in ("--set", f"learner.{size}")]
LOCKS = {"LOCK", "ledger.lock"}  # they hold the number of a process
UNFINISHED = (".tmp-", ".step-", ".LATEST.", ".status.", ".summary.", ".metrics.", ".run.")
UNTIL = ["--source", "synthetic", "-q", "--json", "--end"]

Words = list[str]
Tree = dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line in a folder of its own."""

    name: str
    argv: Words  # the tool first
    resume: Words | None = None  # once its run folder is there; None: the same again
    before: tuple[Words, ...] = ()  # what is done in the folder first
    unit: str = ""  # part of the path of what is kept piece by piece
    drawn: bool = True  # a backtest ends with its page


def fetching(end: str) -> Words:
    return ["forecaster", "fetch", "WALK-1", "AR1-1", "GARCH-1", *UNTIL, end]


def training(*more: str, seeds: int, steps: int) -> Words:
    sizes = ["--set", f"learner.seeds={seeds}", "--set", f"learner.steps={steps}"]
    return ["forecaster", "train", "--symbols", "WALK-1", "--horizons", "1", *TINY, *sizes, *more]


def testing(refit: int) -> Words:
    line = ["forecaster", "backtest", "--symbols", "WALK-1", "--horizons", "1", *TINY]
    line += ["--set", "learner.seeds=1", "--set", "learner.steps=4", "--baselines", "naive"]
    line += ["--set", "learner.tokens=scaled"]
    line += ["--test-from", "2002-02-01", "--refit-every", str(refit), "--jobs", "1"]
    return [*line, "-q", "--out", "run"]


FETCHED = fetching("2002-03-29")
TRAIN = ["forecaster", "train", "--resume", "run", "-q"]
TEST = ["forecaster", "backtest", "--resume", "run", "-q", "--jobs", "1"]
LANGUAGE = ["backbones", "-q", "train", "--corpus", "verse.txt", "--recipe", "smoke"]
LANGUAGE += ["--set", "train.warmup=1", "--set", "train.checkpoint_every=2"]
LANGUAGE += ["--out", "run", "--steps"]
GO_ON = ["backbones", "-q", "train", "--resume", "run"]

CASES = {
    case.name: case
    for case in (
        Case(name="fetch", argv=fetching("2000-03-31")),
        Case(name="append", argv=fetching("2000-03-31"), before=(fetching("2000-02-29"),)),
        Case(
            name="learner",
            argv=training("-q", "--out", "run", seeds=1, steps=2),
            resume=TRAIN,
            before=(FETCHED,),
        ),
        Case(name="language", argv=[*LANGUAGE, "4"], resume=GO_ON),
        Case(name="fold", argv=testing(99), resume=TEST, before=(FETCHED,), drawn=False),
        Case(
            name="report",
            argv=["forecaster", "report", "run", "-q"],
            before=(FETCHED, testing(99)),
        ),
        Case(
            name="killed learner",
            argv=training("-q", "--out", "run", seeds=2, steps=6),
            resume=TRAIN,
            before=(FETCHED,),
            unit="/step-",
        ),
        Case(name="killed language", argv=[*LANGUAGE, "16"], resume=GO_ON, unit="/step-"),
        Case(
            name="killed backtest",
            argv=testing(14),
            resume=TEST,
            before=(FETCHED,),
            unit=".json",
        ),
    )
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: a status as of `os.waitstatus_to_exitcode`, its lines on stderr."""

    status: int
    lines: Words
    out: str = field(default="", compare=False)


class Server:
    """The test's end of `fork_server`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        here = Path(__file__).parent
        paths = os.pathsep.join((str(here), str(here.parents[1])))
        self.process = subprocess.Popen(
            [sys.executable, fork_server.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self._answer("ready")

    def _answer(self, wanted: str) -> int:
        assert self.process.stdout
        kind, number = self.process.stdout.readline().split()
        assert kind == wanted
        return int(number)

    def _send(self, command: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def start(self, line: Words, cwd: Path, **plan: Any) -> int:
        """Fork a command; its process."""
        err = str(self.place / "stderr")
        command = {"tool": line[0], "argv": line[1:], "cwd": str(cwd), "err": err, "plan": plan}
        self._send(command)
        return self._answer("forked")

    def wait(self, process: int) -> Ended:
        self._send({"wait": process})
        status = self._answer("ended")
        lines = (self.place / "stderr").read_text().splitlines()
        return Ended(status, lines, (self.place / "stderr.out").read_text())

    def run(self, line: Words, cwd: Path, **plan: Any) -> Ended:
        return self.wait(self.start(line, cwd, **plan))

    def done(self, line: Words, cwd: Path, **plan: Any) -> None:
        """A command that must end well."""
        ended = self.run(line, cwd, **plan)
        assert ended == Ended(0, []), (line, ended)

    def prepared(self, case: Case) -> Path:
        """A folder in which the case's own command comes next."""
        place = self.place / f"{case.name} before"
        if not place.exists():
            place.mkdir()
            (place / "verse.txt").write_text(VERSE * 40)
            for line in case.before:
                self.done(line, place)
        return place

    def fresh(self, case: Case, name: str = "at work") -> Path:
        """A copy of it."""
        place = self.place / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.prepared(case), place)
        return place

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(10) == 0


@cache
def shared_server() -> Server:
    """One for all tests of a process: to import everything takes seconds."""
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    made = Server(place)
    atexit.register(shutil.rmtree, place)
    atexit.register(made.close)
    return made


def tree(place: Path) -> Tree:
    """Every file below a folder but locks, and segments that the store's manifest does not name.

    Of those a store keeps one generation more: which, depends on the commits that there were.
    """
    manifest = place / "data/bars/manifest.json"
    found = {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name not in LOCKS
    }
    if not manifest.exists():
        return found
    named = {entry["file"] for entry in json.loads(manifest.read_bytes())["entries"]}
    kept = {f"data/bars/{name.removesuffix('.parquet')}" for name in named}
    return {
        name: data
        for name, data in found.items()
        if "interval=" not in name or name.split(".", 1)[0] in kept or "/." in name
    }


def differences(found: Tree, wanted: Tree) -> str:
    """In words; empty where there are none."""
    said = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    said += [f"{name} is there too" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(found.keys() & wanted.keys())
    return "; ".join([*said, *(f"{n} differs" for n in both if found[n] != wanted[n])])


def again(case: Case, place: Path) -> Words:
    """How a user goes on after a stop: with what is there, or from the start."""
    return case.resume if case.resume and (place / "run").exists() else case.argv


def killed(server: Server, line: Words, place: Path, delay: float, **plan: Any) -> Ended:
    """Start a command, kill it after a delay; it may have ended by then."""
    process = server.start(line, place, **plan)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    return server.wait(process)
