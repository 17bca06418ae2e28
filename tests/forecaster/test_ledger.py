"""What was tried is kept, counted once, and damage to it is said in one line."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forecaster import ledger
from forecaster.errors import LockedError, StorageError
from forecaster.ledger import Book, Trial, enter, read, refuse_damage
from forecaster.store.lock import locked

BASE = Trial(
    at="2026-01-01T00:00:00+00:00",
    config="a" * 64,
    data="d" * 64,
    symbols=("^GSPC", "IBM"),
    interval="1d",
    test_from="2010-01-04",
    test_until="2018-12-31",
    vault="off",
    headline="h=1: best harx",
)


def trial(config: str, **changed: object) -> Trial:
    return BASE.model_copy(update={"config": config * 64, **changed})


def test_a_trial_counts_once(tmp_path: Path) -> None:
    assert read(tmp_path).trials == ()
    enter(tmp_path, BASE)
    book = enter(tmp_path, BASE.model_copy(update={"at": "2027-01-01T00:00:00+00:00"}))
    assert book.trials == (BASE,)
    book = enter(tmp_path, trial("b"))
    assert len(book.rivals(BASE)) == 2
    assert read(tmp_path) == book
    enter(tmp_path, trial("a", data="e" * 64))  # the same config on other bars is no other config
    assert len(read(tmp_path).rivals(BASE)) == 2


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({}, True),
        ({"symbols": ("IBM", "AAPL")}, True),
        ({"symbols": ("AAPL",)}, False),
        ({"interval": "1h"}, False),
        ({"test_from": "2018-12-31", "test_until": "2020-01-01"}, True),
        ({"test_from": "2019-01-01", "test_until": "2020-01-01"}, False),
        ({"data": "e" * 64}, True),  # another source's bars of the same days were seen too
    ],
)
def test_only_a_look_at_the_same_bars_counts(
    tmp_path: Path, changed: dict[str, object], counts: bool
) -> None:
    enter(tmp_path, trial("b", **changed))
    assert len(read(tmp_path).rivals(BASE)) == 1 + counts


def test_openings_of_the_vault_are_counted(tmp_path: Path) -> None:
    for each in (trial("b"), trial("c", vault="open"), trial("d", vault="locked")):
        enter(tmp_path, each)
    mine = trial("e", vault="open")
    assert len(enter(tmp_path, mine).openings(mine)) == 2


def test_nothing_before_a_new_line_is_touched(tmp_path: Path) -> None:
    enter(tmp_path, BASE)
    before = (tmp_path / ledger.NAME).read_bytes()
    enter(tmp_path, trial("b"))
    assert (tmp_path / ledger.NAME).read_bytes().startswith(before)


def test_a_torn_line_swallows_nothing(tmp_path: Path) -> None:
    """A crash in the middle of a line: what was there is read, what comes is whole."""
    enter(tmp_path, BASE)
    path = tmp_path / ledger.NAME
    before = path.read_bytes()
    enter(tmp_path, trial("b"))
    after = path.read_bytes()
    for size in range(len(before), len(after)):  # the last lacks its end alone
        path.write_bytes(after[:size])
        found = read(tmp_path)
        assert (len(found.trials), found.damaged) == (1 + (size == len(after) - 1), ())
        assert enter(tmp_path, trial("b")) == Book((BASE, trial("b")), ())
        assert path.read_bytes().ljust(len(after), b"\n") == after
    path.write_bytes(after[:-1])
    enter(tmp_path, trial("c"))
    assert (len(read(tmp_path).trials), read(tmp_path).damaged) == (3, ())


def test_damage_that_is_not_at_the_end_is_refused(tmp_path: Path) -> None:
    enter(tmp_path, BASE)
    path = tmp_path / ledger.NAME
    path.write_bytes(path.read_bytes() + b'{"after": "\n')
    enter(tmp_path, trial("b"))
    found = read(tmp_path)
    assert (len(found.trials), found.damaged) == (2, (2,))
    with pytest.raises(StorageError, match=r"ledger\.jsonl: line 2 is damaged.*2 can be read"):
        refuse_damage(tmp_path, found)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b"{}", b'{"after": 1}', b"null", b"[" * 9999])
def test_any_line_can_be_damaged(tmp_path: Path, line: bytes) -> None:
    for name in "abc":
        enter(tmp_path, trial(name))
    path = tmp_path / ledger.NAME
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, lines[2]]) + b"\n")
    found = read(tmp_path)
    assert (len(found.trials), found.damaged) == (2, (2, 3))


def test_a_removed_and_a_changed_line_show(tmp_path: Path) -> None:
    """Planted: a look taken back."""
    for name in "abc":
        enter(tmp_path, trial(name))
    path = tmp_path / ledger.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    assert read(tmp_path).damaged == (2,)
    edited = json.loads(lines[1]) | {"headline": "h=1: nothing to see"}
    path.write_bytes(lines[0] + json.dumps(edited).encode() + b"\n" + lines[2])
    assert read(tmp_path).damaged == (3,)


def test_many_writers_lose_no_line(tmp_path: Path) -> None:
    names = [f"{i:02x}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda name: enter(tmp_path, BASE.model_copy(update={"config": name * 32})), names
            )
        )
    found = read(tmp_path)
    assert found.damaged == ()
    assert sorted(each.config[:2] for each in found.trials) == names


def test_a_held_lock_and_a_bad_place_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_S", 0.05)
    with (
        locked(tmp_path / "ledger.lock", 1),
        pytest.raises(LockedError, match=r"ledger\.lock is held"),
    ):
        enter(tmp_path, BASE)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        enter(tmp_path / "file" / "x", BASE)
    (tmp_path / ledger.NAME).mkdir()
    with pytest.raises(StorageError, match=r"ledger\.jsonl: Is a directory"):
        enter(tmp_path, BASE)


def test_of_a_line_that_does_not_fit_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(tmp_path, BASE)
    before = (tmp_path / ledger.NAME).read_bytes()
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("forecaster.ledger.os.write", half)
        with pytest.raises(StorageError, match=r"ledger\.jsonl: No space left on device"):
            enter(tmp_path, trial("b"))
    assert (tmp_path / ledger.NAME).read_bytes() == before
    assert enter(tmp_path, trial("b")).damaged == ()
