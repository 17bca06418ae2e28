"""A user's file as a source: opened by us and parsed from memory, never handed on as a path.

Libraries that are given a path may fetch a URL, follow a link or expand a pattern.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from forecaster.atomic import read_regular
from forecaster.bars import duration
from forecaster.errors import UsageError, printable
from forecaster.provenance import Provenance
from forecaster.sources.protocol import Delivery, clip, now_utc, utc_clock
from forecaster.sources.strict import LAST_TIME, NO_VOLUME, Table, legal_bars
from forecaster.symbols import Symbol

LIMIT_BYTES = 256 << 20


@dataclass(frozen=True)
class FileSource:
    """One file with one symbol's bars. `parse` makes a table of (name, content, interval)."""

    name: str  # the format: csv, parquet
    path: Path
    parse: Callable[[str, bytes, str], Table]
    cuts_open_bar: bool = False  # its exports end with the bar of the open session
    clock: Callable[[], np.datetime64] = utc_clock

    def symbols(self) -> tuple[Symbol, ...]:
        """The symbol that the file is named after: AAPL.csv, %5EGSPC.parquet."""
        try:
            return (Symbol.decoded(self.path.stem),)
        except UsageError:
            shown = printable(self.path.name)[:40]
            raise UsageError(
                f"file name {shown!r} is not a symbol: name it, as in"
                f" forecaster fetch AAPL --source {self.name} --path FILE"
            ) from None

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """The file's bars, refused whole at the first fault."""
        duration(interval)
        if self.path.is_dir():
            raise UsageError(f"--path {self.path} is a directory: name a file in it")
        if not self.path.exists():
            raise UsageError(f"--path {self.path}: there is no such file: name one")
        data = read_regular(self.path, LIMIT_BYTES)
        table = self._complete(self.parse(self.path.name, data, interval), interval)
        bars = legal_bars(table, symbol, interval)
        provenance = Provenance(
            source=self.name,
            package="",
            version="",
            sha256=hashlib.sha256(data).hexdigest(),
            fetched_at=now_utc(),
            notes=table.notes if "volume" in table.columns else (*table.notes, NO_VOLUME),
        )
        return Delivery(clip(bars, start, end), provenance)

    def _complete(self, table: Table, interval: str) -> Table:
        """The table without bars that are not over yet. Raises DataError where none may be."""
        late = table.times + duration(interval) > self.clock()
        late = np.flatnonzero(late & (table.times < LAST_TIME))  # beyond, no bar is legal
        if len(late) == 0:
            return table
        row, over = int(late[0]), table.times[late[0]] + duration(interval)
        until = f"is not over until {over.astype('datetime64[s]')} UTC"
        if self.cuts_open_bar and row == len(table.times) - 1 > 0:
            return table.head(row, f"the last bar {until}: left out")
        raise table.fault(row, "date", f"the bar {until}; drop the {table.place} until then")
