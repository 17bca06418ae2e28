"""`store ls`, `verify`, `repair`: damage is named, what can be is brought back, nothing else."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from market import ORIGIN, daily

from forecaster.atomic import commit_json
from forecaster.cli import run
from forecaster.errors import LockedError, StorageError
from forecaster.quality import examine
from forecaster.sources import fetch_command
from forecaster.store import Entry, Store, inspection, repair, verify
from forecaster.store import segment as segments
from forecaster.store.lock import locked
from forecaster.store.manifest import Manifest
from forecaster.store.sealed import seal

WEEKS = np.datetime64("2024-01-01") + 7 * np.arange(3)
LATER = replace(ORIGIN, fetched_at="2026-02-01T00:00:00+00:00")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """AAPL in two generations, IBM in one, each with its report."""
    store = Store(tmp_path / "data")
    for bars, origin in ((daily(5, "IBM"), ORIGIN), (daily(5), ORIGIN), (daily(8), LATER)):
        store.put(bars, origin)
        store.note(bars, examine(bars))
    return store


def segment(store: Store, symbol: str = "AAPL") -> Path:
    entry = next(e for e in store.entries() if e.symbol == symbol)
    return store.root / "bars" / entry.file


def flip(path: Path, bit: int = 4000) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_sound_store_is_sound_and_is_not_touched(store: Store) -> None:
    before = snapshot(store.root)
    found = verify(store.root)
    assert (found.faults, found.garbage, found.lock) == ((), (), "free")
    assert (found.generation, found.segments, found.rows) == (3, 2, 13)
    assert snapshot(store.root) == before
    mended = repair(store.root, 1.0, fetch_command)
    assert (mended.faults, mended.garbage, mended.recovered) == ((), (), ())
    changed = {k for k, v in snapshot(store.root).items() if before.get(k) != v}
    assert {Path(k).name for k in changed} <= {"LOCK"}


def test_flips_cuts_and_losses_are_named(store: Store) -> None:
    path = segment(store)
    good = path.read_bytes()
    for bit in range(0, len(good) * 8, 97):
        flip(path, bit)
        faults = verify(store.root).faults
        assert [(f.path, f.symbol) for f in faults] == [(str(path), "AAPL")]
        assert faults[0].cause == "its hash is not the one in the manifest"
        path.write_bytes(good)
    for length in (0, 1, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        assert [f.symbol for f in verify(store.root).faults] == ["AAPL"]
    path.unlink()
    assert "No such file" in verify(store.root).faults[0].cause
    path.write_bytes(good)
    assert verify(store.root).faults == ()


def test_a_look_that_believes_names_would_miss_flips(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted mistake: a file that is there and has its name is not for that what it was."""
    flip(segment(store))
    assert [fault.symbol for fault in verify(store.root).faults] == ["AAPL"]

    def believed(folder: Path, entry: Entry) -> None:
        assert (folder / entry.file).is_file()

    monkeypatch.setattr(inspection, "read_segment", believed)
    assert verify(store.root).faults == ()


def test_rows_are_counted_where_they_are(store: Store) -> None:
    """Not by symbol: another interval of it, or bars beside a damaged report, are there."""
    weekly = replace(daily(3), interval="1wk", opened_at=WEEKS)
    store.put(weekly, ORIGIN)
    store.put(daily(9), LATER)
    assert verify(store.root).rows == 5 + 9 + 3
    flip(segment(store, "IBM").with_suffix(".quality.json"))
    assert verify(store.root).rows == 5 + 9 + 3
    flip(segment(store))
    assert verify(store.root).rows == 5 + 3
    found = repair(store.root, 1.0, fetch_command)
    assert (len(found.faults), found.rows) == (1, 5 + 8 + 3)  # AAPL's earlier generation is there


@pytest.mark.parametrize("how", ["huge", "link", "folder"])
def test_what_is_damaged_is_moved_whatever_it_is(store: Store, tmp_path: Path, how: str) -> None:
    path, elsewhere = segment(store), tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    data = path.read_bytes()
    if how == "huge":  # more than anything of ours that is read at once, and sparse
        os.truncate(path, 600 << 20)
    else:
        path.unlink()
        path.mkdir() if how == "folder" else path.symlink_to(elsewhere)
    found = repair(store.root, 1.0, fetch_command)
    assert [fault.symbol for fault in found.faults] == ["AAPL"]
    aside = store.root / "bars" / "damaged" / f"symbol=AAPL-{path.name}.damaged"
    assert not path.exists()
    assert (aside.is_symlink(), aside.is_dir()) == (how == "link", how == "folder")
    assert elsewhere.read_bytes() == b"not ours"
    if how == "huge":
        with aside.open("rb") as file:
            assert file.read(len(data)) == data
    store.put(daily(8), LATER)
    flip(segment(store))
    torn = segment(store).read_bytes()
    repair(store.root, 1.0, fetch_command)
    kept = [p for p in aside.parent.iterdir() if p.is_file() and not p.is_symlink()]
    assert torn in [p.read_bytes() for p in kept if p.stat().st_size < 1 << 20]
    assert aside.exists()  # nothing is moved over what is there


@pytest.mark.parametrize("which", ["manifest", "segment", "orphan"])
def test_what_cannot_be_read_now_is_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Too many open files, or another user's: repairing that would lose bars that are there."""
    locked_away = segment(store)
    if which != "segment":
        manifest = store.root / "bars" / "manifest.json"
        manifest.unlink() if which == "orphan" else None
        locked_away = locked_away if which == "orphan" else manifest
    before, plain = snapshot(store.root), os.open

    def refused(path: Any, *rest: Any, **named: Any) -> int:
        if path == locked_away:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return plain(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        for call in (verify, lambda root: repair(root, 1.0, fetch_command)):
            with pytest.raises(StorageError, match="Too many open files"):
                call(store.root)
        with pytest.raises(StorageError):
            store.put(daily(9), LATER)  # all of its time, but not for that instead of it
    after = snapshot(store.root)
    lock = str(store.root / "bars" / "LOCK")  # has the last writer's number
    assert {**after, lock: b""} == {**before, lock: b""}


def test_repair_goes_back_to_the_earlier_generation_and_says_what_is_lost(store: Store) -> None:
    flip(segment(store))
    found = repair(store.root, 1.0, fetch_command)
    assert [f.symbol for f in found.faults] == ["AAPL"]
    assert found.faults[0].cause == (
        "its hash is not the one in the manifest; "
        "back to the 5 bars of 2024-01-01 to 2024-01-05".replace("; ", ": ", 1)
    )
    assert found.faults[0].remedy == "run `forecaster fetch AAPL --source test --interval 1d`"
    assert len(store.load("AAPL")) == 5
    assert len(store.load("IBM")) == 5
    assert verify(store.root).faults == ()
    aside = [p.name for p in (store.root / "bars" / "damaged").iterdir()]
    assert aside == [f"symbol=AAPL-{Path(found.faults[0].path).name}.damaged"]
    assert store.put(daily(8), LATER).status == "appended"


def test_repair_drops_what_no_file_has_and_keeps_the_rest(store: Store) -> None:
    flip(segment(store, "IBM"))
    found = repair(store.root, 1.0, fetch_command)
    assert found.faults[0].cause.endswith("5 bars, 2024-01-01 to 2024-01-05, are lost")
    assert [e.symbol for e in store.entries()] == ["AAPL"]
    assert len(store.load("AAPL")) == 8
    assert repair(store.root, 1.0, fetch_command).faults == ()


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "empty"])
def test_a_manifest_is_made_anew_from_whole_segments(store: Store, how: str) -> None:
    path = store.root / "bars" / "manifest.json"
    entries = store.entries()
    good = path.read_bytes()
    match how:
        case "flipped":
            flip(path)
        case "cut":
            path.write_bytes(good[:-20])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    looked = verify(store.root)
    assert [f.path for f in looked.faults] == [str(path)]
    assert looked.rows == 13
    found = repair(store.root, 1.0, fetch_command)
    assert found.faults == ()
    assert found.recovered == ("manifest.json: made anew from 2 segments that are whole",)
    assert store.entries() == entries
    assert [len(store.load(s)) for s in ("AAPL", "IBM")] == [8, 5]


def test_a_damaged_segment_is_not_adopted_without_a_manifest(store: Store) -> None:
    """Nobody knows any more whether it was needed, so it is kept, and told as a loss."""
    torn = [segment(store), segment(store, "IBM")]
    for path in torn:
        flip(path)
    (store.root / "bars" / "manifest.json").unlink()
    found = repair(store.root, 1.0, fetch_command)
    assert [(f.symbol, f.path, f.cause, f.remedy) for f in found.faults] == [
        ("AAPL", str(torn[0]), "it is not whole: back to the 5 bars of 2024-01-01 to 2024-01-05",
         "run `forecaster fetch AAPL --source test --interval 1d`"),
        ("IBM", str(torn[1]), "it is not whole: its bars are lost",
         "run `forecaster fetch IBM --source SOURCE --interval 1d`"),
    ]  # fmt: skip
    assert len(store.load("AAPL")) == 5  # the generation before
    assert len(list((store.root / "bars" / "damaged").iterdir())) == 2
    assert verify(store.root).faults == ()


def test_swapped_segments_are_not_adopted_for_each_other(store: Store) -> None:
    apple, ibm = segment(store), segment(store, "IBM")
    one, other = apple.read_bytes(), ibm.read_bytes()
    apple.write_bytes(other)
    ibm.write_bytes(one)
    (store.root / "bars" / "manifest.json").unlink()
    repair(store.root, 1.0, fetch_command)
    assert [(e.symbol, e.rows) for e in store.entries()] == [("AAPL", 5)]


def test_garbage_is_listed_and_removed_and_nothing_else(store: Store) -> None:
    place = segment(store).parent
    litter = [place / ".tmp-1-x", place / "0123456789abcdef.parquet", place / "notes.txt"]
    litter.append(store.root / "bars" / ".tmp-1-y")
    for path in litter:
        path.write_bytes(b"torn")
    assert set(verify(store.root).garbage) == {str(p) for p in litter}
    assert verify(store.root).faults == ()
    found = repair(store.root, 1.0, fetch_command)
    assert set(found.garbage) == {str(p) for p in litter}
    assert not any(p.exists() for p in litter)
    assert verify(store.root).garbage == ()
    assert len(list(place.glob("*.parquet"))) == 2  # the earlier generation is no garbage


def test_a_damaged_report_costs_nothing(store: Store) -> None:
    entry = store.entries()[0]
    path = segment(store).with_suffix(".quality.json")
    assert store.quality(entry) is not None
    flip(path)
    assert store.quality(entry) is None
    assert [f.path for f in verify(store.root).faults] == [str(path)]
    found = repair(store.root, 1.0, fetch_command)
    assert found.faults == ()
    assert found.recovered == ("AAPL: its report was damaged; the next fetch makes another",)
    assert len(store.load("AAPL")) == 8
    bars = store.load("AAPL")
    store.note(bars, examine(bars))
    assert store.quality(store.entries()[0]) == examine(bars)


def test_a_report_on_other_bars_is_not_kept(store: Store) -> None:
    before = store.quality(store.entries()[0])
    store.note(daily(3), examine(daily(3)))
    assert store.quality(store.entries()[0]) == before


def test_a_store_of_the_future_is_left_alone(store: Store) -> None:
    path = store.root / "bars" / "manifest.json"
    commit_json(path, seal({"generation": 3, "entries": [], "more": 1}, 2))
    before = path.read_bytes()
    for call in (verify, lambda root: repair(root, 1.0, fetch_command)):
        with pytest.raises(StorageError, match="of format 2, written by a newer forecaster"):
            call(store.root)
    assert path.read_bytes() == before


def test_a_report_of_the_future_is_no_damage(store: Store) -> None:
    entry, path = store.entries()[0], segment(store).with_suffix(".quality.json")
    commit_json(path, seal({"segment": entry.sha256, "quality": {"more": 1}}, 2))
    before = path.read_bytes()
    assert verify(store.root).faults == ()
    assert repair(store.root, 1.0, fetch_command).recovered == ()
    assert store.quality(entry) is None
    bars = store.load("AAPL")
    store.note(bars, examine(bars))  # nor is it replaced by one that says less
    assert path.read_bytes() == before


def test_a_segment_of_the_future_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(segments, "SCHEMA_VERSION", 2)
        store.put(daily(9), LATER)
    before = snapshot(store.root)
    calls = (
        verify,
        lambda root: repair(root, 1.0, fetch_command),
        lambda root: Store(root).load("AAPL"),
        lambda root: Store(root).put(daily(9), LATER),
    )
    for call in calls:
        with pytest.raises(StorageError, match="of schema 2, written by a newer forecaster"):
            call(store.root)
    (store.root / "bars" / "manifest.json").unlink()  # nobody's file by then, but no garbage
    with pytest.raises(StorageError, match="of schema 2, written by a newer forecaster"):
        repair(store.root, 1.0, fetch_command)
    after = snapshot(store.root)
    assert {k: after.get(k) for k in before if "symbol=" in k} == {
        k: v for k, v in before.items() if "symbol=" in k
    }


def test_files_are_fetched_again_from_files() -> None:
    assert fetch_command("MINE", "1h", "csv") == (
        "forecaster fetch MINE --source csv --interval 1h --path FILE"
    )
    assert fetch_command("MINE", "1d", "yahoo").endswith("--source yahoo --interval 1d")


def test_no_store_is_no_sound_store(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no store: name one with --store"):
        verify(tmp_path)


def test_the_lock_of_a_dead_process_holds_nothing_and_a_living_one_is_named(store: Store) -> None:
    path = store.root / "bars" / "LOCK"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    path.write_text(f"{dead.stdout.strip():>20}")
    assert verify(store.root).lock == "free"
    assert repair(store.root, 0.1, fetch_command).faults == ()
    with locked(path, 1.0):
        assert verify(store.root).lock == f"held by process {os.getpid()}"
        with pytest.raises(LockedError):
            repair(store.root, 0.05, fetch_command)


def test_a_repair_that_is_cut_off_can_be_run_again(store: Store) -> None:
    flip(segment(store))
    with pytest.MonkeyPatch.context() as patch:

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Manifest, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            repair(store.root, 1.0, fetch_command)
    assert [e.symbol for e in store.entries()] == ["AAPL", "IBM"]
    repair(store.root, 1.0, fetch_command)
    assert len(store.load("AAPL")) == 5
    assert verify(store.root).faults == ()


# The command line


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["store", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_commands_and_their_exit_codes(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--store", str(store.root))
    code, out, _ = told(capsys, "ls", *at)
    assert code == 0
    assert out.startswith("AAPL: 8 bars, sessions by its own weekdays: ")
    assert told(capsys, "verify", *at)[0] == 0
    flip(segment(store, "IBM"))
    code, out, err = told(capsys, "verify", *at)
    assert (code, err.count("\n")) == (5, 1)
    assert err.startswith(f"forecaster: error: 1 damaged in {store.root}: IBM: its hash is not")
    assert "run `forecaster store repair" in err
    assert f"damaged: {segment(store, 'IBM')}" in out
    code, out, err = told(capsys, "repair", *at, "--json")
    assert (code, err.count("\n")) == (5, 1)
    assert "run `forecaster fetch IBM --source test --interval 1d`" in err
    assert json.loads(out)["sound"] is False
    code, out, err = told(capsys, "verify", *at, "--json")
    assert (code, err, json.loads(out)["sound"]) == (0, "", True)
    code, out, _ = told(capsys, "ls", *at, "--json")
    assert [e["symbol"] for e in json.loads(out)["entries"]] == ["AAPL"]
