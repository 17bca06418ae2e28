"""The store's one commit point: which segment holds which symbol. Replaced whole, never edited."""

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from forecaster.atomic import commit_json, may_pass, read_regular
from forecaster.bars import duration
from forecaster.errors import StorageError, UsageError
from forecaster.store.sealed import NewerFormatError, seal, unseal
from forecaster.symbols import Symbol

FORMAT = 1
LIMIT_BYTES = 64 << 20


class NewerStoreError(StorageError):
    """A store that a later version wrote: nothing to mend."""


class DamagedError(StorageError):
    """A manifest or a segment that does not hold what was written."""


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

    def without(self, entry: Entry) -> Self:
        """The next generation, which does not name `entry`."""
        entries = tuple(each for each in self.entries if each != entry)
        return type(self)(generation=self.generation + 1, entries=entries)

    def write(self, path: Path) -> None:
        """Commit."""
        entries = [{**entry.model_dump(), "file": entry.file} for entry in self.entries]
        commit_json(path, seal({"generation": self.generation, "entries": entries}, FORMAT))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was committed.

        Raises NewerStoreError, DamagedError, StorageError where it cannot be read at the moment.
        """
        try:
            document = unseal(read_regular(path, LIMIT_BYTES), FORMAT)
            files = [entry.pop("file") for entry in document["entries"]]
            manifest = cls.model_validate_json(json.dumps(document))
            if files != [entry.file for entry in manifest.entries]:
                raise ValueError("a file in it is not where its symbol belongs")
        except NewerFormatError as error:
            raise NewerStoreError(f"{path}: {error}: install that one") from error
        except (ValueError, TypeError, KeyError, UsageError, StorageError) as error:
            if may_pass(error):
                raise
            cause = str(error).splitlines()[0]
            raise DamagedError(
                f"{path} is damaged: {cause}: run `forecaster store repair --store"
                f" {path.parents[1]}`"
            ) from error
        return manifest
