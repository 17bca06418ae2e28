"""Sources by name: the one place that knows them all."""

from pathlib import Path

from forecaster.errors import UsageError, suggestion
from forecaster.sources.bundled import Bundled
from forecaster.sources.csv_format import parse_csv
from forecaster.sources.files import FileSource
from forecaster.sources.parquet_format import parse_parquet
from forecaster.sources.protocol import Source
from forecaster.sources.samples import Samples
from forecaster.sources.synthetic import Synthetic
from forecaster.sources.yahoo import Yahoo

SOURCES = ("bundled", "csv", "parquet", "samples", "synthetic", "yahoo")


def source(name: str, path: Path | None = None) -> Source:
    """The source `name`. Raises UsageError for an unknown name, a path missing, a path too many."""
    match name:
        case "bundled":
            _refuse(name, path)
            return Bundled()
        case "samples":
            _refuse(name, path)
            return Samples()
        case "synthetic":
            _refuse(name, path)
            return Synthetic()
        case "yahoo":
            _refuse(name, path)
            return Yahoo()
        case "csv":
            return FileSource(name, _wanted(name, path), parse_csv)
        case "parquet":
            return FileSource(name, _wanted(name, path), parse_parquet)
        case _:
            raise UsageError(f"source {name!r} is unknown{suggestion(name, SOURCES)}")


def _refuse(name: str, path: Path | None) -> None:
    if path is not None:
        raise UsageError(f"source {name} reads no file: leave out --path {path}")


def _wanted(name: str, path: Path | None) -> Path:
    if path is None:
        raise UsageError(f"source {name} reads a file: add --path FILE.{name}")
    return path
