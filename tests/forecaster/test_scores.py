"""Truth joins at the right bar; scores are proper, in the right unit, averaged over equal rows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from forecaster.bars import Bars, Panel
from forecaster.distributions import (
    Binned,
    Distribution,
    Empirical,
    Floats,
    Gaussian,
    Mixture,
    StudentT,
)
from forecaster.errors import DataError
from forecaster.frames import QUANTILES, Keys, Provenance, forecast_table
from forecaster.protocol import Origins
from forecaster.scores import ASKED, check_rows, question, score, summarise, truth, with_truth
from forecaster.symbols import Symbol


def bars_of(name: str, close: Floats, first: str = "2024-01-01") -> Bars:
    days = np.busday_offset(np.datetime64(first, "D"), np.arange(len(close))).astype(
        "datetime64[us]"
    )
    blank, ones = np.full(len(close), np.nan), np.ones(len(close))
    return Bars(
        symbol=Symbol(name),
        opened_at=days,
        open=blank,
        high=blank,
        low=blank,
        close=close,
        volume=blank,
        adjustment=ones,
    )


PANEL = Panel(
    (
        bars_of("IBM", np.exp(np.arange(10) * 0.01)),
        bars_of("MSFT", np.exp(np.arange(8) ** 2 * 0.01), first="2024-01-03"),
    )
)
ORIGINS = Origins(np.array([0, 1, 1, 0]), np.array([2, 3, 7, 9]))


def test_truth_by_hand() -> None:
    """Planted: the return that starts one bar late, C[t+1] to C[t+1+h]."""
    y, ds = truth(PANEL, ORIGINS, (1, 3))
    wanted = [[0.01, 0.03], [0.07, 0.27], [np.nan, np.nan], [np.nan, np.nan]]
    assert np.allclose(y, wanted, equal_nan=True)
    late = Origins(ORIGINS.member, np.minimum(ORIGINS.bar + 1, [9, 7, 7, 9]))
    assert not np.allclose(truth(PANEL, late, (1, 3))[0], wanted, equal_nan=True)
    assert ds[0].astype("datetime64[D]").tolist() == [
        np.datetime64("2024-01-04").item(),
        np.datetime64("2024-01-08").item(),
    ]
    # The last bar of MSFT is Friday 12 January: the guess goes over the weekend.
    assert str(ds[2, 0].astype("datetime64[D]")) == "2024-01-15"


def test_printed_prices_give_adjusted_returns() -> None:
    """A split of two to one is not a return of -69 %."""
    close = np.array([100.0, 102.0, 51.0, 52.0])
    split = replace(bars_of("IBM", close), adjustment=np.array([0.5, 0.5, 1.0, 1.0]))
    y, _ = truth(Panel((split,)), Origins(np.zeros(1, int), np.array([1])), (1,))
    assert y[0, 0] == 0.0


def test_weekend_traders_have_weekend_labels() -> None:
    days = np.arange("2024-01-01", "2024-01-09", dtype="datetime64[D]").astype("datetime64[us]")
    coin = replace(bars_of("BTC-USD", np.ones(8)), opened_at=days)
    keys = question(Panel((coin,)), Origins(np.zeros(1, int), np.array([7])), (5,))
    assert str(keys.ds[0, 0].astype("datetime64[D]")) == "2024-01-13"


def test_truth_fills_predictions_and_leaves_the_future_open() -> None:
    keys = question(PANEL, ORIGINS, (1, 3))
    table = forecast_table(
        keys, Gaussian(np.zeros((4, 2)), np.ones((4, 2))), "zero", Provenance("r", 0, "1d")
    )
    assert table["y"].null_count == 8
    filled = with_truth(table, PANEL).to_pandas()
    assert np.allclose(filled["y"].dropna(), [0.01, 0.03, 0.07, 0.27])
    with pytest.raises(DataError, match=r"MSFT: predictions have it, the bars \(IBM\) do not"):
        with_truth(table, Panel((PANEL.members[0],)))
    shifted = replace(keys, cutoff=keys.cutoff + np.timedelta64(1, "h"))
    strange = forecast_table(
        shifted, Gaussian(np.zeros((4, 2)), np.ones((4, 2))), "zero", Provenance("r", 0, "1d")
    )
    with pytest.raises(DataError, match="IBM: no bar has the cutoff 2024-01-03T01:00"):
        with_truth(strange, PANEL)
    prices = table.set_column(5, table.schema.field("target_name"), pa.array(["close"] * 8))
    with pytest.raises(DataError, match="target_name 'close'"):
        with_truth(prices, PANEL)


def test_pending_rows_are_left_out_of_scores() -> None:
    y, _ = truth(PANEL, ORIGINS, (1, 3))
    table = score(
        question(PANEL, ORIGINS, (1, 3)), Gaussian(np.zeros((4, 2)), np.ones((4, 2))), y, "zero", 0
    )
    assert (y.size, len(table)) == (8, 4)
    assert set(table["unique_id"].to_pylist()) == {"IBM", "MSFT"}


def keys_of(n: int) -> Keys:
    cutoff = np.datetime64("2020-01-01", "us") + np.arange(n) * np.timedelta64(1, "D")
    return Keys(np.full(n, "IBM"), cutoff, (cutoff + np.timedelta64(1, "D"))[:, None], (1,))


def constant(n: int, loc: float, scale: float, df: float = 5.0) -> StudentT:
    return StudentT(np.full((n, 1), loc), np.full((n, 1), scale), np.array([[df]]))


def tilted(n: int, p: list[float], scale: float = 0.01) -> Binned:
    base = StudentT(np.zeros((1, 1)), np.ones((1, 1)), np.full((1, 1), 5.0))
    edges = np.array([[-1.0, 0.0, 1.0]])
    return Binned(base, edges, np.tile(p, (n, 1, 1)), np.full((n, 1), scale))


def expected(rule: Callable[[Distribution, Floats], Floats], truth: Distribution, d: Distribution):
    """Mean score of d when outcomes follow the truth: over its quantiles, not over luck."""
    y = truth.take(np.array([0])).quantile((np.arange(truth.shape[0]) + 0.5) / truth.shape[0])
    return float(rule(d, y.reshape(-1, 1)).mean())


N = 4000
T = constant(N, 0.001, 0.01)
PERTURBED = {
    "scale up": (T, constant(N, 0.001, 0.012)),
    "scale down": (T, constant(N, 0.001, 0.0085)),
    "location": (T, constant(N, 0.003, 0.01)),
    "shape": (T, constant(N, 0.001, 0.01, df=2.5)),
    "gaussian": (T, Gaussian(T.loc, T.scale)),
    "tilt": (tilted(N, [0.1, 0.3, 0.5, 0.1]), tilted(N, [0.2, 0.3, 0.3, 0.2])),
    "tilt scale": (tilted(N, [0.1, 0.3, 0.5, 0.1]), tilted(N, [0.1, 0.3, 0.5, 0.1], 0.012)),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_scores_are_proper(name: str) -> None:
    """The truth scores best. Planted: the density itself as a score, which likes a narrow lie."""
    true, other = PERTURBED[name]
    assert expected(type(true).logpdf, true, true) > expected(type(other).logpdf, true, other)
    assert expected(type(true).crps, true, true) < expected(type(other).crps, true, other)
    if name == "scale down":
        linear = [expected(lambda d, y: np.exp(d.logpdf(y)), true, d) for d in (true, other)]
        assert linear[0] < linear[1]


SAMPLES = np.random.default_rng(0).normal(size=(3, 1, 200))
FAMILIES: dict[str, Callable[[float], Distribution]] = {
    "gaussian": lambda c: Gaussian(np.full((3, 1), 0.1 * c), np.full((3, 1), c)),
    "t": lambda c: constant(3, 0.1 * c, c),
    "tokens": lambda c: tilted(3, [0.1, 0.3, 0.5, 0.1], c),
    "sample": lambda c: Empirical(SAMPLES * c),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("c", [0.01, 7.0])
def test_rescaling_moves_the_log_score_by_ln_c_and_crps_by_c(family: str, c: float) -> None:
    """Mistake 22. Planted: the log score without its Jacobian."""
    y = np.array([[-2.0], [0.3], [1.4]])
    one, other = FAMILIES[family](1.0), FAMILIES[family](c)
    assert np.allclose(other.logpdf(y * c), one.logpdf(y) - np.log(c), rtol=0, atol=1e-11)
    assert np.allclose(other.crps(y * c), one.crps(y) * c, rtol=1e-11)
    assert np.allclose(other.pit(y * c), one.pit(y), atol=1e-12)
    assert not np.allclose(other.logpdf(y * c) + np.log(c), one.logpdf(y) - np.log(c), atol=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_perfect_forecast_costs_nothing(family: str) -> None:
    d = FAMILIES[family](1e-12)
    y = d.quantile([0.5])[..., 0]
    assert (d.crps(y) < 1e-12).all()
    if family != "sample":  # whose kernel has a floor
        assert (d.logpdf(y) > 25).all()


def test_pit_is_uniform_under_the_truth_and_coverage_is_nominal() -> None:
    """Planted: a scale 1.4 times too small."""
    y = T.sample(np.random.default_rng(1), 1)[0]
    table = score(keys_of(N), T, y, "true", 0)
    narrow = score(keys_of(N), constant(N, 0.001, 0.01 / 1.4), y, "narrow", 0)
    assert stats.kstest(table["pit"].to_numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(narrow["pit"].to_numpy(), "uniform").pvalue < 1e-6
    rows = summarise(pa.concat_tables([table, narrow]))  # sorted: narrow, true
    for percent in (50, 80, 95):
        low, share = rows[f"coverage_{percent}"].to_numpy()
        assert abs(share - percent / 100) < 3.3 * np.sqrt(percent * (100 - percent) / 1e4 / N)
        assert low < percent / 100 - 0.02
    histogram = rows[[f"pit_{i}" for i in range(10)]].to_numpy(dtype=float)[1]
    assert histogram.sum() == pytest.approx(1)
    assert np.abs(histogram - 0.1).max() < 0.02


def test_summary_by_hand() -> None:
    y = np.array([[0.02], [-0.01]])
    d = Gaussian(np.zeros((2, 1)), np.full((2, 1), 0.01))
    row = summarise(score(keys_of(2), d, y, "m", 0)).iloc[0]
    assert (row["n"], row["h"]) == (2, 1)
    assert row["log_score"] == pytest.approx(stats.norm.logpdf(y, 0, 0.01).mean())
    q05, q95 = stats.norm.ppf([0.05, 0.95], 0, 0.01)
    assert row["pinball_0.05"] == pytest.approx(0.05 * ((0.02 - q05) + (-0.01 - q05)) / 2)
    assert row["pinball_0.95"] == pytest.approx((0.95 * (0.02 - q95) + 0.05 * (q95 + 0.01)) / 2)
    assert row["coverage_50"] == 0
    assert row["coverage_80"] == 0.5


def test_a_mean_over_symbols_hides_none_of_them() -> None:
    """Symbols have their own rows, and their means average to the whole."""
    y, _ = truth(PANEL, ORIGINS, (1, 3))
    d = Gaussian(np.zeros((4, 2)), np.ones((4, 2)))
    table = score(question(PANEL, ORIGINS, (1, 3)), d, y, "zero", 0)
    whole, parts = summarise(table), summarise(table, by=("model", "unique_id", "h"))
    assert parts["unique_id"].tolist() == ["IBM", "IBM", "MSFT", "MSFT"]
    assert parts["n"].tolist() == [1, 1, 1, 1]
    assert whole["n"].tolist() == [2, 2]
    assert np.allclose(parts.groupby("h")["crps"].mean(), whole["crps"])
    assert parts["crps"].nunique() == 4


def test_models_must_be_scored_on_the_same_rows() -> None:
    """Mistake 17. Planted: a model that drops its worst day."""
    y = T.sample(np.random.default_rng(2), 1)[0]
    table = score(keys_of(N), T, y, "a", 0)
    kept = y.copy()
    kept[int(table["crps"].to_numpy().argmax())] = np.nan
    both = pa.concat_tables([table, score(keys_of(N), T, kept, "b", 0)])
    with pytest.raises(DataError, match=r"log_return at h=1.*\(a 4000, b 3999\).*IBM at 20"):
        summarise(both)
    check_rows(pa.concat_tables([table, score(keys_of(N), T, y, "b", 0)]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"m: \(4000, 1\) forecasts, \(3, 1\) outcomes"):
        score(keys_of(3), T, np.zeros((3, 1)), "m", 0)


def test_quantiles_found_once_give_both_tables_as_each_alone() -> None:
    """Bit by bit, of a pool, which searches. Planted: levels in another order."""
    wide = StudentT(np.zeros((40, 2)), np.full((40, 2), 0.03), np.full((40, 2), 4.0))
    narrow = Gaussian(np.full((40, 2), 0.001), np.linspace(0.01, 0.02, 80).reshape(40, 2))
    pool, run = Mixture((wide, narrow), np.full((2, 2), 0.5)), Provenance("r", 0, "1d")
    days = np.arange("2024-01-01", "2024-02-10", dtype="datetime64[D]").astype("datetime64[us]")
    ahead = np.array([1, 5], dtype="timedelta64[D]")
    keys = Keys(np.full(40, "IBM", dtype=object), days, days[:, None] + ahead, (1, 5))
    y, once = np.full((40, 2), 0.013), pool.quantile(ASKED)
    told = once[..., : len(QUANTILES)]
    assert forecast_table(keys, pool, "m", run, told).equals(forecast_table(keys, pool, "m", run))
    assert score(keys, pool, y, "m", 0, once).equals(score(keys, pool, y, "m", 0))
    planted = score(keys, pool, y, "m", 0, np.sort(once, axis=-1))
    assert not planted.equals(score(keys, pool, y, "m", 0))
