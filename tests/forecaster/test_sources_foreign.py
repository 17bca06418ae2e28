"""A source of the user's own: the README's example works, and its failures are one line."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from market import daily

from forecaster.cli import run
from forecaster.errors import DataError, ForecasterError, IllegalBarError, ProviderError, UsageError
from forecaster.fetching import FetchRecord, FetchRequest, fetch
from forecaster.sources import Remote, source
from forecaster.store import Store
from forecaster.symbols import Symbol

EXAMPLE = Path(__file__).with_name("prices.py").read_text()
HOSTILE = """
from dataclasses import replace
from forecaster.sources import delivery
from market import daily

class Raises:
    def symbols(self):
        raise KeyError("AAPL\\x1b[31m\\n2")
    def fetch(self, symbol, interval, start, end):
        raise RuntimeError("no \\x1b]0;door\\x07 " + "x" * 500)

class Exits(Raises):
    def __init__(self):
        raise OSError("disk")

class Nothing(Raises):
    def fetch(self, symbol, interval, start, end):
        return None

class Another(Raises):
    def fetch(self, symbol, interval, start, end):
        return delivery(daily(3, "IBM"), "x")

class Refuses(Raises):
    def fetch(self, symbol, interval, start, end):
        return delivery(daily(3, "IBM", close=[-1.0, 1, 1]), "x")

class Nowhere(Raises):
    def fetch(self, symbol, interval, start, end):
        return replace(delivery(daily(3, symbol), "x"), exchange="NYSEX")

class Whenever(Raises):
    def fetch(self, symbol, interval, start, end):
        got = delivery(daily(3, symbol), "x")
        return replace(got, provenance=replace(got.provenance, fetched_at="yesterday"))

class Evening(Raises):
    def fetch(self, symbol, interval, start, end):
        got = delivery(daily(3, symbol), "x")
        return replace(got, provenance=replace(got.provenance, fetched_at="2024-05-06 18:00-04:00"))

class NoSource:
    pass
"""
REMOTE = """
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from forecaster.sources import delivery
from market import daily

class Remote:  # bars of every weekday from 2024-01-01 to yesterday, by a clock of its own
    settled_after, today, asked = timedelta(0), date(2024, 1, 20), []
    def symbols(self):
        return ("AAPL",)
    def now(self):
        return datetime(self.today.year, self.today.month, self.today.day, tzinfo=UTC)
    def check(self, interval, start):
        pass
    def first_day(self, interval, start, end):
        return start or date(2024, 1, 1)
    def calendar(self, told):
        return ""
    def fetch(self, symbol, interval, start, end):
        self.asked.append(start)
        return delivery(daily((self.today - date(2024, 1, 1)).days, symbol), "x", start, end)

class Naive(Remote):
    def now(self):
        return datetime(2024, 2, 1)

class Nowhere(Remote):
    def calendar(self, told):
        return "NYSEX"

class Late(Remote):
    settled_after = 15

class Timeless(Remote):
    def first_day(self, interval, start, end):
        return None

class Choosy(Remote):
    def check(self, interval, start):
        raise ValueError("weekly only")

class Half(Remote):
    calendar = property()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's, with modules that no other test has."""
    (tmp_path / "own_prices.py").write_text(EXAMPLE)
    (tmp_path / "own_hostile.py").write_text(HOSTILE)
    (tmp_path / "own_remote.py").write_text(REMOTE)
    (tmp_path / "own_broken.py").write_text("import nowhere_at_all\n")
    (tmp_path / "own_syntax.py").write_text("def (\n")
    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def database(path: Path) -> Path:
    with sqlite3.connect(path) as made:
        made.execute("create table bars (symbol, day, open, high, low, close, volume)")
        for symbol in ("AAPL", "IBM"):
            bars = daily(40, symbol)
            columns = [
                getattr(bars, n).tolist() for n in ("open", "high", "low", "close", "volume")
            ]
            days = [bars.label(t) for t in range(40)]
            rows = [(symbol, *row) for row in zip(days, *columns, strict=True)]
            made.executemany("insert into bars values (?, ?, ?, ?, ?, ?, ?)", rows)
    made.close()
    return path


def test_the_example_brings_its_bars(here: Path) -> None:
    path = database(here / "prices.db")
    name = "own_prices:Prices"
    report = fetch(FetchRequest(source=name, path=path, store=here / "data"))
    assert [(r.symbol, r.status, r.rows_total) for r in report.records] == [
        ("AAPL", "added", 40),
        ("IBM", "added", 40),
    ]
    store = Store(here / "data")
    assert store.load("AAPL").close.tobytes() == daily(40).close.tobytes()
    assert {entry.source for entry in store.entries()} == {name}
    assert store.quality(store.entries()[0]) is not None
    again = fetch(FetchRequest(source=name, path=path, store=here / "data", symbols=("IBM",)))
    assert again.records[0].status == "same"


CASES = {
    "own_hostile:Raises": (ProviderError, "fetch of AAPL raised RuntimeError: no \\x1b]0;door"),
    "own_hostile:Nothing": (DataError, "fetch of AAPL returned NoneType, not a Delivery of Bars"),
    "own_hostile:Another": (DataError, "asked for AAPL at 1d, got 3 bars of IBM at 1d"),
    "own_hostile:Refuses": (IllegalBarError, "IBM: bar 0 (2024-01-01): close is zero or negative"),
    "own_hostile:Nowhere": (DataError, "exchange 'NYSEX' is unknown to exchange_calendars"),
    "own_hostile:Whenever": (DataError, "fetched_at 'yesterday' is no time as ISO 8601 has it"),
    "own_hostile:Exits": (ProviderError, "making it raised OSError: disk; --debug shows where"),
    "own_hostile:NoSource": (UsageError, "own_hostile has no class NoSource with symbols and fet"),
    "own_remote:Half": (UsageError, "it lacks calendar of a remote source; add them, or leave out"),
    "own_remote:Late": (DataError, "settled_after gave int, not timedelta"),
    "own_remote:Choosy": (ProviderError, "check raised ValueError: weekly only"),
    "own_hostile:Gone": (UsageError, "own_hostile has no class Gone with symbols and fetch"),
    "own_broken:X": (ProviderError, "its import raised ModuleNotFoundError: No module named 'now"),
    "own_syntax:X": (ProviderError, "its import raised SyntaxError: "),
    "own_missing:X": (UsageError, "there is no module own_missing here or among what is install"),
    "a.b c:X": (UsageError, "wanted MODULE:CLASS, for example my_module:MySource"),
    "http://evil/x.py:X": (UsageError, "wanted MODULE:CLASS"),
    "os:system": (UsageError, "os has no class system with symbols and fetch"),
}


@pytest.mark.parametrize(("name", "wanted"), CASES.items(), ids=CASES)
def test_what_fails_is_one_line(
    here: Path,
    name: str,
    wanted: tuple[type[ForecasterError], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind, text = wanted
    try:
        report = fetch(FetchRequest(source=name, symbols=("AAPL",), store=here / "data"))
        failure = report.failure
    except ForecasterError as error:
        failure = error
    assert type(failure) is kind
    assert not list((here / "data").rglob("*.parquet"))
    assert text in str(failure)
    assert run(["fetch", "AAPL", "--source", name, "--store", str(here / "data")]) == kind.exit_code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()
    assert "Traceback" not in said


def test_its_symbols_are_checked_and_its_own_names_may_fail(here: Path) -> None:
    with pytest.raises(ProviderError, match=r"symbols\(\) raised KeyError"):
        source("own_hostile:Raises").symbols()
    with pytest.raises(ProviderError, match="fetch of MSFT raised ValueError: not enough values"):
        source("own_prices:Prices", database(here / "prices.db")).fetch(Symbol("MSFT"))


def test_a_folder_of_the_user_shadows_no_module(here: Path) -> None:
    (here / "json.py").write_text("raise RuntimeError('shadow')\n")
    with pytest.raises(UsageError, match="json has no class X"):
        source("json:X")


def test_another_zone_of_its_clock_is_ours_in_the_store(here: Path) -> None:
    request = FetchRequest(source="own_hostile:Evening", symbols=("AAPL",), store=here / "data")
    assert fetch(request).records[0].quality is not None
    assert Store(here / "data").entries()[0].fetched_at == "2024-05-06T22:00:00+00:00"


def test_a_remote_source_of_ones_own_is_asked_for_the_gap_alone(here: Path) -> None:
    def bring(**more: Any) -> FetchRecord:
        request = FetchRequest(source="own_remote:Remote", store=here / "data", **more)
        return fetch(request).records[0]

    assert bring(dry_run=True).notes == ("would ask for the first bar to 2024-01-20",)
    assert (bring().change, bring(dry_run=True).notes[0][:24]) == (
        "first",
        "would ask for 2024-01-10",
    )
    import own_remote  # pyright: ignore[reportMissingImports]  made by `here`

    own_remote.Remote.today = date(2024, 2, 1)
    record = bring()
    assert (record.change, record.rows_added, record.last) == ("append", 12, "2024-01-31")
    assert own_remote.Remote.asked == [None, date(2024, 1, 10)]
    assert bring(refetch=True).change == "all"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Naive", "now() gave a time without a zone: give it in UTC"),
        ("Nowhere", "calendar gave 'NYSEX': an exchange, or empty"),
        ("Timeless", "first_day gave NoneType, not date"),
    ],
)
def test_what_a_remote_source_answers_is_checked(here: Path, name: str, wanted: str) -> None:
    request = FetchRequest(source="own_remote:Remote", store=here / "data")
    assert fetch(request).records[0].status == "added"
    origin = source(f"own_remote:{name}")
    assert isinstance(origin, Remote)
    told = Store(here / "data").load_with_provenance("AAPL")[1]
    with pytest.raises(DataError, match=re.escape(wanted)):
        _ = origin.now(), origin.calendar(told), origin.first_day("1d", None, None)
