"""What has been tried on which bars: one line a configuration, appended, never rewritten.

DIR/ledger.jsonl, beside the bars that it speaks of, and DIR/ledger.lock, held while a line is
written. A line holds the hash of the line before it, so that a missing one shows. Reading never
fails on a damaged line: what can be read is counted, and the damage is said. A last line that a
killed process left unfinished is none: a backtest is entered before its summary is written, so that
nobody has read of its trial, which is entered when the run is resumed.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from forecaster.atomic import make_directory, read_regular, reason
from forecaster.errors import StorageError
from forecaster.store.lock import locked

NAME = "ledger.jsonl"
LIMIT_BYTES = 64 << 20
LOCK_TIMEOUT_S = 10.0


class Trial(BaseModel):
    """One configuration that was scored on one stretch of bars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str  # UTC
    config: str  # sha256
    data: str  # sha256 of the bars
    symbols: tuple[str, ...]
    interval: str
    test_from: str  # days
    test_until: str
    vault: str
    headline: str

    def overlaps(self, other: "Trial") -> bool:
        """Whether some symbol's bars of some day were in the tests of both."""
        return (
            self.interval == other.interval
            and bool(set(self.symbols) & set(other.symbols))
            and self.test_from <= other.test_until
            and other.test_from <= self.test_until
        )


@dataclass(frozen=True)
class Book:
    """A ledger as it can be read."""

    trials: tuple[Trial, ...]
    damaged: tuple[int, ...]  # line numbers, from 1: unreadable, or not after what they followed

    def rivals(self, trial: Trial) -> set[str]:
        """Configurations scored on bars that this one's test has too, its own among them."""
        return {each.config for each in self.trials if each.overlaps(trial)} | {trial.config}

    def openings(self, trial: Trial) -> set[str]:
        """Those of them that opened the vault."""
        opened = Book(tuple(each for each in self.trials if each.vault == "open"), ())
        own = {trial.config} if trial.vault == "open" else set[str]()
        return {each.config for each in opened.trials if each.overlaps(trial)} | own

    def holds(self, trial: Trial) -> bool:
        """Whether the same question was asked of the same bars: the answer is the same then."""
        return any((t.config, t.data) == (trial.config, trial.data) for t in self.trials)


def read(root: Path) -> Book:
    """The ledger of a store, empty where there is none. StorageError where it cannot be opened."""
    path = root / NAME
    return _book(_finished(read_regular(path, LIMIT_BYTES))) if path.exists() else Book((), ())


def refuse_damage(root: Path, book: Book) -> None:
    """Raises StorageError, with the first damaged line, for a book that is not whole."""
    if book.damaged:
        raise StorageError(
            f"{root / NAME}: line {book.damaged[0]} is damaged or follows one that is missing"
            f" ({len(book.damaged)} such, {len(book.trials)} can be read): put a copy of it back"
        )


def enter(root: Path, trial: Trial) -> Book:
    """Append a trial unless it is there; the book with it. StorageError or LockedError if not."""
    path = root / NAME
    try:
        make_directory(root)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot write {path}: {reason(error)}") from error
    with locked(root / "ledger.lock", LOCK_TIMEOUT_S):
        before = _finished(read_regular(path, LIMIT_BYTES)) if path.exists() else b""
        book = _book(before)
        if book.holds(trial):
            return book
        lines = before.splitlines()
        record = {"after": _hash(lines[-1] if lines else b""), **trial.model_dump(mode="json")}
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        # A line whose end alone was lost must not swallow this one.
        whole = before.endswith(b"\n") or not before
        _append(path, line if whole else b"\n" + line, len(before))
        return Book((*book.trials, trial), book.damaged)


def _append(path: Path, data: bytes, size: int) -> None:
    """One write behind `size` bytes, forced to disk; of a line that does not fit nothing stays.

    Raises StorageError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
        try:
            if os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {reason(error)}") from error


def _finished(data: bytes) -> bytes:
    """Without a last line that breaks off; one that lacks its end alone is whole."""
    end = data.rfind(b"\n") + 1
    with suppress(ValueError, RecursionError):
        json.loads(data[end:])
        return data
    return data[:end]


def _book(data: bytes) -> Book:
    trials, damaged, before = [], [], b""
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            record = json.loads(line)
            if record.pop("after") != _hash(before):
                damaged.append(number)
            trials.append(Trial.model_validate(record))
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError, RecursionError):
            damaged.append(number)
        before = line
    return Book(tuple(trials), tuple(dict.fromkeys(damaged)))


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
