"""Typed arguments that commands share, and how a command talks."""

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from forecaster import display
from forecaster.config import RunConfig, resolve
from forecaster.errors import UsageError

# Of a resumed run: what is no part of its config.
OF_NO_CONFIG = {"resume", "store", "jobs", "scheduler", "as_json", "quiet", "debug"}
OF_NO_CONFIG |= {"fail_under", "dry_run"}


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a command talks."""

    as_json: bool = False
    quiet: bool = False
    debug: bool = False  # read by the boundary

    def say(self, line: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            display.say([line])

    def result(self, record: dict[str, Any]) -> bool:
        """Print the record if JSON is wanted; whether it was."""
        if self.as_json:
            sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
            sys.stdout.flush()  # some commands go on for long after it
        return self.as_json


@dataclass(frozen=True, kw_only=True)
class Configured(Output):
    """Arguments that a run's config is made of."""

    config: Path | None = None
    settings: tuple[str, ...] = ()
    symbols: str | None = None
    horizons: str | None = None
    store: Path = Path("data")
    out: Path | None = None
    dry_run: bool = False

    def resolved(self, *, quick: bool = False, **flags: Any) -> RunConfig:
        """The config that file, settings and flags ask for."""
        flags |= {
            "symbols": listed(self.symbols),
            "horizons": listed(self.horizons, whole_numbers=True),
        }
        return resolve(self.config, self.settings, flags, quick=quick)


def refuse_with_resume(given: Configured) -> None:
    """A resumed run keeps its config: what would be ignored is refused."""
    for field in fields(given):
        asked = getattr(given, field.name)
        if field.name not in OF_NO_CONFIG and asked != field.default:
            raise UsageError(
                f"--resume keeps the run's own config; {field.name}={asked!r} cannot be changed,"
                " start a new run for that"
            )


def listed(text: str | None, *, whole_numbers: bool = False) -> tuple[Any, ...] | None:
    """`1,5` -> ("1", "5") or (1, 5). Raises UsageError for what is no whole number."""
    if text is None:
        return None
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise UsageError(f"{text!r} names nothing; wanted a comma-separated list")
    if not whole_numbers:
        return parts
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"{text!r}: wanted whole numbers, for example 1,5,20")
    return tuple(int(part) for part in parts)
