"""`fetch`: each symbol on its own, exit codes, a report for people and one for programs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from market import daily, day
from rich.console import Console

from forecaster import fetching
from forecaster.cli import run
from forecaster.errors import DataError, LockedError, PartialError, StorageError, UsageError
from forecaster.fetching import FetchReport, FetchRequest, fetch
from forecaster.sources import DEFAULT_UNIVERSE
from forecaster.sources.bundled import Bundled
from forecaster.sources.protocol import Delivery
from forecaster.store import Store
from forecaster.store.lock import locked
from forecaster.symbols import Symbol

HOSTILE = ("../../etc/passwd", "A\x1b[31m", "a", "", "A/B", "CON\u202e")


def ask(tmp_path: Path, *symbols: str, **options: Any) -> FetchReport:
    return fetch(FetchRequest(symbols=symbols, store=tmp_path / "data", **options))


def printed(report: FetchReport) -> str:
    page = io.StringIO()
    Console(width=300, file=page).print(report.as_table())
    return page.getvalue()


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*")}


def test_nobody_names_a_symbol(tmp_path: Path) -> None:
    report = ask(tmp_path)
    assert tuple(r.symbol for r in report.records) == DEFAULT_UNIVERSE
    assert {r.status for r in report.records} == {"added"}
    assert sum(r.rows_added for r in report.records) == 2 * 5031 + 3 * 3270 + 2148
    assert (report.exit_code, report.failure) == (0, None)
    panel = Store(tmp_path / "data").panel(DEFAULT_UNIVERSE)
    lengths = {str(bars.symbol): len(bars) for bars in panel}
    assert [lengths[s] for s in DEFAULT_UNIVERSE] == [5031, 5031, 3270, 3270, 3270, 2148]
    assert {r.status for r in ask(tmp_path).records} == {"same"}


def test_a_part_then_all(tmp_path: Path) -> None:
    ask(tmp_path, "IBM", end=day("2005-01-03"))
    record = ask(tmp_path, "IBM").records[0]
    assert (record.status, record.rows_total) == ("appended", 3270)
    assert (record.first, record.last) == ("2000-03-01", "2013-03-01")
    assert 0 < record.rows_added < 3270
    assert ask(tmp_path, "IBM", start=day("2010-01-01")).records[0].status == "same"


def test_json_is_one_object_of_plain_values(tmp_path: Path) -> None:
    report = ask(tmp_path, "VIXCLS", "APPL")
    document = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert {k: v for k, v in document.items() if k != "symbols"} == {
        "source": "bundled",
        "interval": "1d",
        "store": str(tmp_path / "data"),
        "dry_run": False,
        "exit_code": 8,
    }
    fine, failed = document["symbols"]
    assert fine.pop("quality")["close_only"]["count"] == 1259
    assert failed["quality"] is None
    assert fine == {
        "symbol": "VIXCLS",
        "status": "added",
        "change": "",
        "rows_added": 1259,
        "rows_total": 1259,
        "first": "2014-01-03",
        "last": "2019-01-03",
        "notes": [
            "46 days without a value dropped",
            "only closes are published: open, high, low and volume are unknown",
        ],
        "error": "",
    }
    assert failed["status"] == "failed"
    assert failed["error"].startswith("APPL: not among the bundled symbols; did you mean 'AAPL'?")


def test_some_fail_the_rest_is_stored(tmp_path: Path) -> None:
    report = ask(tmp_path, "APPL", "FB", "IBMM")
    assert [r.status for r in report.records] == ["failed", "added", "failed"]
    assert isinstance(report.failure, PartialError)
    assert report.exit_code == 8
    assert str(report.failure).startswith(
        "2 of 3 symbols failed, the rest is stored: APPL: not among the bundled symbols"
    )
    assert [e.symbol for e in Store(tmp_path / "data").entries()] == ["FB"]


@pytest.mark.parametrize(
    ("symbols", "options", "kind", "code"),
    [
        (("APPL", "IBMM"), {}, DataError, 3),
        (("IBM",), {"interval": "1h"}, UsageError, 2),
        (("IBM",), {"start": day("2020-01-01")}, DataError, 3),
    ],
)
def test_all_fail_for_a_reason(
    tmp_path: Path, symbols: tuple[str, ...], options: dict[str, Any], kind: type, code: int
) -> None:
    report = ask(tmp_path, *symbols, **options)
    assert isinstance(report.failure, kind)
    assert report.exit_code == code
    assert Store(tmp_path / "data").entries() == ()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_range_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, dry_run: bool
) -> None:
    with pytest.raises(UsageError, match="start 2010-01-02 is after end 2010-01-01: exchange"):
        ask(tmp_path, "IBM", start=day("2010-01-02"), end=day("2010-01-01"), dry_run=dry_run)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("dry_run_after", [False, True])
def test_dry_run_says_the_same_and_writes_nothing(tmp_path: Path, dry_run_after: bool) -> None:
    if dry_run_after:
        ask(tmp_path, "IBM", end=day("2005-01-03"))
    before = files(tmp_path)
    dry = ask(tmp_path, "IBM", "APPL", dry_run=True)
    assert files(tmp_path) == before
    wet = ask(tmp_path, "IBM", "APPL")
    assert dry.records == wet.records
    assert dry.as_json()["dry_run"] is True
    assert "dry run: nothing is written" in printed(dry)
    assert "dry run" not in printed(wet)


def test_table_shows_every_symbol_and_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "5031" in printed(ask(tmp_path, "^GSPC"))

    class Loud:
        """A source whose notes and errors look like markup."""

        name = "loud"

        def fetch(self, symbol: Symbol, *_: object) -> Delivery:
            raise DataError(f"{symbol}: [red]\x1b[31mbad[/red]")

    monkeypatch.setattr(fetching, "source", lambda *_: Loud())
    report = ask(tmp_path, "IBM")
    assert "IBM: [red]\\x1b[31mbad[/red]" in printed(report)
    assert report.exit_code == 3


@pytest.mark.parametrize("symbol", HOSTILE)
def test_hostile_symbols_never_reach_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symbol: str
) -> None:
    monkeypatch.setattr(fetching, "_fetch_one", lambda *_: pytest.fail("a source was asked"))
    with pytest.raises(UsageError, match="wanted 1-32 characters"):
        ask(tmp_path, "IBM", symbol)
    assert files(tmp_path) == set()


def test_requests_that_mean_nothing(tmp_path: Path) -> None:
    for symbols, options, text in (
        (("IBM", "IBM"), {}, "symbol IBM is given twice: name it once"),
        (("IBM",), {"source": "bundeld"}, "source 'bundeld' is unknown; did you mean 'bundled'?"),
        (("IBM",), {"interval": "1day"}, "interval '1day' is unknown; did you mean '1d'?"),
        (("IBM",), {"source": "csv"}, "source csv reads a file: add --path FILE.csv"),
        (
            ("IBM",),
            {"path": tmp_path},
            f"source bundled reads no file: leave out --path {tmp_path}",
        ),
        (
            ("A", "B"),
            {"source": "csv", "path": tmp_path / "x.csv"},
            f"2 symbols for one file, {tmp_path}/x.csv: name one symbol a file",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            ask(tmp_path, *symbols, **options)
        assert str(caught.value) == text
        assert caught.value.exit_code == 2
    assert files(tmp_path) == set()


def test_a_store_that_cannot_be_written_is_found_before_any_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_fetch_one", lambda *_: pytest.fail("a source was asked"))
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        ask(tmp_path)
    assert str(caught.value).startswith(f"cannot write in {tmp_path}/data/bars: Not a directory")
    assert caught.value.exit_code == 5


def test_a_held_store_is_named(tmp_path: Path) -> None:
    Store(tmp_path / "data").prepare()
    with (
        locked(tmp_path / "data" / "bars" / "LOCK", 0),
        pytest.raises(LockedError, match="is held by another writer"),
    ):
        ask(tmp_path, "IBM", lock_timeout_s=0)


def test_a_file_is_stored_under_its_name_or_the_one_given(tmp_path: Path) -> None:
    path = tmp_path / "BRK-B.csv"
    bars = daily(4)
    lines = [
        f"{bars.label(t)},{bars.open[t]},{bars.high[t]},{bars.low[t]},{bars.close[t]}"
        for t in range(4)
    ]
    path.write_text("\n".join(("date,open,high,low,close", *lines)))
    assert ask(tmp_path, source="csv", path=path).records[0].symbol == "BRK-B"
    record = ask(tmp_path, "^X", source="csv", path=path).records[0]
    assert (record.symbol, record.notes) == (
        "^X",
        ("the file has no volume column: volume is unknown",),
    )
    assert Store(tmp_path / "data").load("^X").close.tobytes() == bars.close.tobytes()
    assert (tmp_path / "data" / "bars" / "interval=1d" / "symbol=%5EX").is_dir()


def test_synthetic_symbols_are_extended(tmp_path: Path) -> None:
    assert [r.symbol for r in ask(tmp_path, source="synthetic").records] == [
        *("WALK-1", "AR1-1", "GARCH-1")
    ]
    later = ask(tmp_path, "GARCH-1", source="synthetic", end=day("2026-01-01")).records[0]
    assert (later.status, later.rows_added, later.rows_total) == ("appended", 1784, 6784)


def interrupted_at(symbol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while `symbol` is fetched."""
    plain = Bundled.fetch

    def until(source: Bundled, each: Symbol, *rest: Any) -> Delivery:
        if each == symbol:
            raise KeyboardInterrupt
        return plain(source, each, *rest)

    monkeypatch.setattr(Bundled, "fetch", until)


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_interrupt_leaves_reports_and_says_what_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    said: list[str] = []
    interrupted_at("MSFT", monkeypatch)
    request = FetchRequest(symbols=("IBM", "MSFT"), store=tmp_path / "data", dry_run=dry_run)
    with pytest.raises(KeyboardInterrupt):
        fetch(request, said.append)
    what = "were looked at" if dry_run else "are stored"
    assert said[0].startswith("IBM: added: 3270 new; 3270 bars, 2000-03-01 to 2013-03-01")
    assert said[1:] == [f"interrupted: 1 of 2 symbols {what}; run the same command to go on"]
    store = Store(tmp_path / "data")
    assert [store.quality(entry) is not None for entry in store.entries()] == [True] * (not dry_run)


def test_an_interrupt_is_as_quiet_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_at("IBM", monkeypatch)
    for options, lines in (((), 1), (("-q",), 0)):
        assert run(["fetch", "IBM", "--store", str(tmp_path), *options]) == 130
        assert capsys.readouterr().err.count("interrupted") == lines


def test_each_of_several_symbols_is_told_of_as_soon_as_it_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with --json too; of one symbol alone the result or the error says it all."""
    line = ["fetch", "FB", "APPL", "VIXCLS", "--store", str(tmp_path), "--json"]
    assert run(line) == 8
    out, err = capsys.readouterr()
    told = err.splitlines()
    assert [each.split(": ")[:2] for each in told] == [
        ["FB", "added"], ["APPL", "failed"], ["VIXCLS", "added"], ["forecaster", "error"],
    ]  # fmt: skip
    assert [each["status"] for each in json.loads(out)["symbols"]] == ["added", "failed", "added"]
    assert run([*line, "-q"]) == 8
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(["fetch", "APPL", "--store", str(tmp_path)]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("error", [LockedError, StorageError, UsageError, ValueError])
def test_a_report_that_cannot_be_kept_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """The bars are stored by then, and the user must see that they are."""

    def held(*_: object) -> None:
        raise error("nobody may write here")

    monkeypatch.setattr(Store, "note", held)
    report = ask(tmp_path, "IBM", "VIXCLS")
    assert (report.exit_code, [r.status for r in report.records]) == (0, ["added", "added"])
    said = "its report is not made or not kept: nobody may write here"
    assert [r.notes.count(said) for r in report.records] == [1, 1]


def test_other_clocks_refine_the_report_of_the_first(tmp_path: Path) -> None:
    names = ("VIXCLS", "AAPL", "IBM")
    first = ask(tmp_path, *names).records[0].quality
    assert first is not None
    assert first.sessions == "clock of 2 others"
    store = Store(tmp_path / "data")
    assert store.report("VIXCLS") == first
