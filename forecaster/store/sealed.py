"""JSON that knows its own format and hash: a changed character is damage, not another value."""

import hashlib
import json
from typing import Any

OWN_HASH = "self"


class NewerFormatError(ValueError):
    """A format of the future: sound perhaps, and nothing that we may mend."""


def seal(document: dict[str, Any], number: int) -> dict[str, Any]:
    """The document with its format's number and its hash."""
    document = {**document, "format": number}
    return {**document, OWN_HASH: _hash(document)}


def unseal(data: bytes, number: int) -> dict[str, Any]:
    """The document in `data`. Raises NewerFormatError, and ValueError for anything else."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested without an end") from None
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    found = document.get("format")
    if isinstance(found, int) and found > number:
        raise NewerFormatError(f"it is of format {found}, written by a newer forecaster")
    if found != number:
        raise ValueError(f"its format is {found}")
    if document.pop(OWN_HASH, None) != _hash(document):
        raise ValueError("its hash is not that of its content")
    del document["format"]
    return document


def _hash(document: dict[str, Any]) -> str:
    """sha256 of the document without its own hash, written in one way."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
