"""The quality report of a segment, in a file beside it that goes when the segment goes.

It is made from the bars and can be made again: a report that is missing or damaged costs nothing.
"""

from pathlib import Path

from pydantic import ValidationError

from forecaster.atomic import commit_json, read_regular
from forecaster.errors import StorageError
from forecaster.findings import Quality
from forecaster.store.manifest import Entry
from forecaster.store.sealed import NewerFormatError, seal, unseal

FORMAT = 1
SUFFIX = ".quality.json"
LIMIT_BYTES = 1 << 20


def note_path(segment: Path) -> Path:
    """Where the report on `segment` is."""
    return segment.with_suffix(SUFFIX)


def write_note(segment: Path, entry: Entry, quality: Quality) -> None:
    """Keep the report on the segment of `entry`; one that a later version wrote stays."""
    try:
        if read_note(segment, entry) == quality:
            return
    except NewerFormatError:
        return
    except ValueError:  # damage, which is mended by this
        pass
    document = {"segment": entry.sha256, "quality": quality.model_dump(mode="json")}
    commit_json(note_path(segment), seal(document, FORMAT))


def read_note(segment: Path, entry: Entry) -> Quality | None:
    """The report on the segment of `entry`; None where there is none.

    Raises NewerFormatError for one that a later version wrote, ValueError for damage.
    """
    path = note_path(segment)
    if not path.exists():
        return None
    try:
        document = unseal(read_regular(path, LIMIT_BYTES), FORMAT)
        if document["segment"] != entry.sha256:
            raise ValueError("it is on another segment")
        return Quality.model_validate(document["quality"])
    except (StorageError, ValidationError, KeyError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
