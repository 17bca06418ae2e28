"""A segment and its line in the manifest: each shows whether the other is what was committed."""

import hashlib
from pathlib import Path

from forecaster.atomic import read_regular
from forecaster.bars import Bars
from forecaster.errors import DataError, StorageError, UsageError
from forecaster.provenance import Provenance, content_sha256
from forecaster.store.manifest import Entry
from forecaster.store.segment import decode

LIMIT_BYTES = 512 << 20  # of a segment


def entry_of(bars: Bars, provenance: Provenance, sha256: str) -> Entry:
    """The manifest's line on a segment."""
    return Entry(
        symbol=str(bars.symbol),
        interval=bars.interval,
        sha256=sha256,
        content=content_sha256(bars),
        rows=len(bars),
        first=bars.label(0),
        last=bars.label(-1),
        source=provenance.source,
        fetched_at=provenance.fetched_at,
    )


def read_segment(folder: Path, entry: Entry) -> tuple[Bars, Provenance]:
    """The entry's bars and where they come from, if its file is what was committed.

    Raises StorageError with a remedy.
    """
    path = folder / entry.file
    try:
        data = read_regular(path, LIMIT_BYTES)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise ValueError("its hash is not the one in the manifest")
        bars, provenance = decode(data)
        if (bars.symbol, bars.interval, content_sha256(bars)) != (
            entry.symbol,
            entry.interval,
            entry.content,
        ):
            raise ValueError(f"it holds {bars.symbol} at interval {bars.interval}")
    except (StorageError, DataError, ValueError) as error:
        raise StorageError(
            f"{entry.symbol}: stored file {path} is damaged: {error};"
            f" run `forecaster fetch {entry.symbol}` for all of {entry.first} to {entry.last}"
        ) from error
    return bars, provenance


def adopted(folder: Path, path: Path) -> Entry | None:
    """The line for a segment that no manifest names, if it is whole: its name has its hash."""
    try:
        data = read_regular(path, LIMIT_BYTES)
        entry = entry_of(*decode(data), hashlib.sha256(data).hexdigest())
        return entry if folder / entry.file == path else None
    except (StorageError, DataError, UsageError, ValueError):
        return None
