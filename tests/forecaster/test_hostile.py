"""Hostile inputs, counted: none ends in a traceback, none is silently another thing.

A quick tier in every run; `pytest -m soak tests/forecaster` has the full counts.
"""

import io
import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from hostile import (
    LEGAL,
    NUMBERS,
    OURS,
    REFUSED,
    SAME,
    Rng,
    assert_none_silent,
    hostile_symbol,
    judged_symbol,
    legal_by_hand,
    mutant,
    outcome,
    tally,
)
from market import COLUMNS, MONDAY, ORIGIN, columns, daily

from backbones.checkpoint import load_weights
from backbones.checkpoint.files import latest, load_tensors, read_config, read_state
from backbones.errors import CheckpointError
from backbones.recipe import TrainRecipe
from backbones.train import RunFolder, fit
from forecaster.bars import Bars
from forecaster.sources.csv_format import parse_csv
from forecaster.sources.parquet_format import parse_parquet
from forecaster.sources.strict import legal_bars
from forecaster.sources.tradingview_format import parse_tradingview
from forecaster.store import Store, verify
from forecaster.store.manifest import Manifest
from forecaster.symbols import Symbol

AAPL = Symbol("AAPL")


def tiers(quick: int, full: int) -> Any:
    """The counts of both tiers, as parameters of a test."""
    return pytest.mark.parametrize("n", [quick, pytest.param(full, marks=pytest.mark.soak)])


def same(a: Bars, b: Bars) -> bool:
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in COLUMNS)


# Frames of bars


def hostile_frame(rng: Rng) -> dict[str, Any]:
    """Columns of legal bars with up to three numbers, times or lengths that are not."""
    n = int(rng.integers(1, 6))
    made = {**columns(n), "opened_at": MONDAY + np.arange(n) * np.timedelta64(1, "D")}
    for _ in range(int(rng.integers(0, 4))):
        name = COLUMNS[int(rng.integers(len(COLUMNS)))]
        column, at = made[name].copy(), int(rng.integers(n))
        if name == "opened_at":
            column[at] += np.timedelta64(int(rng.integers(-3, 3)), "D")
        else:
            column[at] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        made[name] = column
    if rng.random() < 0.1:
        for name in ("open", "high", "low"):
            made[name] = np.full(n, np.nan)
    if rng.random() < 0.03:
        made["close"] = made["close"][: n - 1]
    return made


def judged_frame(rng: Rng) -> str:
    made = hostile_frame(rng)
    whole = len(made["close"]) == len(made["open"])
    rows = list(zip(*(made[n].tolist() for n in COLUMNS[1:]), strict=False))
    wanted = whole and legal_by_hand(rows, made["opened_at"].astype(np.int64).tolist())

    def judge(bars: Bars) -> str:
        kept = all(np.array_equal(getattr(bars, n), made[n], equal_nan=n != "opened_at")
                   for n in COLUMNS)  # fmt: skip
        return LEGAL if wanted and kept else f"accepted: {rows}"

    found = outcome(lambda: Bars(symbol=AAPL, **made), judge, OURS)
    return f"refused legal bars: {rows}" if wanted and found == REFUSED else found


@tiers(1_000, 100_000)
def test_frames(n: int) -> None:
    found = tally(n, 1, judged_frame)
    assert_none_silent(found)
    assert found[LEGAL] > n / 20


def test_a_rule_that_is_not_looked_at_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted mistake: bars that believe everybody."""
    monkeypatch.setattr("forecaster.bars._broken_rules", lambda _: ())
    found = tally(300, 1, judged_frame)
    with pytest.raises(AssertionError):
        assert_none_silent(found)


# Files


CSV = "date,open,high,low,close,volume\n" + "".join(
    f"2024-01-{d:02},{10 + d}.25,{11 + d}.5,{9 + d},{10 + d}.75,{1000 * d}\n" for d in range(2, 12)
)
TRADINGVIEW = CSV.replace("date,", "time,").replace("volume", "Volume")
LETTERS = b"0123456789-+.,eE\n\r\";' T:ZNanif\x00\xff"


def reread(data: bytes, width: int) -> tuple[list[int], list[tuple[float, ...]]]:
    """Days and numbers of a CSV by Python's own conversions. ValueError where they fail."""
    days, rows = [], []
    for line in data.decode().removesuffix("\n").split("\n")[1:]:
        day, *numbers = line.removesuffix("\r").split(",")
        days.append(date.fromisoformat(day).toordinal())
        rows.append(tuple(map(float, numbers[:width])))
    return days, rows


def judged_csv(rng: Rng, parse: Any, text: str) -> str:
    data = mutant(rng, text.encode(), LETTERS)

    def judge(bars: Bars) -> str:
        # A volume by another name is a study: not read, and said to be there.
        width = 4 if np.isnan(bars.volume).all() else 5
        try:
            days, rows = reread(data, width)
        except ValueError:
            return f"silent: {data!r}"
        read = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        got = list(zip(*(column.tolist() for column in read[:width]), strict=True))
        labels = [d.toordinal() for d in bars.opened_at.astype("datetime64[D]").tolist()]
        if labels != days or got != rows:
            return f"silent: {data!r}"
        full = [(*row, *(math.nan,) * (5 - width), 1.0) for row in rows]
        return LEGAL if legal_by_hand(full, days) else f"illegal: {data!r}"

    return outcome(lambda: legal_bars(parse("F.csv", data, "1d"), AAPL, "1d"), judge, OURS)


@tiers(400, 10_000)
def test_csv(n: int) -> None:
    found = tally(n, 2, lambda rng: judged_csv(rng, parse_csv, CSV))
    assert_none_silent(found)
    assert found[LEGAL] > 0


@tiers(200, 10_000)
def test_tradingview(n: int) -> None:
    assert_none_silent(tally(n, 3, lambda rng: judged_csv(rng, parse_tradingview, TRADINGVIEW)))


def test_a_reader_that_guesses_would_be_counted() -> None:
    """Planted mistake: numbers read as far as they go, as a C library does."""

    def guess(name: str, data: bytes, interval: str) -> Any:
        clean = bytes(b for b in data if b in b"0123456789-.,\n" or chr(b).isalpha())
        return parse_csv(name, clean, interval)

    found = tally(600, 2, lambda rng: judged_csv(rng, guess, CSV))
    with pytest.raises(AssertionError):
        assert_none_silent(found)


def parquet(*, checksums: bool) -> bytes:
    sink = io.BytesIO()
    made = {"date": columns(40)["opened_at"], **columns(40)}
    names = ("date", "open", "high", "low", "close", "volume")
    pq.write_table(pa.table({n: made[n] for n in names}), sink, write_page_checksum=checksums)
    return sink.getvalue()


def judged_parquet(rng: Rng, good: bytes, wanted: Bars) -> str:
    data = mutant(rng, good)

    def judge(bars: Bars) -> str:
        return SAME if same(bars, wanted) else "silent"

    return outcome(
        lambda: legal_bars(parse_parquet("F.parquet", data, "1d"), AAPL, "1d"), judge, OURS
    )


@tiers(400, 10_000)
def test_parquet_with_checksums(n: int) -> None:
    good = parquet(checksums=True)
    wanted = legal_bars(parse_parquet("F.parquet", good, "1d"), AAPL, "1d")
    assert_none_silent(tally(n, 4, lambda rng: judged_parquet(rng, good, wanted)))


def test_a_parquet_without_checksums_can_lie() -> None:
    """The negative control: what our own segments have, a foreign file may lack."""
    good = parquet(checksums=False)
    wanted = legal_bars(parse_parquet("F.parquet", good, "1d"), AAPL, "1d")
    found = tally(1500, 4, lambda rng: judged_parquet(rng, good, wanted))
    assert found["silent"] > 0
    assert {k for k in found if k not in {"silent", SAME, REFUSED, LEGAL}} == set()


# The store and checkpoints


@tiers(200, 10_000)
def test_manifests(n: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for symbol in ("AAPL", "IBM"):
        store.put(daily(4, symbol), ORIGIN)
    path = tmp_path / "bars" / "manifest.json"
    good, wanted = path.read_bytes(), store.entries()

    def case(rng: Rng) -> str:
        path.write_bytes(mutant(rng, good))
        return outcome(
            lambda: Manifest.read(path),
            lambda m: SAME if m.entries == wanted and m.generation == 2 else "silent",
            OURS,
        )

    assert_none_silent(tally(n, 5, case))


@tiers(100, 10_000)
def test_segments(n: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(daily(4), ORIGIN)
    path = tmp_path / "bars" / store.entries()[0].file
    good = path.read_bytes()

    def case(rng: Rng) -> str:
        data = mutant(rng, good)
        path.write_bytes(data)
        found = outcome(
            lambda: store.load("AAPL"), lambda b: SAME if same(b, daily(4)) else "silent", OURS
        )
        named = verify(tmp_path).faults
        return found if (found == REFUSED) == bool(named) else "verify says another thing"

    assert_none_silent(tally(n, 6, case))


def tensors(place: Path, model: torch.nn.Module) -> list[bytes]:
    """All numbers of a checkpoint, the model's as they are loaded."""
    load_weights(place, model)
    rest = load_tensors(place, "optimizer")
    found = [*model.state_dict().items(), *sorted(rest.items())]
    return [name.encode() + value.numpy().tobytes() for name, value in found]


@tiers(100, 10_000)
def test_checkpoints(n: int, tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    recipe = TrainRecipe(steps=2, lr=1e-2, checkpoint_every=1, warmup=0)
    run = RunFolder(path=tmp_path, config={"a": 1})
    fit(model, lambda _: model(torch.ones(1, 3)).square().mean(), recipe, run=run)
    folder = tmp_path / "checkpoints"
    place = latest(folder)
    files = [folder / "LATEST", *sorted(place.iterdir())]
    good = {path: path.read_bytes() for path in files}

    def read() -> tuple[Any, ...]:
        at = latest(folder)
        read_config(at)
        return at, read_state(at), read_config(at), tensors(at, torch.nn.Linear(3, 2))

    wanted = read()

    def case(rng: Rng) -> str:
        path = files[int(rng.integers(len(files)))]
        path.write_bytes(mutant(rng, good[path]))
        found = outcome(read, lambda got: SAME if got == wanted else "silent", (CheckpointError,))
        path.write_bytes(good[path])
        return found

    found = tally(n, 7, case)
    assert_none_silent(found)


def test_weights_without_a_hash_would_be_counted() -> None:
    """Planted mistake: a reader of safetensors alone, which checks no number."""
    good = safetensors.torch.save({"w": torch.arange(64.0)})

    def case(rng: Rng) -> str:
        return outcome(
            lambda: safetensors.torch.load(mutant(rng, good)),
            lambda got: SAME if torch.equal(got["w"], torch.arange(64.0)) else "silent",
            (safetensors.SafetensorError, KeyError),
        )

    assert tally(200, 7, case)["silent"] > 0


@tiers(200, 10_000)
def test_symbols(n: int) -> None:
    found = tally(10 * n, 8, lambda rng: judged_symbol(hostile_symbol(rng)))
    assert_none_silent(found)
    assert found[SAME] > n / 10
