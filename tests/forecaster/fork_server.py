"""A process that imports both command lines once and forks one command each, for a test to kill.

A line of JSON on stdin starts a command: {"tool", "argv", "cwd", "err", "plan"}; another,
{"wait": PID}, reaps it. Answers on stdout: `forked PID`, `ended STATUS`. `plan` may name a fault
({"nth", "kind"}, see system_calls), a file for the phase of the work (see `watched`), a file for
the list of calls, and a planted mistake.
"""

import gc
import hashlib
import importlib
import json
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from system_calls import Shim

WARM = (
    *("backbones.cli", "backbones.language", "forecaster.cli", "forecaster.commands.backtesting"),
    *("forecaster.commands.fetching", "forecaster.commands.reporting"),
    *("forecaster.commands.storing", "forecaster.commands.training", "forecaster.learner"),
    *("forecaster.pooled", "forecaster.report", "plotly.graph_objects", "torch._dynamo"),
    *("plotly.offline", "pyarrow.dataset", "rich._emoji_codes", "torch.profiler"),
    *("pydantic.deprecated.decorator", "torch.utils._triton", "arch.bootstrap"),
)
HOUSEKEEPERS = {"jemalloc_bg_thd", "polars-ooc-clea"}  # of memory; they compute nothing
LONGEST_S = 240  # of a command; nobody waits for ever
SEEN = 3  # bytes of the phase: commits so far (two bytes), whether one is going on


class Noon(datetime):
    """A clock that stands still: what a run writes depends on nothing but the run."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Noon":
        return cls(2026, 1, 2, 12, tzinfo=tz or UTC)


def stand_still() -> None:
    """Stop the clocks that results are stamped with."""
    import time

    from backbones.language import folder
    from forecaster import runs
    from forecaster.sources import protocol
    from forecaster.summary import tried

    time.perf_counter = time.process_time = lambda: 0.0
    for module in (runs, protocol, tried, folder):
        module.datetime = Noon  # type: ignore[attr-defined]


def keep_often() -> None:
    """A learner keeps itself every other step, its heads are soon taught, its rivals are two.

    Resampling, which decides nothing here, is cut short.
    """
    from forecaster import baselines
    from forecaster.inference import bootstrap
    from forecaster.learner import fields
    from forecaster.learner.forecaster import BackboneForecaster

    recipe = BackboneForecaster._recipe  # pyright: ignore[reportPrivateUsage]

    def often(self: BackboneForecaster, seed: int, steps: int) -> Any:
        return recipe(self, seed, steps).replace(checkpoint_every=2)

    BackboneForecaster._recipe = often  # pyright: ignore[reportPrivateUsage]
    fields.STEPS = 12
    bootstrap.REPS = 20
    exchange(baselines.NAIVE_NAMES, ("random_walk", "volatility_20"))


def watched(path: str, unit: str) -> None:
    """Say in a file, which outlives a killed process, how many units are kept, and if one is made.

    The file's bytes: commits whose path has `unit` in it (two), 1 inside of any commit (one).
    """
    from backbones import storage
    from forecaster import atomic

    with Path(path).open("r+b") as file:
        seen = mmap.mmap(file.fileno(), SEEN)

    def told(commit: Callable[..., Any]) -> Callable[..., Any]:
        def call(place: Path, *rest: Any) -> Any:
            seen[2] = 1
            try:
                done = commit(place, *rest)
                if unit in str(place):
                    seen[0:2] = (int.from_bytes(seen[0:2]) + 1).to_bytes(2)
                return done
            finally:
                seen[2] = 0

        return call

    for commit in (storage.write_folder, storage.replace_file, atomic.commit_chunks):
        exchange(commit, told(commit))


def exchange(old: object, new: object) -> None:
    """Put `new` wherever our modules have `old`."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"backbones", "forecaster"}:
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def obey(command: dict[str, Any]) -> int:
    """Run one command line in this process; its exit code."""
    plan = command["plan"]
    if "phase" in plan:
        watched(plan["phase"], plan["unit"])
    if plan.get("undrawn"):
        from forecaster import report

        exchange(report.attempt, lambda *_: None)
    if "planted" in plan:
        PLANTED[plan["planted"]]()
    shim = Shim(command["cwd"], plan.get("nth", 0), plan.get("kind", ""))
    if "calls" in plan:
        shim.install()
    sys.argv = [command["tool"], *command["argv"]]
    try:
        return TOOLS[command["tool"]](command["argv"])
    finally:
        if "calls" in plan:
            lines = "\n".join([*shim.calls, *(f"unseen {each}" for each in shim.unseen)])
            descriptor = os.open(plan["calls"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(descriptor, lines.encode())


def forecaster_command(argv: list[str]) -> int:
    from forecaster.cli import run

    return run(argv)


def backbones_command(argv: list[str]) -> int:
    from backbones.cli import main

    try:
        main(argv, prog_name="backbones")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


TOOLS = {"forecaster": forecaster_command, "backbones": backbones_command}


# Planted mistakes, each of which a test must see.


def in_place() -> None:
    """Every writer opens the file itself, or fills the folder itself."""
    from backbones import storage
    from forecaster import atomic

    def write_file(path: Path, chunks: Any) -> str:
        data = chunks if isinstance(chunks, bytes) else b"".join(chunks)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)
        return hashlib.sha256(data).hexdigest()

    def write_files(path: Path, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            write_file(path / name, data)

    exchange(atomic.commit_chunks, write_file)
    exchange(atomic.commit_folder, write_files)
    exchange(storage.replace_file, write_file)
    exchange(storage.write_folder, write_files)


def trusting() -> None:
    """The same, and a resume that takes what it finds for whole."""
    from backbones import checkpoint
    from backbones.checkpoint import files
    from forecaster import cells

    def newest(folder: Path) -> Path:
        return max(folder.glob("step-*"))

    def unchecked(place: Path, name: str) -> bytes:
        return (place / name).read_bytes()

    def there(run: Any, cell: Any, _: str) -> bool:
        return (run.path / "folds" / f"{cell.name}.predictions.parquet").exists()

    in_place()
    exchange(checkpoint.latest, newest)
    exchange(files.checked_bytes, unchecked)
    exchange(cells.kept, there)


def swallowing() -> None:
    """A writer that says nothing of what the system refused."""
    from backbones import storage
    from forecaster import atomic

    def silent(commit: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with suppress(Exception):
                return commit(*args)
            return ""

        return call

    for commit in (atomic.commit_chunks, storage.write_folder, storage.replace_file):
        exchange(commit, silent(commit))


def littering() -> None:
    """A writer that leaves its unfinished file when it fails."""
    Path.unlink = lambda *_, **__: None  # type: ignore[method-assign]


def telling_all() -> None:
    """A command that lets a traceback through."""
    from forecaster import boundary, cli

    def loud(error: BaseException, **_: object) -> int:
        traceback.print_exception(error)
        return boundary.STORAGE

    cli.exit_code = loud  # type: ignore[attr-defined]


PLANTED = {each.__name__: each for each in (in_place, trusting, swallowing, littering, telling_all)}


def child(command: dict[str, Any]) -> None:
    """All that a forked process does."""
    signal.alarm(LONGEST_S)
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        err = os.open(command["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        out = os.open(f"{command['err']}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor, to in ((null, 0), (out, 1), (err, 2)):
            os.dup2(descriptor, to)
        os.chdir(command["cwd"])
        status = obey(command)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def warm() -> None:
    """Import all that the commands import; a fork must not follow a second thread."""
    import torch

    from forecaster.sessions import exchange_calendar

    torch.set_num_threads(1)
    for name in WARM:
        importlib.import_module(name)
    stand_still()
    keep_often()
    exchange_calendar("XNYS")
    gc.freeze()  # a child's collector need not look at what was here before it
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = sorted(set(threads) - HOUSEKEEPERS - {threads[0]})
    if others:
        raise SystemExit(f"threads {others}: a fork of this process may hang")


def serve() -> None:
    """Obey until stdin ends."""
    warm()
    print("ready 0", flush=True)  # noqa: T201  the protocol
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            status = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
            print(f"ended {status}", flush=True)  # noqa: T201
            continue
        forked = os.fork()
        if forked == 0:
            child(command)
        print(f"forked {forked}", flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
