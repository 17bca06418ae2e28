"""What `forecaster fetch` is asked and what it says: for people, for programs, as an exit code."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forecaster.errors import ForecasterError, PartialError, printable
from forecaster.findings import Quality
from forecaster.store import LOCK_TIMEOUT_S, Status

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = {
    "added": "green",
    "appended": "green",
    "replaced": "yellow",
    "same": "dim",
    "planned": "dim",
    "failed": "red",
}


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What was asked; no symbols means the source's own choice."""

    symbols: tuple[str, ...] = ()
    source: str = "bundled"
    interval: str = "1d"
    start: date | None = None  # the first session
    end: date | None = None  # the last session, included
    path: Path | None = None  # of the file, where the source reads one
    store: Path = Path("data")
    dry_run: bool = False  # look and check, write nothing; a network is not asked
    refetch: bool = False  # ask a network for all of it again
    lock_timeout_s: float = LOCK_TIMEOUT_S  # patience with another writer


@dataclass(frozen=True, kw_only=True)
class FetchRecord:
    """What became of one symbol. With `dry_run`, what would have."""

    symbol: str
    status: Status | Literal["failed", "planned"]
    change: str = ""  # what a network's answer did to what was stored
    rows_added: int = 0  # of times that had no bar, or none that could be read
    rows_total: int = 0  # stored now
    first: str = ""  # label of the first bar that is stored now
    last: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""
    quality: Quality | None = None  # of the bars that are stored now

    @property
    def line(self) -> str:
        """One line for people, while others are still being fetched."""
        if self.error:
            told = self.error.removeprefix(f"{self.symbol}: ")
            return f"{self.symbol}: failed: {told}"
        bars = f"{self.rows_total} bars, {self.first} to {self.last}" if self.first else "no bars"
        kind = f" ({self.change})" if self.change not in ("", self.status) else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.symbol}: {self.status}{kind}: {self.rows_added} new; {bars}{notes}"


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What became of every symbol."""

    request: FetchRequest
    records: tuple[FetchRecord, ...]
    errors: Mapping[str, ForecasterError]  # by symbol

    @property
    def failure(self) -> ForecasterError | None:
        """None where all went well, the first error where all failed, else PartialError."""
        if not self.errors:
            return None
        first = next(iter(self.errors.values()))
        if len(self.errors) == len(self.records):
            return first
        return PartialError(
            f"{len(self.errors)} of {len(self.records)} symbols failed, the rest is stored: {first}"
        )

    @property
    def exit_code(self) -> int:
        """0, 8 where some failed, else the code of the first error."""
        return self.failure.exit_code if self.failure else 0

    def as_json(self) -> dict[str, Any]:
        """One object for `--json`."""
        return {
            "source": self.request.source,
            "interval": self.request.interval,
            "store": str(self.request.store),
            "dry_run": self.request.dry_run,
            "exit_code": self.exit_code,
            "symbols": [_plain(record) for record in self.records],
        }

    def as_lines(self) -> list[str]:
        """What is odd about the bars, a line a symbol."""
        return [record.quality.line for record in self.records if record.quality]

    def as_table(self) -> "Table":
        """A table for people."""
        from rich.table import Table
        from rich.text import Text

        dry = ", dry run: nothing is written" if self.request.dry_run else ""
        title = f"{self.request.source} -> {self.request.store} ({self.request.interval}{dry})"
        names = ("symbol", "status", "added", "bars", "first", "last", "notes")
        table = Table(*names, title=Text(title))
        for r in self.records:
            added, total = (str(r.rows_added), str(r.rows_total)) if not r.error else ("", "")
            notes = Text(printable(r.error or "; ".join(r.notes)))  # brackets are no markup
            status = Text(r.status, style=SHOWN[r.status])
            table.add_row(r.symbol, status, added, total, r.first, r.last, notes)
        return table


def _plain(record: FetchRecord) -> dict[str, Any]:
    """A record as JSON can say it."""
    quality = record.quality.model_dump(mode="json") if record.quality else None
    return asdict(replace(record, quality=None)) | {"quality": quality}
