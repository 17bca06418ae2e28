"""The store's one commit point: which segment holds which symbol. Replaced whole, never edited."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from forecaster.atomic import commit_json, read_regular
from forecaster.bars import duration
from forecaster.errors import StorageError, UsageError
from forecaster.symbols import Symbol

FORMAT = 1
LIMIT_BYTES = 64 << 20


class Entry(BaseModel):
    """One symbol at one interval."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    symbol: str
    interval: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")  # of the segment file
    content: str = Field(pattern=r"^[0-9a-f]{64}$")  # of the bars: equal on every machine
    rows: int = Field(ge=1)
    first: str  # label of the first bar
    last: str
    source: str
    fetched_at: str

    @property
    def file(self) -> str:
        """Where the segment is, under the folder `bars`. UsageError for names that are not ours."""
        duration(self.interval)
        folder = f"interval={self.interval}/symbol={Symbol(self.symbol).encoded}"
        return f"{folder}/{self.sha256[:16]}.parquet"


class Manifest(BaseModel):
    """All entries; `generation` counts the commits, for clocks go backwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    generation: int = Field(default=0, ge=0)
    entries: tuple[Entry, ...] = ()

    def find(self, symbol: str, interval: str) -> Entry | None:
        """The entry of a symbol at an interval, if there is one."""
        for entry in self.entries:
            if (entry.symbol, entry.interval) == (symbol, interval):
                return entry
        return None

    def with_entry(self, entry: Entry) -> Self:
        """The next generation, with `entry` in place of the one of its symbol and interval."""
        others = {(e.interval, e.symbol): e for e in self.entries}
        others[entry.interval, entry.symbol] = entry
        entries = tuple(others[key] for key in sorted(others))
        return type(self)(generation=self.generation + 1, entries=entries)

    def write(self, path: Path) -> None:
        """Commit."""
        entries = [{**entry.model_dump(), "file": entry.file} for entry in self.entries]
        document = {"format": FORMAT, "generation": self.generation, "entries": entries}
        commit_json(path, {**document, "self": _self_hash(document)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was committed. Raises StorageError for anything else."""
        remedy = "move its folder away and run `forecaster fetch` again"
        try:
            document = json.loads(read_regular(path, LIMIT_BYTES))
            if not isinstance(document, dict):
                raise ValueError("it is not an object")
            found = document.pop("format", None)
            if isinstance(found, int) and found > FORMAT:
                raise StorageError(f"{path} is of format {found}, written by a newer forecaster")
            if found != FORMAT:
                raise ValueError(f"its format is {found}")
            if document.pop("self", None) != _self_hash({"format": found, **document}):
                raise ValueError("its hash is not that of its content")
            files = [entry.pop("file") for entry in document["entries"]]
            manifest = cls.model_validate_json(json.dumps(document))
            if files != [entry.file for entry in manifest.entries]:
                raise ValueError("a file in it is not where its symbol belongs")
        except (ValueError, TypeError, KeyError, RecursionError, UsageError) as error:
            cause = str(error).splitlines()[0]
            raise StorageError(f"{path} is damaged: {cause}: {remedy}") from error
        return manifest


def _self_hash(document: dict[str, Any]) -> str:
    """sha256 of the document without its own hash, written in one way."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
