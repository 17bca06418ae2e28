"""Files of the store's folders that no manifest needs. Only a holder of the lock may remove any."""

from contextlib import suppress
from pathlib import Path

from forecaster.atomic import TEMPORARY
from forecaster.store.manifest import Manifest
from forecaster.store.notes import note_path

SEGMENT_FILES = "interval=*/symbol=*/*"


def leftovers(folder: Path, *manifests: Manifest) -> list[Path]:
    """Unfinished files, and segments and notes that belong to none of `manifests`."""
    segments = {folder / entry.file for manifest in manifests for entry in manifest.entries}
    named = segments | {note_path(path) for path in segments}
    found = [*folder.glob(SEGMENT_FILES), *folder.glob(f"{TEMPORARY}*")]
    return sorted(path for path in found if path not in named)


def remove(paths: list[Path]) -> None:
    """Remove what can be removed; a failure does no harm."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
