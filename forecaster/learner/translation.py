"""Errors of backbones as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from backbones.errors import BackbonesError
from forecaster.errors import (
    CheckpointError,
    DivergedError,
    ForecasterError,
    StorageError,
    UsageError,
)

ERRORS: dict[int, type[ForecasterError]] = {
    2: UsageError,
    5: StorageError,
    6: CheckpointError,
    7: DivergedError,
}


@contextmanager
def translated() -> Iterator[None]:
    """Errors of backbones as ours, with the same exit code and words."""
    try:
        yield
    except BackbonesError as error:
        raise ERRORS.get(error.exit_code, ForecasterError)(str(error)) from error
