"""Every failure that a user can cause or meet, one tree: each has its subject and exit code.

ForecasterError            1   our own bug, when nothing below fits
    UsageError             2   an option, a configuration, a name
    DataError              3   bars that cannot be used
        IllegalBarError    3   one of them, by its index
    ProviderError          4   a provider or the network
    StorageError           5   a disk, a store, a damaged file
    CheckpointError        6   a trained model that is missing, damaged, or of another kind
    DivergedError          7   training that left the finite numbers
    PartialError           8   some of many failed; the rest is kept
    LockedError            9   another process holds the lock
    GateError             11   `--fail-under` was not reached; an audit or the doctor found a fault
"""

import difflib
import unicodedata
from collections.abc import Iterable

MOST_SHOWN = 12  # known words in a message


class ForecasterError(Exception):
    """One line: the subject, what was found, and what to do about it."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(" ".join(str(arg) for arg in self.args))


class UsageError(ForecasterError):
    """An option, a configuration key or a name that means nothing to us."""

    exit_code = 2


class DataError(ForecasterError):
    """Bars that break the rules of a legal bar, or are too few."""

    exit_code = 3


class IllegalBarError(DataError):
    """A bar that no market prints: its index, the column that shows it, the rule it breaks."""

    def __init__(self, message: str, bar: int, column: str, rule: str) -> None:
        super().__init__(message, bar, column, rule)  # all of it, so that processes can pass it on
        self.bar, self.column, self.rule = bar, column, rule

    def __str__(self) -> str:
        return printable(self.args[0])


class ProviderError(ForecasterError):
    """A source that did not answer, or answered with something else."""

    exit_code = 4


class StorageError(ForecasterError):
    """A file that cannot be written, or does not hold what was written."""

    exit_code = 5


class CheckpointError(ForecasterError):
    """A trained model that is missing, damaged, or of another kind."""

    exit_code = 6


class DivergedError(ForecasterError):
    """Training left the finite numbers; the last good state is kept."""

    exit_code = 7


class PartialError(ForecasterError):
    """Some of many failed; what succeeded is kept."""

    exit_code = 8


class LockedError(ForecasterError):
    """Another process is writing to the same place."""

    exit_code = 9


class GateError(ForecasterError):
    """What was asked does not hold: a skill of `--fail-under`, an audit's law, a doctor's check."""

    exit_code = 11


def printable(text: str) -> str:
    """Text with control, bidirectional and surrogate characters escaped: harmless to print."""
    return "".join(
        c
        if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        else ascii(c)[1:-1]
        for c in text
    )


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, else the first of them, else nothing."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5) or difflib.get_close_matches(
        word.upper(), names, n=1, cutoff=0.5
    )
    if near:
        return f"; did you mean {near[0]!r}?"
    more = ", ..." if len(names) > MOST_SHOWN else ""
    return f"; known: {', '.join(names[:MOST_SHOWN])}{more}" if names else ""
