"""The store: what goes in comes out, or an error says why; old or new at every fault."""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from market import COLUMNS, FIXED, ORIGIN, daily, legal_bars

from forecaster.atomic import commit_json
from forecaster.bars import Bars
from forecaster.errors import DataError, StorageError, UsageError
from forecaster.events import Event
from forecaster.provenance import content_sha256
from forecaster.store import Store
from forecaster.store import manifest as manifest_module
from forecaster.store.merge import merge
from forecaster.store.segment import decode, encode


def one_file(store: Store, symbol: str = "AAPL") -> Path:
    """The segment that counts."""
    entry = next(e for e in store.entries() if e.symbol == symbol)
    return store.root / "bars" / entry.file


def same_bytes(a: Bars, b: Bars) -> bool:
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in COLUMNS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


# What goes in comes out


@FIXED
@given(legal_bars())
def test_bars_survive_to_the_byte(bars: Bars) -> None:
    back, told = decode(encode(bars, ORIGIN))
    assert told == ORIGIN
    assert same_bytes(back, bars)
    assert (back.symbol, back.interval) == (bars.symbol, bars.interval)
    assert content_sha256(back) == content_sha256(bars)


def test_content_hash_sees_every_column_and_the_interval() -> None:
    bars = daily(3)
    hashes = {content_sha256(bars), content_sha256(replace(bars, interval="1wk"))}
    for name in COLUMNS:
        column = getattr(bars, name).copy()
        column[1] += np.timedelta64(1, "us") if name == "opened_at" else 1e-9
        hashes.add(content_sha256(replace(bars, **{name: column})))
    assert len(hashes) == 2 + len(COLUMNS)
    assert content_sha256(replace(bars, volume=-np.full(3, np.nan))) == content_sha256(
        replace(bars, volume=np.full(3, np.nan))
    )


def test_layout_manifest_and_metadata(store: Store) -> None:
    store.put(daily(5, "^GSPC"), ORIGIN)
    path = one_file(store, "^GSPC")
    data = path.read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    relative = f"interval=1d/symbol=%5EGSPC/{sha[:16]}.parquet"
    assert path == store.root / "bars" / relative
    document = json.loads((store.root / "bars" / "manifest.json").read_text())
    assert (document["format"], document["generation"]) == (1, 1)
    assert document["entries"] == [
        {
            "symbol": "^GSPC",
            "interval": "1d",
            "file": relative,
            "sha256": sha,
            "content": content_sha256(daily(5, "^GSPC")),
            "rows": 5,
            "first": "2024-01-01",
            "last": "2024-01-05",
            "source": "test",
            "fetched_at": "2026-01-01T00:00:00+00:00",
        }
    ]
    schema = pq.read_schema(io.BytesIO(data))
    assert [f"{f.name} {f.type}" for f in schema] == [
        "ts timestamp[us, tz=UTC]",
        *(f"{n} double" for n in ("open", "high", "low", "close", "volume", "adjustment")),
    ]
    about = json.loads(schema.metadata[b"forecaster"])
    assert (about["symbol"], about["schema_version"]) == ("^GSPC", 1)
    assert set(about) == {
        *("source", "package", "version", "sha256", "fetched_at", "notes", "schema_version"),
        *("symbol", "interval", "rows", "first", "last", "content"),
        *("currency", "exchange", "timezone", "events"),
    }


def test_other_tools_read_it_with_its_symbol(store: Store) -> None:
    nothing_but_closes: dict[str, Any] = {
        name: np.full(3, np.nan) for name in ("open", "high", "low", "volume")
    }
    store.put(daily(3, "^GSPC", **nothing_but_closes), ORIGIN)
    store.put(daily(4, "0700"), ORIGIN)
    pattern = str(store.root / "bars" / "**" / "*.parquet")
    query = f"select symbol, count(*), count(open) from read_parquet('{pattern}') group by 1"
    assert sorted(duckdb.connect().execute(query).fetchall()) == [("0700", 4, 4), ("^GSPC", 3, 0)]
    frame = polars.read_parquet(one_file(store, "^GSPC"), hive_partitioning=False)
    assert frame["close"].to_list() == [100.5, 101.5, 102.5]


def test_panel_entries_and_digest(store: Store, tmp_path: Path) -> None:
    assert store.entries() == ()
    for symbol in ("IBM", "AAPL"):
        store.put(daily(5, symbol), ORIGIN)
    assert store.panel(["IBM", "AAPL"]).symbols == ("AAPL", "IBM")
    assert [e.symbol for e in store.entries()] == ["AAPL", "IBM"]
    other = Store(tmp_path / "elsewhere")
    for symbol in ("AAPL", "IBM"):
        other.put(daily(5, symbol), replace(ORIGIN, source="another", fetched_at="later"))
    assert store.digest(["IBM", "AAPL"]) == other.digest(["AAPL", "IBM"])
    assert store.digest(["AAPL"]) != store.digest(["IBM"])
    other.put(daily(6, "IBM"), ORIGIN)
    assert store.digest(["IBM", "AAPL"]) != other.digest(["AAPL", "IBM"])


def test_a_symbol_that_is_not_there(store: Store) -> None:
    with pytest.raises(DataError) as caught:
        store.load("AAPL")
    assert str(caught.value) == (
        f"AAPL at interval 1d is not in the store {store.root}; it has none of that interval;"
        " run `forecaster fetch AAPL`"
    )
    store.put(daily(2, "AAPL"), ORIGIN)
    with pytest.raises(DataError) as caught:
        store.panel(["APPL"])
    assert str(caught.value) == (
        f"APPL at interval 1d is not in the store {store.root}; did you mean 'AAPL'?"
        " If not, fetch it: `forecaster fetch APPL --source yahoo`"
    )
    with pytest.raises(UsageError, match="interval '1day' is unknown"):
        store.load("AAPL", "1day")
    with pytest.raises(UsageError, match="no symbols given"):
        store.panel([])


def test_a_symbol_at_another_interval_is_said_to_be_there(store: Store) -> None:
    store.put(daily(2, "AAPL"), ORIGIN)
    with pytest.raises(DataError, match="at interval 1d, not at 1h: ask for that, with --set"):
        store.load("AAPL", "1h")


# New bars meet old ones


def moved(bars: Bars, **changed: Any) -> Bars:
    return replace(bars, **changed)


WHOLE = daily(10)
SPLIT = moved(WHOLE, **{n: getattr(WHOLE, n) / 2 for n in ("open", "high", "low", "close")})
CASES = [  # stored, new, status, rows added, rows stored after
    (None, WHOLE, "added", 10, 10),
    (WHOLE, WHOLE, "same", 0, 10),
    (WHOLE, WHOLE.select(slice(3, 6)), "same", 0, 10),
    (WHOLE.head(6), WHOLE, "appended", 4, 10),
    (WHOLE.head(6), WHOLE.select(slice(5, 10)), "appended", 4, 10),
    (WHOLE.select(slice(4, 10)), WHOLE.head(5), "appended", 4, 10),
    (WHOLE, SPLIT, "replaced", 0, 10),
    (WHOLE.head(6), SPLIT, "replaced", 4, 10),
    (WHOLE, WHOLE.select(WHOLE.close != 104.5), "replaced", 0, 9),
]


@pytest.mark.parametrize(("old", "new", "status", "added", "total"), CASES)
def test_put(
    store: Store, old: Bars | None, new: Bars, status: str, added: int, total: int
) -> None:
    if old is not None:
        store.put(old, ORIGIN)
    looked = store.preview(new)
    commit = store.put(new, ORIGIN)
    for each in (looked, commit):
        assert (each.status, each.rows_added, len(each.bars)) == (status, added, total)
    assert same_bytes(store.load("AAPL"), commit.bars)
    if status in {"same", "appended"}:
        assert same_bytes(store.load("AAPL"), WHOLE)
    else:
        assert same_bytes(store.load("AAPL"), new)
    assert store.put(new, ORIGIN).status == "same"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            WHOLE,
            SPLIT.head(5),
            "AAPL: history has changed: open of 2024-01-01 is 49.875, stored is 99.75;"
            " fetch all of 2024-01-01 to 2024-01-10 to replace it",
        ),
        (
            WHOLE,
            WHOLE.select(WHOLE.close != 104.5).head(6),
            "AAPL: history has changed: only the store has 2024-01-05;",
        ),
        (
            WHOLE.select(WHOLE.close != 104.5),
            WHOLE.head(6),
            "AAPL: history has changed: only the new one has 2024-01-05;",
        ),
        (
            WHOLE.head(3),
            WHOLE.select(slice(3, 9)),
            "AAPL: 2024-01-04 to 2024-01-09 shares no bar with what is stored, 2024-01-01 to"
            " 2024-01-03: nothing shows that they are one history; fetch a range that overlaps",
        ),
    ],
)
def test_put_refuses_to_mix_histories(store: Store, old: Bars, new: Bars, text: str) -> None:
    store.put(old, ORIGIN)
    for call in (store.put, lambda bars, _: store.preview(bars)):
        with pytest.raises(DataError) as caught:
            call(new, ORIGIN)
        assert str(caught.value).startswith(text)
        assert len(str(caught.value)) <= 240
    assert same_bytes(store.load("AAPL"), old)


def test_a_merge_that_believes_the_new_would_be_caught() -> None:
    """Planted mistake: taking new bars as they come joins prices of before and after a split."""
    late = SPLIT.select(slice(5, 10))
    mixed = np.concatenate((WHOLE.head(5).close, late.close))
    assert np.abs(np.diff(np.log(mixed))).max() > 0.5
    with pytest.raises(DataError, match="history has changed"):
        merge(WHOLE, late)


# Damage


def assert_damaged(store: Store, symbol: str, cause: str) -> None:
    with pytest.raises(StorageError) as caught:
        store.load(symbol)
    text = str(caught.value)
    assert text.startswith(f"{symbol}: stored file {one_file(store, symbol)} is damaged: {cause}")
    assert (
        f"run `forecaster fetch {symbol} --source test --interval 1d` for all of 2024-01-01 to"
        in text
    )


@pytest.mark.parametrize("share", [0.03, pytest.param(1, marks=pytest.mark.slow)])
def test_any_flipped_bit_of_a_segment_is_seen(store: Store, share: float) -> None:
    store.put(daily(3), ORIGIN)
    path = one_file(store)
    good = path.read_bytes()
    bits = np.random.default_rng(0).permutation(len(good) * 8)
    for bit in bits[: int(share * len(bits))].tolist():
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(wrong)
        assert_damaged(store, "AAPL", "its hash is not the one in the manifest")
    path.write_bytes(good)
    assert len(store.load("AAPL")) == 3


def test_any_cut_of_a_segment_is_seen(store: Store) -> None:
    store.put(daily(3), ORIGIN)
    path = one_file(store)
    good = path.read_bytes()
    for length in {0, 1, len(good) // 2, *range(len(good) - 20, len(good))}:
        path.write_bytes(good[:length])
        assert_damaged(store, "AAPL", "its hash is not the one in the manifest")


def test_a_reader_without_the_hash_would_miss_bits() -> None:
    """Planted mistake: parsing alone takes some damaged files for sound ones."""
    good = encode(daily(3), ORIGIN)
    silent = 0
    for at in range(0, len(good), 5):
        wrong = bytearray(good)
        wrong[at] ^= 1
        try:
            decode(bytes(wrong))
        except (ValueError, DataError):
            continue
        silent += 1
    assert silent > 0


def test_gone_swapped_and_stale_segments_are_seen(store: Store) -> None:
    store.put(daily(3, "AAPL"), ORIGIN)
    store.put(daily(3, "IBM"), ORIGIN)
    apple, ibm = one_file(store, "AAPL"), one_file(store, "IBM")
    stale = apple.read_bytes()
    apple.write_bytes(ibm.read_bytes())
    assert_damaged(store, "AAPL", "its hash is not the one in the manifest")
    apple.unlink()
    assert_damaged(store, "AAPL", f"cannot read {apple}: No such file or directory")
    assert len(store.load("IBM")) == 3
    apple.write_bytes(stale)
    store.put(daily(5, "AAPL"), ORIGIN)
    one_file(store, "AAPL").write_bytes(stale)
    assert_damaged(store, "AAPL", "its hash is not the one in the manifest")


def test_a_link_in_place_of_a_segment_or_folder_is_refused(store: Store, tmp_path: Path) -> None:
    store.put(daily(3), ORIGIN)
    path = one_file(store)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert_damaged(store, "AAPL", f"cannot read {path}: it is a symbolic link")
    (tmp_path / "victim").mkdir()
    (store.root / "bars" / "interval=1d" / "symbol=IBM").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="symbol=IBM is a link that leads elsewhere"):
        store.put(daily(3, "IBM"), ORIGIN)
    assert list((tmp_path / "victim").iterdir()) == []


def test_damage_is_mended_by_all_of_the_time_and_not_by_a_part(store: Store) -> None:
    store.put(daily(5), ORIGIN)
    one_file(store).write_bytes(b"")
    with pytest.raises(StorageError, match="is damaged"):
        store.put(daily(3), ORIGIN)
    commit = store.put(daily(5), ORIGIN)
    assert (commit.status, commit.rows_added) == ("replaced", 5)  # none could be read
    assert same_bytes(store.load("AAPL"), daily(5))


def test_manifest_damage(store: Store) -> None:
    store.put(daily(3), ORIGIN)
    path = store.root / "bars" / "manifest.json"
    good = path.read_bytes()
    silent = 0
    for at in range(0, len(good), 3):
        wrong = bytearray(good)
        wrong[at] ^= 1
        path.write_bytes(wrong)
        try:
            store.entries()
        except StorageError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            silent += 1
    assert silent == 0
    for data, cause in (
        (b"", "Expecting value"),
        (b"[]", "it is not an object"),
        (good[: len(good) // 2], ""),
        (b"[" * 100_000, ""),
        (b"\xff\xfe", ""),
        (good.replace(b'"rows": 3', b'"rows": 4'), "its hash is not that of its content"),
    ):
        path.write_bytes(data)
        with pytest.raises(StorageError) as caught:
            store.load("AAPL")
        assert str(caught.value).startswith(f"{path} is damaged: {cause}")
        assert str(caught.value).endswith(f"run `forecaster store repair --store {store.root}`")


def forge(store: Store, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and make its hash fit: what a newer version or a fool might write."""
    path = store.root / "bars" / "manifest.json"
    document = json.loads(path.read_text())
    del document["self"]
    change(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    commit_json(path, {**document, "self": hashlib.sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.update(format=2), "is of format 2, written by a newer forecaster"),
        (lambda d: d.update(format=None), "is damaged: its format is None"),
        (lambda d: d.update(more=1), "is damaged: 1 validation error"),
        (lambda d: d["entries"][0].update(symbol="../../x"), "is damaged: symbol '../../x'"),
        (lambda d: d["entries"][0].update(interval="../x"), "is damaged: interval '../x'"),
        (
            lambda d: d["entries"][0].update(file="/etc/passwd"),
            "is damaged: a file in it is not where its symbol belongs",
        ),
        (lambda d: d["entries"][0].update(rows=0), "is damaged: 1 validation error"),
        (lambda d: d["entries"][0].pop("file"), "is damaged: 'file'"),
    ],
)
def test_manifest_of_another_kind(
    store: Store, change: Callable[[dict[str, Any]], object], text: str
) -> None:
    store.put(daily(3), ORIGIN)
    forge(store, lambda d: d)
    assert len(store.entries()) == 1  # the forgery itself is no reason to refuse
    forge(store, change)
    with pytest.raises(StorageError) as caught:
        store.entries()
    assert text in str(caught.value)


def test_a_lost_manifest_is_not_an_empty_store(store: Store) -> None:
    store.put(daily(3), ORIGIN)
    path = store.root / "bars" / "manifest.json"
    path.unlink()
    for call in (store.entries, store.prepare, lambda: store.put(daily(3, "IBM"), ORIGIN)):
        with pytest.raises(StorageError) as caught:
            call()
        assert str(caught.value).startswith(f"{path} is missing, though its segments are there:")
    assert not path.exists()


# Faults while writing


def test_a_crash_between_segment_and_manifest_leaves_the_old_state(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(daily(3), ORIGIN)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "commit_json", crash)
        with pytest.raises(KeyboardInterrupt):
            store.put(daily(8), ORIGIN)
    assert len(list(one_file(store).parent.iterdir())) == 2
    assert same_bytes(store.load("AAPL"), daily(3))
    assert store.put(daily(8), ORIGIN).status == "appended"


@pytest.mark.parametrize("first", [True, False])
def test_a_fault_at_any_call_leaves_old_or_new(tmp_path: Path, first: bool) -> None:
    faults = 0
    for nth in range(1, 70):
        store = Store(tmp_path / str(nth))
        if not first:
            store.put(daily(3), ORIGIN)
        with pytest.MonkeyPatch.context() as patch:
            failed = fails_at(patch, nth, store)
        rows = [e.rows for e in store.entries()]
        assert rows in ([[], [8]] if first else [[3], [8]])
        if rows:
            assert same_bytes(store.load("AAPL"), daily(rows[0]))
        if failed:
            faults += 1
        elif nth > 60:  # more calls than a commit makes
            assert rows == [8]
            break
        assert store.put(daily(8), ORIGIN).status in {"added", "appended", "same"}
    assert faults > (20 if first else 12)


def fails_at(patch: pytest.MonkeyPatch, nth: int, store: Store) -> bool:
    """Whether a put raised StorageError when the nth call of a file function found a full disk."""
    made = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made == nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **options)

        return wrapped

    for name in ("open", "write", "fsync", "replace", "mkdir", "pwrite"):
        patch.setattr(os, name, wrap(getattr(os, name)))
    try:
        store.put(daily(8), ORIGIN)
    except StorageError as error:
        return "No space left on device" in str(error)
    return False


def test_a_store_that_cannot_be_written_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "data").prepare()
    assert str(caught.value) == (
        f"cannot write in {tmp_path}/data/bars: Not a directory;"
        " name another place or mend its rights"
    )


@pytest.mark.parametrize("name", ["with space", "%41", "-rf", "\u00e4\u65e5", "a\nb", "'; drop"])
def test_odd_store_paths_work(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    store.put(daily(3, "^GSPC"), ORIGIN)
    assert len(Store(tmp_path / name).load("^GSPC")) == 3


# Garbage


def segments(store: Store) -> int:
    return len(list((store.root / "bars").glob("interval=*/symbol=*/*")))


def test_two_generations_are_kept_and_leftovers_go(store: Store) -> None:
    counts = []
    for n in range(3, 8):
        store.put(daily(n), ORIGIN)
        counts.append(segments(store))
    assert counts == [1, 2, 2, 2, 2]
    litter = [one_file(store).parent / ".tmp-1-x", store.root / "bars" / ".tmp-1-y"]
    for path in litter:
        path.write_bytes(b"torn")
    store.put(daily(3, "IBM"), ORIGIN)
    assert [path.exists() for path in litter] == [False, False]
    assert segments(store) == 2


def test_a_reader_that_lost_the_race_reads_the_new_segment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(daily(3), ORIGIN)
    old = store.entries()[0]
    for n in (4, 5):
        store.put(daily(n), ORIGIN)
    assert not (store.root / "bars" / old.file).exists()
    find, answers = Store._find, [old]  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(
        Store, "_find", lambda self, *a: answers.pop() if answers else find(self, *a)
    )
    assert same_bytes(store.load("AAPL"), daily(5))


def test_where_bars_come_from_is_under_the_hash_of_the_bars(tmp_path: Path) -> None:
    """Pence told as pounds would let a hundredfold step be joined."""
    store = Store(tmp_path)
    pence = replace(
        ORIGIN, currency="GBp", notes=("a note",), events=(Event("2024-01-03", "split", 2.0),)
    )
    store.put(daily(5), pence)
    assert store.load_with_provenance("AAPL")[1] == pence
    segment = next(tmp_path.rglob("*.parquet"))
    segment.write_bytes(encode(daily(5), replace(pence, currency="GBP")))
    assert decode(segment.read_bytes())[1].currency == "GBP"  # what a reader without it would take
    with pytest.raises(StorageError, match="its hash is not the one in the manifest"):
        store.load_with_provenance("AAPL")


def test_bars_under_the_metadata_of_others_are_no_segment() -> None:
    table = pq.read_table(pa.BufferReader(encode(daily(5), ORIGIN)))
    others = pq.read_table(pa.BufferReader(encode(daily(6), ORIGIN)))
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(others.schema.metadata), sink)
    with pytest.raises(ValueError, match="not those that it was written with"):
        decode(sink.getvalue().to_pybytes())
    sink = pa.BufferOutputStream()
    about = b'{"schema_version": 1, "symbol": "AAPL", "interval": "1d"}'
    pq.write_table(table.replace_schema_metadata({b"forecaster": about}), sink)
    with pytest.raises(ValueError, match="its metadata are not ours: 'content'"):
        decode(sink.getvalue().to_pybytes())
