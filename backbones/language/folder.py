"""The files of a run's folder that are not training's own.

config.resolved.json (the plan), tokenizer.json, environment.json, summary.json, status.json;
training itself keeps metrics.jsonl and checkpoints/.
"""

import json
import platform
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError

from ..config import Record
from ..errors import CheckpointError
from ..storage import held, replace_file, to_json, write_folder
from ..text.tokenizer import Tokenizer, TokenizerFile
from .plan import TextPlan, first_fault

AnyRecord = TypeVar("AnyRecord", bound=Record)


def write_plan(folder: Path, plan: TextPlan, tokenizer: Tokenizer) -> None:
    """Make the folder with what the run is in it, or nothing: a run is there whole, or not."""
    here = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }
    files = {
        "config.resolved.json": plan.to_json().encode(),
        "tokenizer.json": TokenizerFile(tokenizer=tokenizer).to_json().encode(),
        "environment.json": to_json(here),
    }
    write_folder(folder, files)


def read_plan(folder: Path) -> TextPlan:
    """The plan of a run; CheckpointError where the folder is none, or the plan is damaged."""
    return parsed(folder / "config.resolved.json", TextPlan)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokeniser of a run."""
    return parsed(folder / "tokenizer.json", TokenizerFile).tokenizer


def parsed(path: Path, record: type[AnyRecord]) -> AnyRecord:
    """The record in a JSON file; CheckpointError where it is missing or damaged."""
    text = read_text(path)
    try:
        return record.from_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: {first_fault(error)}") from error


def read_text(path: Path) -> str:
    """A file of a run; CheckpointError where it is missing."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path.parent} is no run: {path.name} cannot be read") from error


def training_seconds(folder: Path) -> float:
    """Time spent in steps, those before a resume included."""
    lines = read_text(folder / "metrics.jsonl").splitlines()
    return sum(event["seconds"] for event in map(json.loads, lines) if event["event"] == "step")


@contextmanager
def status(folder: Path) -> Generator[None]:
    """Keep status.json true: running, then done, interrupted, or failed with the reason.

    LockedError, and nothing is written, where another process is at the run.
    """
    with held(folder), sigterm_raised():
        write_status(folder, "running", None)
        try:
            yield
        except KeyboardInterrupt:
            write_status(folder, "interrupted", None)
            raise
        except Exception as error:
            write_status(folder, "failed", str(error) or type(error).__name__)
            raise
        write_status(folder, "done", None)


def write_status(folder: Path, state: str, reason: str | None) -> None:
    """One state, with the time it began."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    replace_file(folder / "status.json", to_json({"state": state, "since": now, "reason": reason}))


@contextmanager
def sigterm_raised() -> Generator[None]:
    """SIGTERM ends what is inside as Ctrl-C would: KeyboardInterrupt, saying "terminated".

    Of several the first counts: a launcher and its group may both be told to stop. Signals are the
    main thread's alone; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt("terminated")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
