"""What comes back is what went in, byte for byte; what no reader should get is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.distributions import Gaussian, StudentT
from forecaster.errors import DataError, StorageError
from forecaster.frames import (
    ORDER,
    PREDICTIONS,
    QUANTILES,
    SCORES,
    Keys,
    Provenance,
    checked,
    forecast_table,
    merge,
    metadata,
    read,
    to_parquet_bytes,
)
from forecaster.scores import score

RUN = Provenance("run-1", 2, "1d")
DAY = np.timedelta64(1, "D")
PREDICTION_COLUMNS = (
    "unique_id,ds,cutoff,h,y,target_name,model,predictions,"
    "0.01,0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95,0.99,run_id,fold,interval"
)
SCORE_COLUMNS = (
    "model,target_name,unique_id,ds,cutoff,h,fold,log_score,crps,pit,"
    "pinball_0.01,pinball_0.05,pinball_0.95,pinball_0.99,"
    "fz0_0.01,fz0_0.05,y,median,p_up,variance"
)


def keys_of(name: str, n: int = 5, horizons: tuple[int, ...] = (1, 5)) -> Keys:
    cutoff = np.datetime64("2024-03-01", "us") + np.arange(n) * DAY
    return Keys(np.full(n, name), cutoff, cutoff[:, None] + np.array(horizons) * DAY, horizons)


def predictions(name: str = "IBM", model: str = "zero", n: int = 5, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    loc, scale = rng.normal(size=(n, 2)) * 0.01, np.exp(rng.normal(size=(n, 2))) * 0.01
    return forecast_table(keys_of(name, n), Gaussian(loc, scale), model, RUN)


def scores(name: str, model: str) -> pa.Table:
    d = Gaussian(np.zeros((5, 2)), np.ones((5, 2)))
    return score(keys_of(name), d, np.full((5, 2), 0.3), model, 0)


def edited(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(column)
    return table.set_column(table.column_names.index(column), field, pa.array(values, field.type))


def test_schema_is_the_one_that_readers_know() -> None:
    """Golden text: a change of a name or type here breaks files that exist."""
    kinds = {field.name: str(field.type) for field in PREDICTIONS}
    assert ",".join(kinds) == PREDICTION_COLUMNS
    assert (kinds["ds"], kinds["cutoff"]) == ("timestamp[us]", "timestamp[us]")
    assert (kinds["h"], kinds["fold"], kinds["unique_id"]) == ("int32", "int32", "string")
    assert [field.name for field in PREDICTIONS if field.nullable] == ["y"]
    assert {kinds[str(level)] for level in QUANTILES} == {"double"}
    assert ",".join(SCORES.names) == SCORE_COLUMNS


@settings(derandomize=True, deadline=None, database=None, max_examples=20)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 6), order=st.permutations(range(4)))
def test_round_trip_and_equal_bytes(seed: int, n: int, order: list[int]) -> None:
    """In any order of arrival. Planted: bytes of the tables as they came."""
    parts = [predictions(s, m, n, seed) for s in ("IBM", "AAPL") for m in ("zero", "llama")]
    table, other = merge(parts), merge([parts[i] for i in order])
    data = to_parquet_bytes(table, {"units": "log return", "run": {"b": 1, "a": 2}})
    assert data == to_parquet_bytes(other, {"run": {"a": 2, "b": 1}, "units": "log return"})
    back = read(data)
    assert back.equals(table)
    assert metadata(back)["units"] == "log return"
    assert metadata(back)["quantiles"] == list(QUANTILES)
    assert metadata(back)["schema_version"] == 1
    came = [pa.concat_tables([parts[i] for i in o]) for o in (range(4), order)]
    assert came[0].equals(came[1]) == (order == [0, 1, 2, 3])


def test_a_forecast_knows_no_actual_and_points_at_the_median() -> None:
    """Planted: a mean, which heavy tails do not have."""
    d = StudentT(np.full((5, 2), 0.01), np.ones((5, 2)), np.array([[0.8]]))
    table = forecast_table(keys_of("IBM"), d, "heavy", RUN)
    assert table["y"].null_count == len(table) == 10
    assert np.allclose(table["predictions"].to_numpy(), 0.01)
    assert table["predictions"].equals(table["0.5"])
    with pytest.raises(ValueError, match="df"):
        d.mean()


def test_rows_are_in_key_order() -> None:
    table = merge([predictions("MSFT"), predictions("AAPL"), predictions("AAPL", "arima")])
    keys = list(zip(*(table[name].to_pylist() for name in ORDER), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == 30


BROKEN = {
    "quantile 0.1 is below quantile 0.05": ("0.1", -9.0),
    "0.95 is not finite": ("0.95", float("nan")),
    "predictions is not finite": ("predictions", float("inf")),
    "y is not finite": ("y", float("inf")),
    "model is null": ("model", None),
    "h is below 1": ("h", 0),
    "ds is not after cutoff": ("ds", np.datetime64("2024-03-02", "us").item()),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_row_is_refused_by_name(rule: str) -> None:
    column, value = BROKEN[rule]
    table = edited(predictions(), column, 3, value)
    with pytest.raises(DataError, match=rule) as caught:
        to_parquet_bytes(table, {})
    assert "unique_id=IBM, cutoff=2024-03-02 00:00:00" in str(caught.value)
    assert "1 such of 10" in str(caught.value)


def test_a_key_that_is_there_twice_is_refused() -> None:
    row = r"model=zero, .*unique_id=IBM, cutoff=2024-03-01 00:00:00, h=1\): key is there twice"
    with pytest.raises(DataError, match=row):
        merge([predictions(), predictions("AAPL"), predictions(seed=9)])
    with pytest.raises(DataError, match="key is there twice"):
        merge([scores("IBM", "a"), scores("IBM", "b"), scores("IBM", "a")])
    with pytest.raises(DataError, match="no table given"):
        merge([])


def test_scores_travel_too(tmp_path: Path) -> None:
    table = merge([scores("IBM", "b"), scores("AAPL", "a")])
    path = tmp_path / "scores.parquet"
    path.write_bytes(to_parquet_bytes(table, {}))
    assert read(path, SCORES).equals(table)
    with pytest.raises(DataError, match=r"scores\.parquet: columns differ .*0.01"):
        read(path)
    assert len(checked(table.slice(0, 0))) == 0


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(to_parquet_bytes(predictions(), {})[:-50])
    with pytest.raises(StorageError, match=r"cut\.parquet: not a parquet file"):
        read(path)
    with pytest.raises(StorageError, match=r"none\.parquet"):
        read(tmp_path / "none.parquet")
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match="columns differ from the schema"):
        read(path)
    assert metadata(pa.table({"x": [1]})) == {}


def test_metadata_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_parquet_bytes(predictions(), {"skill": float("nan")})
    data = to_parquet_bytes(predictions(), {"horizons": [1, 5]})
    raw = pq.read_schema(pa.BufferReader(data)).metadata[b"forecaster"]
    assert json.loads(raw)["horizons"] == [1, 5]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"zero: forecasts \(3, 2\), asked for \(5, 2\)"):
        forecast_table(keys_of("IBM"), Gaussian(np.zeros((3, 2)), np.ones((3, 2))), "zero", RUN)
    with pytest.raises(DataError, match=r"ds has shape \(5, 2\)"):
        Keys(np.full(5, "IBM"), keys_of("IBM").cutoff, keys_of("IBM").ds, (1,))
