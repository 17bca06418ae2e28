"""Real market bars that lie inside installed packages: no network, no account, known to the byte.

The files are found through the packages' metadata, so nothing is imported, and are read only if
their sha256 is the one compiled in here. Nothing is copied: data/README.md has the licences.
"""

import csv
import gzip
import io
from dataclasses import dataclass
from datetime import date

import numpy as np

from forecaster.bars import Bars
from forecaster.errors import DataError, UsageError, suggestion
from forecaster.sources.installed import InstalledFile
from forecaster.sources.protocol import Delivery, clip
from forecaster.symbols import Symbol


@dataclass(frozen=True)
class Series:
    """One symbol in a file; `close_column` is set where only closes are published."""

    file: InstalledFile
    ticker: str = ""
    close_column: str = ""


SP500 = InstalledFile(
    "arch",
    "8.0.0",
    "arch/data/sp500/sp500.csv.gz",
    "1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de",
)
NASDAQ = InstalledFile(
    "arch",
    "8.0.0",
    "arch/data/nasdaq/nasdaq.csv.gz",
    "b2009535343ebb14e0aa11ed086788d2997a416ffe4f9450eed9a561ae30ac59",
)
WTI = InstalledFile(
    "arch",
    "8.0.0",
    "arch/data/wti/wti.csv.gz",
    "b83498894138a65cdc14a67fc1716aa90b3cfda274f976bd3692cc3f1500084d",
)
VIX = InstalledFile(
    "arch",
    "8.0.0",
    "arch/data/vix/vix.csv.gz",
    "410bd07360dc798f7206d681b8347c6150e7fbd8b05fb1ae29bbe2c9985d66ef",
)
STOCKS = InstalledFile(
    "bokeh-sampledata",
    "2026.1",
    "bokeh_sampledata/_data/stocks.csv.gz",
    "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd",
)
# The close-only series have their names at FRED: levels of a spot and an index, not CL=F or a fund.
CATALOGUE = {
    Symbol("^GSPC"): Series(SP500),
    Symbol("^IXIC"): Series(NASDAQ),
    Symbol("DCOILWTICO"): Series(WTI, close_column="DCOILWTICO"),
    Symbol("VIXCLS"): Series(VIX, close_column="vix"),
    **{Symbol(t): Series(STOCKS, ticker=t) for t in ("AAPL", "IBM", "MSFT", "GOOG", "FB")},
}

# What every command uses when nobody names symbols.
DEFAULT_UNIVERSE = tuple(Symbol(s) for s in ("^GSPC", "^IXIC", "AAPL", "IBM", "MSFT", "GOOG"))


class Bundled:
    """The catalogue above as a source of daily bars."""

    name = "bundled"

    def symbols(self) -> tuple[Symbol, ...]:
        """The default universe; the catalogue has a few more."""
        return DEFAULT_UNIVERSE

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """Daily bars as printed, with `adjustment` = adjusted close / close."""
        if symbol not in CATALOGUE:
            raise DataError(
                f"{symbol}: not among the bundled symbols{suggestion(symbol, CATALOGUE)}"
                f" (bundled: {' '.join(CATALOGUE)})"
            )
        if interval != "1d":
            raise UsageError(f"{symbol}: bundled bars have interval 1d, not {interval}")
        series = CATALOGUE[symbol]
        bars, notes = _parse(symbol, series, series.file.read())
        exchange = "" if series.close_column else "XNYS"  # FRED's days are no exchange's
        provenance = series.file.provenance(self.name, notes)
        return Delivery(clip(bars, start, end), provenance, exchange)


def _parse(symbol: Symbol, series: Series, data: bytes) -> tuple[Bars, tuple[str, ...]]:
    """The series' bars and what is to be noted of them."""
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(data).decode())))
    rows = [row for row in rows if row.get("Ticker", "") == series.ticker]
    close_column = series.close_column or "Close"
    holes = sum(row[close_column] == "." for row in rows)
    rows = [row for row in rows if row[close_column] != "."]
    days = [_iso(row["Date"]) for row in rows]

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    close, unknown = column(close_column), np.full(len(rows), np.nan)
    whole = not series.close_column
    bars = Bars(
        symbol=symbol,
        opened_at=np.array(days, dtype="datetime64[us]"),
        open=column("Open") if whole else unknown,
        high=column("High") if whole else unknown,
        low=column("Low") if whole else unknown,
        close=close,
        volume=column("Volume") if whole else unknown,
        adjustment=column("Adj Close") / close if whole else np.ones(len(rows)),
    )
    notes = []
    if holes:
        notes.append(f"{holes} days without a value dropped")
    if not whole:
        notes.append("only closes are published: open, high, low and volume are unknown")
    if idle := int((bars.volume == 0).sum()):
        notes.append(f"{idle} bars with volume 0, kept as printed")
    return bars, tuple(notes)


def _iso(day: str) -> str:
    """1/31/1999 as 1999-01-31; an ISO date as it is."""
    if "/" not in day:
        return day
    month, day_of_month, year = day.split("/")
    return f"{year}-{month:0>2}-{day_of_month:0>2}"
