"""Where errors end: one line on stderr, its exit code, and a saved traceback for our own bugs."""

import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType

from forecaster.errors import ForecasterError, printable

WIDEST = 240  # characters of an error line
INTERRUPTED, TERMINATED, BROKEN_PIPE, OUT_OF_MEMORY, STORAGE, BUG = 130, 143, 141, 10, 5, 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as Ctrl-C: abandon the unit of work, keep what is done."""


def raise_on_sigterm() -> None:
    """Let SIGTERM end the program the way Ctrl-C does."""

    def terminate(_: int, __: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def exit_code(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what went wrong; the exit code that belongs to it."""
    match error:
        case Terminated():
            return TERMINATED
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        case SystemExit():
            return error.code if isinstance(error.code, int) else BUG
        case _:
            line, code = _complaint(error, debug=debug)
    if debug:
        sys.stderr.write(_traceback(error))
    sys.stderr.write(f"forecaster: error: {one_line(line)}\n")
    return code


def _complaint(error: BaseException, *, debug: bool) -> tuple[str, int]:
    """What to say of an error, and its exit code."""
    match error:
        case ForecasterError():
            return str(error), error.exit_code
        case MemoryError():
            return "out of memory; use fewer symbols or --jobs 1", OUT_OF_MEMORY
        case OSError():
            name = printable(str(error.filename or "a file"))[:120]
            return f"{name}: {error.strerror or error}", STORAGE
        case _:
            where = "" if debug else f"; traceback in {_save_traceback(error)}"
            return f"our bug: {type(error).__name__}: {error}{where}", BUG


def one_line(text: str) -> str:
    """Printable, on one line, and short enough to read."""
    clean = printable(" ".join(text.split()))
    return clean if len(clean) <= WIDEST else clean[: WIDEST - 3] + "..."


def _save_traceback(error: BaseException) -> Path:
    handle, name = tempfile.mkstemp(prefix="forecaster-", suffix=".traceback")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_traceback(error))
    return Path(name)


def _traceback(error: BaseException) -> str:
    """Its lines, harmless to print: messages and names in it come from files."""
    return harmless("".join(traceback.format_exception(error)))


def harmless(text: str) -> str:
    """Several lines, each of them printable."""
    return "\n".join(printable(line) for line in text.split("\n"))
