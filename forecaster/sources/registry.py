"""Sources by name: the one place that knows them all."""

from collections.abc import Callable
from pathlib import Path

from forecaster.errors import UsageError, suggestion
from forecaster.sources.bundled import Bundled
from forecaster.sources.csv_format import parse_csv
from forecaster.sources.files import FileSource
from forecaster.sources.foreign import foreign
from forecaster.sources.parquet_format import parse_parquet
from forecaster.sources.protocol import Source
from forecaster.sources.samples import Samples
from forecaster.sources.synthetic import Synthetic
from forecaster.sources.tradingview_format import parse_tradingview
from forecaster.sources.yahoo import Yahoo

FORMATS = {"csv": parse_csv, "parquet": parse_parquet, "tradingview": parse_tradingview}
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
        case _ if name in FORMATS:
            export = name == "tradingview"
            file = _wanted(name, path, "csv" if export else name)
            return FileSource(name, file, FORMATS[name], cuts_open_bar=export)
        case _ if ":" in name:
            return foreign(name, path)
        case _:
            raise UsageError(f"source {name!r} is unknown{suggestion(name, SOURCES)}")


def fetch_command(symbol: str, interval: str, name: str) -> str:
    """What brings bars of the source `name` again; an empty name is one that nobody knows."""
    path = " --path FILE" if name in FORMATS else ""
    return f"forecaster fetch {symbol} --source {name or 'SOURCE'} --interval {interval}{path}"


def _refuse(name: str, path: Path | None) -> None:
    if path is not None:
        raise UsageError(f"source {name} reads no file: leave out --path {path}")


def _wanted(name: str, path: Path | None, ending: str) -> Path:
    if path is None:
        raise UsageError(f"source {name} reads a file: add --path FILE.{ending}")
    return path
