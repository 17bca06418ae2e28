"""How tables stand in parquet files: which columns, how written, what damage raises."""

from typing import Any

import pyarrow as pa

from forecaster.errors import DataError

# What a damaged file raises: pyarrow leaves the decoding of names and bounds to Python.
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Options of a writer: words and keys by dictionary, numbers as they are, sums of all pages.

    Hardly a double is there twice: a dictionary of them costs time and room.
    """
    coded = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return {"compression": "zstd", "use_dictionary": coded, "write_page_checksum": True}


def require_schema(name: str, found: pa.Schema, schema: pa.Schema) -> None:
    """Raise DataError naming the columns that differ."""
    if not found.equals(schema):
        odd = sorted({str(f) for f in found} ^ {str(f) for f in schema}) or ["their order"]
        raise DataError(f"{name}: columns differ from the schema: {', '.join(odd)}")
