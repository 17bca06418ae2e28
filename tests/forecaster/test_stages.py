"""Where time goes: stages add up, and tables written piece by piece are the same files."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import OURS, SAME, Rng, assert_none_silent, mutant, outcome, tally
from panels import garch_panel

from forecaster import frames, key_order, parquet_chunks, stages
from forecaster.backtest import Cell, run_cell
from forecaster.baselines import BASELINES
from forecaster.errors import StorageError
from forecaster.folds import Schedule, walk_forward
from forecaster.protocol import Origins
from forecaster.report.stored import FORECASTS, table_of

SCHEDULE = Schedule(test_from=np.datetime64("2002-06-01"), refit_every=120)


def spun(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_a_stage_inside_another_is_taken_out_of_it():
    with stages.account() as spent:
        began = time.process_time()
        with stages.stage("scoring"):
            spun(0.01)
            with stages.stage("forecasting"):
                spun(0.03)
            spun(0.01)
        whole = time.process_time() - began
    assert sum(spent.values()) == pytest.approx(whole, abs=1e-3)
    assert spent["forecasting"] >= 0.03
    assert 0.02 <= spent["scoring"] <= whole - 0.03


def test_an_account_inside_another_keeps_its_own():
    with stages.account() as outer, stages.stage("writing"):
        spun(0.01)
        with stages.account() as inner, stages.stage("scoring"):
            spun(0.03)
    assert set(inner) == {"scoring"}
    assert set(outer) == {"writing"}
    assert inner["scoring"] >= 0.03 > outer["writing"] >= 0.01


def test_a_stage_that_fails_is_closed():
    with stages.account() as spent:
        with pytest.raises(ValueError, match="lost"), stages.stage("summary"):
            raise ValueError("lost")
        spun(0.02)
    assert spent.get("summary", 0.0) < 0.02


def test_accounts_are_added_in_the_order_of_a_run():
    total = stages.added([{"scoring": 1.0}, {"reading": 0.5, "scoring": 2.0}])
    assert (total["scoring"], total["reading"], total["report"]) == (3.0, 0.5, 0.0)
    assert tuple(total) == stages.STAGES
    told = stages.told(total, "2 processes")
    assert told == (
        "CPU-seconds by stage, 2 processes: reading 0.5 (14%), scoring 3.0 (86%); 3.5 in all"
    )


def tables() -> list[pa.Table]:
    """Predictions of three models, each in order."""
    panel = garch_panel(900, 3)
    fold = walk_forward(panel, SCHEDULE)[0]
    names = sorted(("random_walk", "drift", "volatility_20"))
    return [run_cell(panel, (1, 5), "x", Cell(fold, BASELINES[n])).predictions for n in names]


def chunked(parts: list[pa.Table]) -> bytes:
    chunks: Iterator[bytes] = parquet_chunks.parquet_chunks(parts, frames.PREDICTIONS, {"a": 1})
    return b"".join(chunks)


def groups_of(data: bytes) -> list[tuple[str, int]]:
    """(model, rows) of each row group, from the file's end alone."""
    about = pq.ParquetFile(pa.BufferReader(data)).metadata
    at = frames.PREDICTIONS.get_field_index("model")
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    assert all(g.column(at).statistics.min == g.column(at).statistics.max for g in groups)
    return [(g.column(at).statistics.min, g.num_rows) for g in groups]


def test_a_file_made_model_by_model_has_the_rows_of_one_write():
    parts = tables()
    assert frames.read(chunked(parts)).replace_schema_metadata(None).equals(frames.merge(parts))
    assert chunked(parts[:1]) == frames.to_parquet_bytes(parts[0], {"a": 1})
    assert frames.read(chunked([])).num_rows == 0


def test_no_row_group_holds_two_models(monkeypatch: pytest.MonkeyPatch):
    parts = tables()
    models = [part["model"][0].as_py() for part in parts]
    assert groups_of(chunked(parts)) == [(m, len(p)) for m, p in zip(models, parts, strict=True)]
    monkeypatch.setattr(parquet_chunks, "GROUP", 257)
    cut = [[257] * (len(p) // 257) + [len(p) % 257] for p in parts]
    wanted = [(m, n) for m, sizes in zip(models, cut, strict=True) for n in sizes]
    assert groups_of(chunked(parts)) == wanted


def hostile_tables(n: int, where: Path) -> Counter[str]:
    """What becomes of a page's reading of damaged tables: half of the damage is at the end."""
    good, path = chunked(tables()), where / "predictions.parquet"

    def case(rng: Rng) -> str:
        about = max(len(good) - 6_000, 0) if rng.random() < 0.5 else 0
        path.write_bytes(good[:about] + mutant(rng, good[about:]))
        return outcome(lambda: table_of(path, ["drift"], FORECASTS), lambda _: SAME, OURS)

    return tally(n, 6, case)


def test_a_damaged_table_is_no_traceback_on_a_page(tmp_path: Path):
    assert_none_silent(hostile_tables(600, tmp_path))


@pytest.mark.parametrize("reader", ["page", "merge"])
def test_a_flipped_bit_of_a_number_is_seen(tmp_path: Path, reader: str):
    """Planted: files without sums of their pages, which tell nothing."""
    path, parts = tmp_path / "predictions.parquet", tables()

    def read(data: bytes) -> object:
        path.write_bytes(data)
        if reader == "merge":
            return frames.decoded(path, frames.PREDICTIONS)
        return table_of(path, [part["model"][0].as_py() for part in parts], FORECASTS)

    def flipped(data: bytes, column: int) -> bytes:
        chunk = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(column)
        at = chunk.data_page_offset + chunk.total_compressed_size // 2
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    last = frames.PREDICTIONS.get_field_index("0.5")
    with pytest.raises(StorageError, match="not a parquet file that can be read"):
        read(flipped(chunked(parts), last))
    plain = pa.BufferOutputStream()
    pq.write_table(parts[0], plain, compression="none")
    read(flipped(plain.getvalue().to_pybytes(), last))


FLIPS = """
import sys
from pathlib import Path
from forecaster.errors import ForecasterError
from forecaster.report import stored

def by_bounds(file, models):
    at, about = file.schema_arrow.get_field_index("model"), file.metadata
    spans = [about.row_group(i).column(at).statistics for i in range(about.num_row_groups)]
    return [i for i, span in enumerate(spans) if span.min <= "drift" <= span.max]

path, planted = Path(sys.argv[1]), sys.argv[2] == "planted"
if planted:
    stored._groups = by_bounds
good = path.read_bytes()
end = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
for at in range(end, len(good), 1 if planted else 17):
    for bit in (0, 3, 5):
        raw = bytearray(good)
        raw[at] ^= 1 << bit
        path.write_bytes(raw)
        try:
            stored.table_of(path, ["drift"], stored.FORECASTS)
        except ForecasterError:
            pass
        except Exception:
            if not planted:
                raise
"""


@pytest.mark.parametrize("how", ["ours", "planted"])
def test_no_flipped_bit_of_a_tables_end_ends_the_process(tmp_path: Path, how: str):
    """pyarrow aborts where a damaged column is asked for its bounds: planted, that is seen."""
    path = tmp_path / "predictions.parquet"
    path.write_bytes(chunked(tables()))
    argv = [sys.executable, "-c", FLIPS, str(path), how]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (how == "ours"), done.stderr[-500:]
    assert how == "ours" or done.returncode == -signal.SIGABRT


def test_models_out_of_order_are_refused():
    with pytest.raises(ValueError, match="random_walk comes after volatility_20"):
        chunked(tables()[::-1])


def test_portions_are_whole_members_and_all_of_them():
    origins = Origins(np.repeat([0, 1, 2, 5], [3, 4, 2, 6]), np.arange(15))
    found = list(origins.portions(5))
    assert [each.member.tolist() for each in found] == [[0] * 3 + [1] * 4, [2] * 2 + [5] * 6]
    assert np.concatenate([each.bar for each in found]).tolist() == list(range(15))
    assert len(list(origins.portions(100))) == 1


@pytest.mark.parametrize(
    "name", ["historical_250", "har_empirical", "garch_student_t", "pool_garch_har"]
)
def test_portions_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch):
    panel = garch_panel(900, 4)
    cell = Cell(walk_forward(panel, SCHEDULE)[0], BASELINES[name])
    at_once = run_cell(panel, (1, 5), "x", cell)
    monkeypatch.setattr("forecaster.cells.PORTION", 1)
    in_parts = run_cell(panel, (1, 5), "x", cell)
    assert in_parts.predictions.equals(at_once.predictions)
    assert in_parts.scores.equals(at_once.scores)


def test_a_table_is_put_in_order_as_arrow_does():
    names = np.array(["b", "B", "\u00e4", "a", "b"] * 3, dtype=object)
    table = pa.table({"name": names, "n": np.arange(15)[::-1], "null": [None, *range(14)]})
    found, same = key_order.in_key_order(table, ("name", "n"))
    assert found.equals(table.sort_by([("name", "ascending"), ("n", "ascending")]).combine_chunks())
    assert not same.any()
    twice = key_order.in_key_order(pa.concat_tables([found, found.slice(0, 1)]), ("name", "n"))
    assert twice[1].tolist() == [False, True] + 14 * [False]
