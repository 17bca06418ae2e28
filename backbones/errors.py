"""What can go wrong outside the code: one tree, each branch with the exit code of the command line.

A caller's bad argument to a function of the library is a `ValueError`; what is here is the world's
fault (a file, a network, a run that diverged) or the command line's.
"""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories that move a cursor or hide text


def printable(text: str) -> str:
    """Text with control, bidirectional and surrogate characters escaped, line ends kept."""
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in INVISIBLE else ascii(c)[1:-1] for c in text
    )


class BackbonesError(Exception):
    """Says in one line what was wrong, with its value, and what to do."""

    exit_code = 1


class UsageError(BackbonesError):
    """The command asks for something that does not exist or that must not be overwritten."""

    exit_code = 2


class CorpusError(BackbonesError):
    """A text cannot be used: wrong checksum, wrong encoding, too short, unknown characters."""

    exit_code = 3


class SourceError(BackbonesError):
    """No source of a named corpus answered."""

    exit_code = 4


class StorageError(BackbonesError):
    """The disk refused: a folder in the way, no space, no permission."""

    exit_code = 5


class CheckpointError(BackbonesError):
    """A checkpoint is missing, damaged, or of another configuration."""

    exit_code = 6


class DivergedError(BackbonesError):
    """The loss or a gradient is not a finite number.

    The parameters are as they were before that step.
    """

    exit_code = 7


class LockedError(BackbonesError):
    """Another process works on the run."""

    exit_code = 9


class UnequalError(BackbonesError):
    """Two ways that should compute the same do not: to time them would compare nothing."""


class RankError(BackbonesError):
    """Another process of a run that several make together failed, or is gone."""

    exit_code = 12
