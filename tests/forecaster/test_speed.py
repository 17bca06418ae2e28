"""`forecaster bench` tells what it measured, at tiny sizes; what is fast is equal to what is plain.

No time is asserted.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.optimize import approx_fprime

from forecaster.bench.clock import Case, Way, paired_ratio, time_case
from forecaster.bench.markets import Size, market
from forecaster.bench.page import page_of
from forecaster.bench.registry import BENCHES
from forecaster.bench.whole import Point, extents
from forecaster.cli import run
from forecaster.distributions import Binned, ParetoTailed, SkewT
from forecaster.distributions.distribution import Distribution
from forecaster.econometrics import hansen
from forecaster.econometrics.regressors import FLOOR, WINDOW, floored

TINY = ("--rounds", "1", "--symbols", "1", "--bars", "800", "--starts", "2", "--paths", "3")
SMALL = ("--set", "learner.steps=2", "--set", "learner.seeds=1", "--set", "learner.context=17")

# What must be compared, and the ways that must be in each.
ASKED = {
    "fits": {"1 symbols", "2 symbols"},
    "tokens": {"1 symbols", "2 symbols"},
    "scoring": {"volatility_20", "harx", "pool_garch_har", "half", "all"},
    "paths": {"llama", "llama, twice as many", "its prior alone"},
    "backtest": {"1 symbols, 1 process", "2 symbols, 1 process", "1 symbols, 2 processes"},
}


def bench(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(["bench", *words, *TINY, *SMALL, "--json", "-q"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_bench_is_asked_here():
    assert set(ASKED) == set(BENCHES)


@pytest.mark.parametrize("name", ["fits", "tokens", "scoring", "paths"])
def test_a_bench_compares_what_it_says(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "rows.parquet"
    rows = bench(capsys, name, "--out", str(out))["rows"]
    assert {row["bench"] for row in rows} == {name}
    assert {row["way"] for row in rows} >= ASKED[name]
    assert all(row["ratio"] == 1 for row in rows if row["way"] == row["against"])
    assert pq.read_table(out).to_pylist() == rows


@pytest.mark.slow
def test_a_bench_of_whole_backtests(capsys: pytest.CaptureFixture[str]):
    rows = bench(capsys, "backtest")["rows"]
    assert {row["way"] for row in rows} == ASKED["backtest"]
    assert {row["clock"] for row in rows} == {"CPU", "wall"}


@pytest.mark.slow
def test_scaling_draws_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = tmp_path / "scaling.html"
    words = ("scaling", "--page", str(page), "--bars", "1500", *TINY[:4], *SMALL[:4], "--json")
    assert run(["bench", *words]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["axis"] for row in rows] == ["symbols"] * 3 + ["folds"] * 3 + ["context"] * 3
    assert all(row["cpu_seconds"] > 0 and row["peak_mb"] > 0 for row in rows)
    assert page.read_text().count("<svg") == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit",), "bench 'fit' is unknown; did you mean 'fits'?"),
        (("fits", "--page", "x.html"), "--page is drawn by the bench `scaling` alone"),
        (("fits", "scaling", "--out", "x.parquet"), "--out holds rows of one kind"),
        (("fits", "--out", "."), "--out . exists; choose another"),
    ],
)
def test_what_cannot_be_is_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["bench", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_way_is_compared_with_the_first_and_warmed_up():
    runs = {"a": 0, "b": 0}

    def counted(name: str) -> Way:
        def once() -> None:
            runs[name] += 1

        return Way(name=name, run=once, work=8)

    rows = time_case("x", Case(label="c", unit="runs", ways=(counted("a"), counted("b"))), 3)
    assert runs == {"a": 4, "b": 4}
    assert [(row.way, row.against, row.work) for row in rows] == [("a", "a", 8), ("b", "a", 8)]
    assert paired_ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == (2.0, 2.0, 3.0)


def test_each_axis_grows_alone():
    size = Size(symbols=3, bars=900)
    found = [(axis, e.symbols, e.folds, e.context) for axis, e in extents(size)]
    assert found[:3] == [("symbols", 3, 1, 64), ("symbols", 6, 1, 64), ("symbols", 12, 1, 64)]
    assert found[3:6] == [("folds", 3, 1, 64), ("folds", 3, 2, 64), ("folds", 3, 4, 64)]
    assert found[6:] == [("context", 3, 1, 32), ("context", 3, 1, 64), ("context", 3, 1, 128)]


def test_a_page_needs_nothing_else_and_escapes():
    names = ("symbols", "folds", "context")
    points = [
        Point(
            axis="symbols",
            **dict.fromkeys(names, n),
            cpu_seconds=float(n),
            wall_seconds=2.0 * n,
            peak_mb=100.0,
            largest_stage="<scoring>",
        )
        for n in (1, 2, 4)
    ]
    page = page_of(points)
    assert page.count("<svg") == 2
    assert "&lt;scoring&gt;" in page
    assert "<scoring>" not in page
    assert "http" not in page


# ----- what is fast is equal


@pytest.mark.parametrize("shape", [(0.03, -0.05, 1.5), (-0.2, 0.7, 0.0), (0.0, 0.0, 7.0)])
def test_the_likelihood_is_that_of_the_distribution(shape: tuple[float, float, float]):
    z = np.random.default_rng(0).standard_t(4, 500)
    z[0] = 1e9
    free = np.array(shape)
    one = np.ones((1, 1))
    skew, df = hansen.natural(free[1], free[2])
    law = SkewT(free[0] * one, one, skew * one, df * one)
    found = hansen.Likelihood(free)
    slopes = [found.slope(part) for part in (z[:200], z[200:])]
    assert np.concatenate(slopes) == pytest.approx(law.slope(z[:, None])[:, 0], rel=1e-12)
    assert found.total == pytest.approx(law.logpdf(z[:, None]).sum(), rel=1e-12)
    assert found.by_shape == pytest.approx(approx_fprime(free, total, 1e-6, z), abs=2e-2, rel=1e-4)


def total(free: np.ndarray, z: np.ndarray) -> float:
    found = hansen.Likelihood(free)
    found.slope(z)
    return found.total


def test_a_rolling_median_is_the_median_of_each_window():
    v = np.random.default_rng(1).lognormal(-9, 2, 400)
    v[[0, 17, 18, 200]] = np.nan
    windows = [v[max(t - WINDOW + 1, 0) : t + 1] for t in range(len(v))]
    medians = np.array([np.nanmedian(w) if np.isfinite(w).any() else np.nan for w in windows])
    assert floored(v).tobytes() == np.maximum(np.maximum(v, FLOOR * medians), 1e-12).tobytes()


def laws() -> list[Distribution]:
    rng, n = np.random.default_rng(2), 40
    scale = rng.uniform(0.5, 2.0, (n, 2))
    skewed = SkewT(0.1 * scale, scale, 0.3 * np.ones((n, 2)), 4 + scale)
    knots = np.sort(rng.normal(0, 1, (n, 2, 9)), axis=-1)
    tails = rng.uniform(0.1, 0.4, (n, 2, 2))
    tailed = ParetoTailed(np.linspace(0.1, 0.9, 9), knots, tails, tails)
    base = SkewT(*(x * np.ones((1, 2)) for x in (0.0, 1.0, -0.1, 5.0)))
    edges = np.tile(np.linspace(-2, 2, 6), (2, 1))
    p = rng.dirichlet(np.ones(7), (n, 2))
    return [skewed, tailed, Binned(base=base, edges=edges, probabilities=p, scale=scale)]


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_both_at_once_is_each_alone_and_rows_taken_are_rows(law: Distribution):
    y = np.random.default_rng(3).normal(0, 2, law.shape)
    cdf, log_density = law.cdf_and_logpdf(y)
    assert cdf.tobytes() == law.cdf(y).tobytes()
    assert log_density.tobytes() == law.logpdf(y).tobytes()
    rows = np.array([3, 3, 0, 39])
    some = law.take(rows)  # after what was worked out above, which is taken along
    for name in ("cdf", "logpdf", "crps"):
        assert getattr(some, name)(y[rows]).tobytes() == getattr(law, name)(y)[rows].tobytes()


def test_markets_are_made_up_and_named():
    assert [str(s) for s in market(2, 700).symbols] == ["GARCH-1", "GARCH-2"]
