"""Sources by name: the one place that knows them all."""

from collections.abc import Callable
from pathlib import Path

from forecaster.errors import UsageError, suggestion
from forecaster.sources.bundled import Bundled
from forecaster.sources.csv_format import parse_csv
from forecaster.sources.files import FileSource
from forecaster.sources.foreign import Foreign
from forecaster.sources.parquet_format import parse_parquet
from forecaster.sources.protocol import Source
from forecaster.sources.samples import Samples
from forecaster.sources.synthetic import Synthetic
from forecaster.sources.tradingview_format import parse_tradingview
from forecaster.sources.yahoo import Yahoo

SOURCES = ("bundled", "csv", "parquet", "samples", "synthetic", "tradingview", "yahoo")


def source(name: str, path: Path | None = None) -> Source:
    """The source `name`. Raises UsageError for an unknown name, a path missing, a path too many."""
    match name:
        case "bundled" | "samples" | "synthetic" | "yahoo":
            _refuse(name, path)
            plain: dict[str, Callable[[], Source]] = {
                "bundled": Bundled,
                "samples": Samples,
                "synthetic": Synthetic,
                "yahoo": Yahoo,
            }
            return plain[name]()
        case "csv":
            return FileSource(name, _wanted(name, path), parse_csv)
        case "parquet":
            return FileSource(name, _wanted(name, path), parse_parquet)
        case "tradingview":
            export = _wanted(name, path, "csv")
            return FileSource(name, export, parse_tradingview, cuts_open_bar=True)
        case _ if ":" in name:
            return Foreign(name, path)
        case _:
            raise UsageError(f"source {name!r} is unknown{suggestion(name, SOURCES)}")


def _refuse(name: str, path: Path | None) -> None:
    if path is not None:
        raise UsageError(f"source {name} reads no file: leave out --path {path}")


def _wanted(name: str, path: Path | None, ending: str = "") -> Path:
    if path is None:
        raise UsageError(f"source {name} reads a file: add --path FILE.{ending or name}")
    return path
