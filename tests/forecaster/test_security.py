"""What a hostile name, file or folder can do: be refused in one harmless line, and nothing else."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import unpickled
from market import ORIGIN, daily

from backbones.checkpoint import latest
from backbones.checkpoint.files import read_state, sealed
from backbones.errors import CheckpointError as BackboneCheckpointError
from backbones.errors import CorpusError
from backbones.errors import printable as printable_of_backbones
from backbones.text import wikitext
from backbones.text.wikitext import unpack
from forecaster.audit.columns import read_foreign
from forecaster.cli import run
from forecaster.config import resolve
from forecaster.errors import CheckpointError, DataError, StorageError, UsageError, printable
from forecaster.runs import RunFolder
from forecaster.store import Store
from forecaster.store.segment import decode
from forecaster.symbols import Symbol

ESCAPES = "\x1b[31m\x1b]0;title\x07\u202e\u2066\x9b2J\r\x08"
TINY = ["--set", "learner.steps=2", "--set", "learner.seeds=1", "--set", "learner.d_model=16"]
TINY += ["--set", "learner.n_layers=1", "--set", "learner.context=32", "--set", "learner.batch=4"]
SHORT = ["--jobs", "1", "--baselines", "random_walk,volatility_20", "--test-from", "2018-11-01"]


def commands_read(tmp_path: Path, *commands: list[str]) -> list[str]:
    """What unpickled.py saw while it ran the commands."""
    words = [json.dumps(each) for each in commands]
    done = subprocess.run(
        [sys.executable, unpickled.__file__, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


FEW = ["--symbols", "^IXIC", "--horizons", "1", "-q"]
QUICK = [["fetch", "^IXIC", "-q"], ["store", "verify", "-q"], ["store", "ls"], ["runs", "ls"]]
WHOLE = [
    *QUICK,
    ["train", *FEW, *TINY, "--out", "runs/t"],
    ["predict", "runs/t", "-q", "--out", "p.parquet"],
    ["backtest", *FEW, *TINY, *SHORT, "--out", "runs/b"],
    ["runs", "show", "runs/b"],
    ["audit", "runs/b/predictions.parquet", "--symbols", "^IXIC", "-q"],
]


@pytest.mark.parametrize(
    "commands", [QUICK, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["quick", "whole"]
)
def test_no_command_reads_a_pickle(tmp_path: Path, commands: list[list[str]]) -> None:
    assert commands_read(tmp_path, *commands) == []


def test_a_planted_pickle_is_seen(tmp_path: Path) -> None:
    found = commands_read(tmp_path, ["plant"])
    assert found[0] == "pickle.loads"
    assert any(each.startswith("pickle of pathlib") for each in found)


# Names


NAMES = [
    *("../x", "..", "/etc/passwd", "a/../../b", "A\x00B", "A" * 300, "CON\x00", ".", "~", "-rf"),
    *("%2e%2e", "a\\b", "$(id)", "`id`", "A;id", "A|id", "\u202eLPAA", "\ud800", "NUL:", ESCAPES),
]


def outside(root: Path, store: Path) -> set[Path]:
    return {p for p in root.rglob("*") if store not in (p, *p.parents)}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_hostile_symbol_makes_no_path_and_moves_no_cursor(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = outside(tmp_path, tmp_path / "data")
    assert run(["fetch", "--store", "data", "--debug", "--", name]) in {2, 3, 5}
    with pytest.raises(UsageError) as caught:
        resolve(None, (), {"symbols": (name,)})
    assert str(caught.value).isprintable()
    said = capfd.readouterr()
    for line in (said.out + said.err).splitlines():
        assert line.isprintable(), line
    assert outside(tmp_path, tmp_path / "data") == before
    made = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert {p.name for p in made} <= {"LOCK", "manifest.json"}


@pytest.mark.parametrize("name", ["CON", "NUL", "AUX", "COM1", "LPT9", "PRN"])
def test_reserved_names_are_no_file_names_of_ours(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(daily(3, name), ORIGIN)
    segment = tmp_path / "bars" / store.entries()[0].file
    assert segment.parent.name == f"symbol={name}"
    assert len(store.load(name)) == 3


def test_a_run_name_leads_to_no_file_of_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("../../../etc", "/etc/passwd", "a\x00b", "x" * 5000, ESCAPES, "runs/\ud800"):
        assert run(["runs", "show", name]) in {2, 5, 6}
        assert run(["predict", name]) in {2, 5, 6}
    said = capfd.readouterr().err
    assert all(line.isprintable() for line in said.splitlines())
    assert "Traceback" not in said
    assert "our bug" not in said


def test_a_pointer_to_a_checkpoint_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "step-000001").mkdir()
    pointer = tmp_path / "LATEST"
    pointer.write_text("step-000001\n")
    assert latest(tmp_path) == tmp_path / "step-000001"
    for text in (
        "../step-000001",
        "/etc",
        "",
        "step-1/../../x",
        "step-000001\nx",
        "\xff",
        "x" * 99,
    ):
        pointer.write_bytes(text.encode("latin-1"))
        with pytest.raises(BackboneCheckpointError, match="is damaged: it names"):
            latest(tmp_path)
    pointer.write_bytes(b"step-000001\n" * 100)
    with pytest.raises(BackboneCheckpointError, match="1200 bytes, more than 100"):
        latest(tmp_path)


# Terminal escapes


def test_a_traceback_moves_no_cursor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile_words.py").write_text(f"raise ValueError({ESCAPES!r} + chr(10) + 'two')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run(["fetch", "A", "--source", "hostile_words:X", "--store", "s", "--debug"]) == 4
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert "\\x1b[31m" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_both_packages_escape_alike() -> None:
    assert printable_of_backbones(f"{ESCAPES}a\nb") == f"{printable(ESCAPES)}a\nb"
    assert printable(ESCAPES).isprintable()


def test_a_hostile_file_name_and_column_are_shown_harmlessly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"A{ESCAPES[:6]}.csv"
    path.write_text(f"date,{ESCAPES[:5]},high,low,close\n")
    assert (
        run(["fetch", "A", "--source", "csv", "--path", str(path), "--store", str(tmp_path)]) == 3
    )
    assert all(line.isprintable() for line in capfd.readouterr().err.splitlines())


# Bombs


def test_json_of_a_run_is_bounded_and_may_be_nested_without_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for data in (b"[" * 200_000, b'{"a":' * 200_000, b"[]", b"null", b"\xff", b""):
        (tmp_path / "status.json").write_bytes(data)
        with pytest.raises(CheckpointError, match="is missing or damaged"):
            folder.read_json("status.json")
    with (tmp_path / "status.json").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing takes no room
    with pytest.raises(CheckpointError, match="is missing or damaged"):
        folder.read_json("status.json")


def test_the_state_of_a_checkpoint_is_bounded_and_knows_its_hash(tmp_path: Path) -> None:
    about = {"step": 3, "scale": 1.0, "steady": 0, "threads": 1, "torch": "2", "sha256": {}}
    path = tmp_path / "state.json"
    path.write_bytes(sealed(about))
    assert read_state(tmp_path) == about
    path.write_bytes(json.dumps(about).encode())
    assert read_state(tmp_path) == about  # of a version that knew no hash
    path.write_bytes(sealed(about).replace(b'"step": 3', b'"step": 4'))
    with pytest.raises(BackboneCheckpointError, match="its hash is not that of its content"):
        read_state(tmp_path)
    for data in (b"[" * 200_000, b"[]", b"\xff", b'{"sha256": 3}', b"{}"):
        path.write_bytes(data)
        with pytest.raises(BackboneCheckpointError, match="is damaged"):
            read_state(tmp_path)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BackboneCheckpointError, match="more than 1048576"):
        read_state(tmp_path)


def test_a_zip_bomb_and_a_torn_zip_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikitext, "LARGEST_BYTES", 1_000_000)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wiki.train.raw", bytes(2_000_000))
    bomb = sink.getvalue()
    assert len(bomb) < 1 << 14
    with pytest.raises(CorpusError, match="of 2000000 bytes: at most 1000000 are wanted"):
        unpack(Path("b.zip"), bomb)
    lying = bomb.replace((2_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    for data in (lying, bomb[:-30], b"PK", b"", bomb[: len(bomb) // 2]):
        with pytest.raises(CorpusError):
            unpack(Path("b.zip"), data)


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def test_a_segment_or_predictions_of_too_many_rows_are_refused_from_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecaster.audit import columns
    from forecaster.store import segment

    monkeypatch.setattr(segment, "MOST_ROWS", 2)
    with pytest.raises(ValueError, match="3 rows are more than 2"):
        decode(segment.encode(daily(3), ORIGIN))
    path = tmp_path / "p.parquet"
    path.write_bytes(written(pa.table({"y": np.zeros(1000)})))
    monkeypatch.setattr(columns, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match="1000 rows of 1 columns are too many"):
        read_foreign(path)


def test_predictions_of_odd_types_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    for column in (pa.array([[1.0]]), pa.array([b"x"]), pa.array([bytes(16)], pa.uuid())):
        path.write_bytes(written(pa.table({"y": column})))
        with pytest.raises(DataError, match=r"column y has type .*; wanted numbers, times or text"):
            read_foreign(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(StorageError, match="symbolic link"):
        read_foreign(tmp_path / "link")


def test_a_hostile_index_of_pandas_is_not_believed(tmp_path: Path) -> None:
    table = pa.table({"y": [1.0]}).replace_schema_metadata({b"pandas": b"{not json"})
    path = tmp_path / "p.parquet"
    path.write_bytes(written(table))
    with pytest.raises(DataError, match="no column unique_id; it has y"):
        read_foreign(path)


def test_symbols_of_a_config_are_symbols(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('symbols = ["../../etc/passwd"]\n')
    assert run(["backtest", "--config", str(file), "--dry-run", "--store", str(tmp_path)]) == 2
    with pytest.raises(UsageError):
        Symbol("../../etc/passwd")
