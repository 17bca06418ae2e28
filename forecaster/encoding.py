"""How tables stand in parquet files: which columns, and how they are written."""

from typing import Any

import pyarrow as pa

from forecaster.errors import DataError


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Options of a writer: words and keys by dictionary, numbers as they are.

    Hardly a double is there twice: a dictionary of them costs time and room.
    """
    coded = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return {"compression": "zstd", "use_dictionary": coded}


def require_schema(name: str, found: pa.Schema, schema: pa.Schema) -> None:
    """Raise DataError naming the columns that differ."""
    if not found.equals(schema):
        odd = sorted({str(f) for f in found} ^ {str(f) for f in schema}) or ["their order"]
        raise DataError(f"{name}: columns differ from the schema: {', '.join(odd)}")
