"""Is this machine fit for the work: one check a row, each with what to do about it.

Nothing is written but a file in the run folder, which is gone again; nothing is asked of a network.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from forecaster.errors import ForecasterError
from forecaster.runs import RUNS, RunFolder, list_runs
from forecaster.store import Store, verify

DISTRIBUTION = "forecaster-lab"
OLDEST_PYTHON = (3, 11)
LEAST_FREE, LITTLE_FREE = 1 << 30, 5 << 30  # bytes: a run may not fit; it will soon not

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One row."""

    name: str
    state: State
    found: str
    remedy: str = ""


def examine(store: Path, runs: Path = RUNS) -> list[Check]:
    """Every check, in the order in which a new user meets them."""
    return [_python(), _torch(), *_packages(), _threads(), _store(store), _runs(runs), _disk(runs)]


def _python() -> Check:
    good = sys.version_info >= OLDEST_PYTHON
    return Check(
        name="python",
        state="ok" if good else "fail",
        found=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        remedy="" if good else "make the virtual environment with Python 3.11 or later",
    )


def _torch() -> Check:
    try:
        from forecaster.learner.machine import torch_state

        state = torch_state()
    except (ImportError, OSError) as error:  # a library of it that does not load is an OSError
        return Check(
            name="torch",
            state="fail",
            found=f"cannot be imported: {error}",
            remedy=f"pip install {DISTRIBUTION}",
        )
    where = state["accelerator"] or "CPU"
    return Check(name="torch", state="ok", found=f"{state['version']} on {where}")


def _packages() -> Iterator[Check]:
    """What the distribution itself needs, then one row an extra."""
    groups: dict[str, list[str]] = {}
    for line in requires(DISTRIBUTION) or []:
        wanted, _, condition = line.partition(";")
        extra = condition.partition("extra == ")[2].strip(" '\"")
        name = wanted.strip()
        for stop in "<>=!~[ (":
            name = name.partition(stop)[0]
        groups.setdefault(extra, []).append(name)
    for extra, names in sorted(groups.items()):
        if extra == "all":
            continue
        lacking = [name for name in names if not _there(name)]
        lost: State = "warn" if extra else "fail"
        yield Check(
            name=f"extra {extra}" if extra else "packages",
            state=lost if lacking else "ok",
            found=f"not there: {', '.join(lacking)}" if lacking else f"{len(names)} there",
            remedy=f"pip install '{DISTRIBUTION}{f'[{extra}]' * bool(extra)}'" if lacking else "",
        )


def _there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _threads() -> Check:
    """More processes than cores slow one another: torch's threads wait by spinning."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > cores
    return Check(
        name="threads",
        state="warn" if busy else "ok",
        found=f"{cores} cores, load {load:.1f}; fits use one thread a process",
        remedy="other work keeps the cores busy: end it, or lower --jobs" if busy else "",
    )


def _store(root: Path) -> Check:
    """Whether every file of the store is what was committed."""
    try:
        entries = Store(root).entries()
        faults = verify(root).faults if entries else ()
    except ForecasterError as error:
        return Check(name="store", state="fail", found=str(error), remedy="forecaster store repair")
    if faults:
        first = faults[0]
        return Check(
            name="store",
            state="fail",
            found=f"{len(faults)} damaged in {root}; {first.path}: {first.cause}",
            remedy="forecaster store repair",
        )
    bars = sum(entry.rows for entry in entries)
    return Check(
        name="store",
        state="ok" if entries else "warn",
        found=f"{len(entries)} symbols, {bars:,} bars in {root}",
        remedy="" if entries else "forecaster fetch",
    )


def _runs(root: Path) -> Check:
    """Whether runs can be kept, and which are not done."""
    place = next(each for each in (root.absolute(), *root.absolute().parents) if each.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            pass
    except OSError as error:
        return Check(
            name="runs",
            state="fail",
            found=f"{root}: {error.strerror}",
            remedy="choose a folder that you can write to, or name one with --out",
        )
    found = list_runs(root)
    open_runs = [run.path.name for run in found if _state(run.path) != "done"]
    return Check(
        name="runs",
        state="warn" if open_runs else "ok",
        found=f"{len(found)} in {root}/, {len(open_runs)} of them not done",
        remedy=f"--resume {root / open_runs[0]}, or forecaster runs rm it" if open_runs else "",
    )


def _state(run: Path) -> str:
    try:
        return str(RunFolder(run).read_json("status.json").get("state"))
    except ForecasterError:
        return "damaged"


def _disk(runs: Path) -> Check:
    place = next(each for each in (runs.absolute(), *runs.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    state: State = "fail" if free < LEAST_FREE else "warn" if free < LITTLE_FREE else "ok"
    return Check(
        name="disk",
        state=state,
        found=f"{free / (1 << 30):.1f} GiB free at {place}",
        remedy="" if state == "ok" else "make room: forecaster runs ls, forecaster runs rm RUN",
    )
