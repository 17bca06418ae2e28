"""predictions.parquet as it is: pandas, polars, DuckDB and utilsforecast find one answer."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import mae, mqloss

from forecaster.distributions import Floats, Gaussian
from forecaster.frames import (
    PREDICTIONS,
    QUANTILES,
    Keys,
    Provenance,
    forecast_table,
    merge,
    table_of,
    to_parquet_bytes,
)

N, HORIZONS, SYMBOLS, MODELS = 40, (1, 5), ("AAPL", "^GSPC"), ("llama", "zero")
DAY = np.timedelta64(1, "D")


def rows(rng: np.random.Generator, symbol: str) -> tuple[Keys, Floats]:
    cutoff = np.datetime64("2024-03-01", "us") + np.arange(N) * DAY
    ds = cutoff[:, None] + np.array(HORIZONS) * DAY
    return Keys(np.full(N, symbol), cutoff, ds, HORIZONS), rng.normal(size=(N, 2)) * 0.01


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    tables = []
    for symbol in SYMBOLS:
        keys, y = rows(rng, symbol)
        for model in MODELS:
            loc = y * 0.1 + rng.normal(size=y.shape) * 0.01
            d = Gaussian(loc, np.full(y.shape, 0.01))
            table = forecast_table(keys, d, model, Provenance("r", 0, "1d"))
            columns = {name: table[name].to_numpy() for name in table.column_names}
            tables.append(table_of(columns | {"y": y.ravel()}, PREDICTIONS))
    path = tmp_path_factory.mktemp("run") / "predictions.parquet"
    path.write_bytes(to_parquet_bytes(merge(tables), {"units": "log return"}))
    return path


def by_pandas(path: Path) -> dict[str, float]:
    df = pd.read_parquet(path)
    means = (df["y"] - df["predictions"]).abs().groupby(df["model"]).mean()
    return {str(model): float(value) for model, value in means.items()}


def by_polars(path: Path) -> dict[str, float]:
    error = (pl.col("y") - pl.col("predictions")).abs().mean().alias("mae")
    return dict(pl.read_parquet(path).group_by("model").agg(error).iter_rows())


def by_duckdb(path: Path) -> dict[str, float]:
    return dict(ask(f"select model, avg(abs(y - predictions)) from '{path}' group by 1"))


def ask(query: str) -> list[tuple[Any, ...]]:
    answer = duckdb.sql(query)
    assert answer is not None
    return answer.fetchall()


def by_utilsforecast(path: Path) -> dict[str, float]:
    """Its own call, on pandas: one row a symbol (and cutoff), so the mean of equal counts."""
    df = pd.read_parquet(path)
    found = {}
    for model in df["model"].unique():
        table = evaluate(df[df.model == model], metrics=[mae], models=["predictions"])
        found[model] = float(table["predictions"].mean())
    return found


READERS = {
    "polars": by_polars,
    "duckdb": by_duckdb,
    "utilsforecast": by_utilsforecast,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_the_same_mean_absolute_error(file: Path, reader: str) -> None:
    """Planted: a wrong point column moves every reader's answer."""
    wanted = by_pandas(file)
    assert set(wanted) == set(MODELS)
    assert READERS[reader](file) == pytest.approx(wanted, rel=1e-12)
    df = pd.read_parquet(file)
    wrong = (df["y"] - df["0.95"]).abs().groupby(df["model"]).mean().to_dict()
    assert wrong != pytest.approx(wanted, rel=1e-2)


def test_quantile_columns_are_a_quantile_loss(file: Path) -> None:
    """By hand: the mean over levels of (a - 1{y < q}) (y - q)."""
    df = pd.read_parquet(file)
    df = df[df.model == "llama"]
    names = [str(level) for level in QUANTILES]
    found = mqloss(df, models={"predictions": names}, quantiles=np.array(QUANTILES))
    error = df[["y"]].to_numpy() - df[names].to_numpy()
    loss = np.maximum(np.array(QUANTILES) * error, (np.array(QUANTILES) - 1) * error)
    assert found["predictions"].mean() == pytest.approx(loss.mean(), rel=1e-12)


def test_duckdb_shows_quoted_quantiles_and_the_provenance(file: Path) -> None:
    widths = ask(f"""select min("0.95" - "0.05"), max("0.95" - "0.05") from '{file}'""")
    assert widths[0] == pytest.approx([2 * 1.644853627 * 0.01] * 2)
    keys = ask(f"select key, value from parquet_kv_metadata('{file}')")
    assert any(key == b"forecaster" and b"log return" in value for key, value in keys)
