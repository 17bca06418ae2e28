"""`store ls`, `verify`, `repair`: damage is named, what can be is brought back, nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from market import ORIGIN, daily

from forecaster.atomic import commit_json
from forecaster.cli import run
from forecaster.errors import LockedError, StorageError
from forecaster.quality import examine
from forecaster.store import Store, repair, verify
from forecaster.store.lock import locked
from forecaster.store.manifest import Manifest
from forecaster.store.sealed import seal

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
    mended = repair(store.root, 1.0)
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


def test_a_look_that_believes_names_would_miss_flips(store: Store) -> None:
    """Planted mistake: a file that is there and has its name is not for that what it was."""
    flip(segment(store))
    assert segment(store).exists()
    assert verify(store.root).faults != ()


def test_repair_goes_back_to_the_earlier_generation_and_says_what_is_lost(store: Store) -> None:
    flip(segment(store))
    found = repair(store.root, 1.0)
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
    found = repair(store.root, 1.0)
    assert found.faults[0].cause.endswith("5 bars, 2024-01-01 to 2024-01-05, are lost")
    assert [e.symbol for e in store.entries()] == ["AAPL"]
    assert len(store.load("AAPL")) == 8
    assert repair(store.root, 1.0).faults == ()


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
    found = repair(store.root, 1.0)
    assert found.faults == ()
    assert found.recovered == ("manifest.json: made anew from 2 segments that are whole",)
    assert store.entries() == entries
    assert [len(store.load(s)) for s in ("AAPL", "IBM")] == [8, 5]


def test_a_damaged_segment_is_not_adopted_without_a_manifest(store: Store) -> None:
    flip(segment(store))
    (store.root / "bars" / "manifest.json").unlink()
    repair(store.root, 1.0)
    assert len(store.load("AAPL")) == 5  # the generation before
    assert verify(store.root).faults == ()


def test_swapped_segments_are_not_adopted_for_each_other(store: Store) -> None:
    apple, ibm = segment(store), segment(store, "IBM")
    one, other = apple.read_bytes(), ibm.read_bytes()
    apple.write_bytes(other)
    ibm.write_bytes(one)
    (store.root / "bars" / "manifest.json").unlink()
    repair(store.root, 1.0)
    assert [(e.symbol, e.rows) for e in store.entries()] == [("AAPL", 5)]


def test_garbage_is_listed_and_removed_and_nothing_else(store: Store) -> None:
    place = segment(store).parent
    litter = [place / ".tmp-1-x", place / "0123456789abcdef.parquet", place / "notes.txt"]
    litter.append(store.root / "bars" / ".tmp-1-y")
    for path in litter:
        path.write_bytes(b"torn")
    assert set(verify(store.root).garbage) == {str(p) for p in litter}
    assert verify(store.root).faults == ()
    found = repair(store.root, 1.0)
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
    found = repair(store.root, 1.0)
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
    for call in (verify, lambda root: repair(root, 1.0)):
        with pytest.raises(StorageError, match="of format 2, written by a newer forecaster"):
            call(store.root)
    assert path.read_bytes() == before


def test_no_store_is_no_sound_store(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no store: name one with --store"):
        verify(tmp_path)


def test_the_lock_of_a_dead_process_holds_nothing_and_a_living_one_is_named(store: Store) -> None:
    path = store.root / "bars" / "LOCK"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    path.write_text(f"{dead.stdout.strip():>20}")
    assert verify(store.root).lock == "free"
    assert repair(store.root, 0.1).faults == ()
    with locked(path, 1.0):
        assert verify(store.root).lock == f"held by process {os.getpid()}"
        with pytest.raises(LockedError):
            repair(store.root, 0.05)


def test_a_repair_that_is_cut_off_can_be_run_again(store: Store) -> None:
    flip(segment(store))
    with pytest.MonkeyPatch.context() as patch:

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Manifest, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            repair(store.root, 1.0)
    assert [e.symbol for e in store.entries()] == ["AAPL", "IBM"]
    repair(store.root, 1.0)
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
