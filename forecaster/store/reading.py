"""A segment and its line in the manifest: each shows whether the other is what was committed."""

import hashlib
from pathlib import Path

from forecaster.atomic import may_pass, read_regular
from forecaster.bars import Bars
from forecaster.errors import DataError, StorageError, UsageError
from forecaster.provenance import Provenance, content_sha256
from forecaster.store.manifest import DamagedError, Entry, NewerStoreError
from forecaster.store.sealed import NewerFormatError
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

    Raises DamagedError with a remedy, NewerStoreError, StorageError where it cannot be read at
    the moment.
    """
    path = folder / entry.file
    try:
        data = read_regular(path, LIMIT_BYTES)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise ValueError("its hash is not the one in the manifest")
        bars, provenance = _decoded(path, data)
        if (bars.symbol, bars.interval, content_sha256(bars)) != (
            entry.symbol,
            entry.interval,
            entry.content,
        ):
            raise ValueError(f"it holds {bars.symbol} at interval {bars.interval}")
    except NewerStoreError:
        raise
    except (StorageError, DataError, ValueError) as error:
        if may_pass(error):
            raise
        again = f"forecaster fetch {entry.symbol} --source {entry.source}"
        raise DamagedError(
            f"{entry.symbol}: stored file {path} is damaged: {error}; run `{again} --interval"
            f" {entry.interval}` for all of {entry.first} to {entry.last}"
        ) from error
    return bars, provenance


def adopted(folder: Path, path: Path) -> Entry | None:
    """The line for a segment that no manifest names, if it is whole: its name has its hash.

    Raises NewerStoreError, StorageError where it cannot be read at the moment.
    """
    try:
        data = read_regular(path, LIMIT_BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        if path.stem != sha256[:16]:
            return None
        entry = entry_of(*_decoded(path, data), sha256)
        return entry if folder / entry.file == path else None
    except NewerStoreError:
        raise
    except (StorageError, DataError, UsageError, ValueError) as error:
        if may_pass(error):
            raise
        return None


def _decoded(path: Path, data: bytes) -> tuple[Bars, Provenance]:
    """As `decode`, but for NewerStoreError."""
    try:
        return decode(data)
    except NewerFormatError as error:
        raise NewerStoreError(f"{path}: {error}: install that one") from error
