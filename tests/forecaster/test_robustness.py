"""Any bars: a whole backtest runs, or one line says with numbers why not. Finite, legal scores."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hourly import HOUR, MONDAY, busy_hours, seasonal_bars, session_labels, week_labels
from panels import bars_from_returns, garch_panel, walk_panel
from sweep import LEARNER, assert_legal, backtested, relabelled

from forecaster import inference
from forecaster.bars import Bars, Panel
from forecaster.baselines import BASELINES
from forecaster.config import LearnerConfig
from forecaster.econometrics import memo
from forecaster.econometrics.harx import RHO, fit_harx
from forecaster.econometrics.sample import Sample
from forecaster.errors import DataError
from forecaster.sources import source
from forecaster.symbols import Symbol

MEMBERS = garch_panel(600, 5, seed=3).members
SOME = ("harx", "har_empirical", "garch_student_t", "boosted_quantiles", "volatility_20")


def without_volume(bars: Bars) -> Bars:
    return replace(bars, volume=np.full(len(bars), np.nan))


def closes_only(bars: Bars) -> Bars:
    unknown = np.full(len(bars), np.nan)
    return replace(bars, open=unknown, high=unknown, low=unknown, volume=unknown)


def still_for_long(bars: Bars) -> Bars:
    """Two hundred bars, into the test, at one price: a suspended share."""
    stretch = slice(350, 550)
    prices = {n: getattr(bars, n).copy() for n in ("open", "high", "low", "close", "volume")}
    for name, column in prices.items():
        column[stretch] = 0.0 if name == "volume" else bars.close[349]
    return replace(bars, **prices)


def later(bars: Bars) -> Bars:
    """Begins when the first fold's history has ended."""
    return replace(bars, symbol=Symbol("LATE")).select(np.arange(len(bars)) >= 515)


def hourly(symbol: str, labels: np.ndarray, n: int = 800) -> Bars:
    return seasonal_bars(symbol, labels[:n], busy_hours(labels[:n]))


def minutes() -> Bars:
    """Two sessions of 300 minutes and the first hour of a third."""
    day = MONDAY + 14 * HOUR + np.arange(300) * np.timedelta64(1, "m")
    labels = np.concatenate((day, day + 24 * HOUR, day[:60] + 48 * HOUR))
    return relabelled(garch_panel(660, 1).members[0], "MIN", "1m", labels)


def longer(n: int) -> Bars:
    return garch_panel(n, 1, seed=8).members[0]


CASES: dict[str, Callable[[], tuple[Bars, ...]]] = {
    "one symbol": lambda: MEMBERS[:1],
    "five symbols": lambda: MEMBERS,
    "no volume": lambda: tuple(without_volume(b) for b in MEMBERS[:2]),
    "closes only": lambda: tuple(closes_only(b) for b in MEMBERS[:2]),
    "volume and closes mixed": lambda: (MEMBERS[0], closes_only(MEMBERS[1])),
    "weekly": lambda: tuple(relabelled(b, str(b.symbol), "1wk") for b in MEMBERS[:2]),
    "a suspended share": lambda: (MEMBERS[0], still_for_long(MEMBERS[1])),
    "one that ends": lambda: (MEMBERS[0], MEMBERS[1].head(540)),
    "one that ended before": lambda: (MEMBERS[0], MEMBERS[1].head(400)),
    "one that begins after the fold": lambda: (longer(800), later(longer(801))),
    "hourly sessions": lambda: (hourly("AAPL", session_labels(120)),),
    "hourly currencies": lambda: (hourly("EURUSD=X", week_labels(7)),),
    "mixed calendars": lambda: (
        hourly("AAPL", session_labels(40)),
        hourly("EURUSD=X", week_labels(7)),
    ),
    "an hour without rest": lambda: (hourly("BTC-USD", MONDAY + np.arange(800) * HOUR),),
    "minutes": lambda: (minutes(),),
}


def first_origin(case: str, panel: Panel) -> int:
    """The bar of the clock at which the test begins: sixty before the end where there are many."""
    if case == "minutes":
        return 600  # a test begins on a day
    many_bars = len(panel.clock) > 750 and case != "one that begins after the fold"
    return len(panel.clock) - 60 if many_bars else 510


# The default run takes a cover of the cases; all of them, with every model, are slow.
COVER = (
    "volume and closes mixed",
    "weekly",
    "a suspended share",
    "one that begins after the fold",
    "mixed calendars",
)


@pytest.mark.parametrize("case", COVER)
def test_any_bars_give_legal_scores(case: str, tmp_path: Path):
    panel = Panel(CASES[case]())
    first = first_origin(case, panel)
    record, table = backtested(panel, tmp_path / "run", first=first, baselines=("harx",))
    assert_legal(table)
    assert record["verdicts"]


def test_scores_that_are_no_numbers_would_be_seen(tmp_path: Path):
    """Planted mistake: one score of one model is lost."""
    _, table = backtested(Panel(MEMBERS[:1]), tmp_path / "run", first=560)
    assert_legal(table)
    with pytest.raises(AssertionError):
        assert_legal(table.slice(1))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_any_bars_give_legal_scores_of_every_model(case: str, tmp_path: Path):
    panel = Panel(CASES[case]())
    first = first_origin(case, panel)
    for preset in (LEARNER, LearnerConfig(seeds=1)):
        out = tmp_path / f"run-{preset.seeds}-{preset.d_model}"
        _, table = backtested(panel, out, first=first, baselines=("all",), learner=preset)
        assert_legal(table)


@pytest.mark.parametrize("bars", [251, 400, 520])
def test_a_year_of_bars_is_refused_with_the_numbers(bars: int, tmp_path: Path):
    panel = Panel((MEMBERS[0].head(bars),))
    with pytest.raises(DataError, match=r"\d+ bars before the first fold .* at least 500"):
        backtested(panel, tmp_path / "run", first=bars - 40)


def test_of_two_years_the_second_half_year_is_forecast(tmp_path: Path):
    _, table = backtested(Panel((MEMBERS[0].head(530),)), tmp_path / "run", first=502)
    assert_legal(table)


# ----- many symbols


def many(symbols: int, n: int) -> Panel:
    """Short histories that share a market's moves."""
    market = np.random.default_rng(0).normal(0, 0.007, n)
    members = []
    for i in range(symbols):
        own = np.random.default_rng((1, i)).normal(0, 0.01, n)
        members.append(bars_from_returns(f"S{i:03d}", market + own, i))
    return Panel(tuple(members))


@pytest.mark.slow
def test_sixty_symbols(tmp_path: Path):
    record, table = backtested(many(60, 530), tmp_path / "run", first=505, baselines=("harx",))
    assert_legal(table)
    assert record["verdicts"]


def seconds_of_fit(symbols: int, n: int = 300) -> float:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(symbols), n)
    x = rng.normal(size=(symbols * n, 11))
    r = 0.01 * np.exp(0.2 * x[:, 0]) * rng.normal(size=symbols * n)
    names = tuple(f"S{i}" for i in range(symbols))
    sample = Sample(names, which, x, r, np.zeros(11), np.ones(11))
    memo.forget()
    began = time.process_time()
    fit_harx(sample, RHO)
    return time.process_time() - began


@pytest.mark.slow
def test_a_pooled_fit_takes_time_in_proportion_to_its_bars():
    """Ten times the symbols: at most 20 times the seconds, where a mask a symbol took 60."""
    assert seconds_of_fit(400) < 20 * seconds_of_fit(40) + 1


@pytest.mark.slow
def test_five_hundred_symbols(tmp_path: Path):
    tracemalloc.start()
    _, table = backtested(many(500, 530), tmp_path / "run", first=505, baselines=("harx",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_legal(table)
    assert peak < 2 << 30  # 265,000 bars


@pytest.mark.slow
def test_forty_years_and_minutes_of_real_bars(tmp_path: Path):
    for symbol, interval, first in (
        ("AAPL-1980", "1d", 11_000),
        ("AAPL", "1m", 2_000),
        ("AAPL", "1h", 3_000),
    ):
        bars = source("samples").fetch(Symbol(symbol), interval).bars.adjusted()
        out = tmp_path / f"{symbol}-{interval}"
        learner = LearnerConfig(seeds=1)
        _, table = backtested(Panel((bars,)), out, first=first, baselines=SOME, learner=learner)
        assert_legal(table)


# ----- a learner that learns by heart


def lost(panel: Panel, out: Path, learner: LearnerConfig, first: int) -> tuple[float, float]:
    """Log score over the prior [nats] and p, of a learner taught on the bars before `first`."""
    _, table = backtested(
        panel, out, first=first, horizons=(1,), baselines=("harx",), learner=learner
    )
    found = inference.skill(table, "llama", "harx", 1)
    return found.log_score_gain, found.log_score_p


def test_a_short_history_loses_nothing_to_its_prior(tmp_path: Path):
    """One symbol, 600 bars: the steps that six series bear would learn them by heart."""
    panel = walk_panel(1400, 1, seed=11)
    gain, p = lost(panel, tmp_path / "run", LearnerConfig(seeds=2), 600)
    assert gain > -0.002 or p > 0.05


@pytest.mark.slow
def test_planted_a_hundred_steps_on_a_short_history_lose(tmp_path: Path):
    """Tested on 2,000 bars: on the 800 of the test above, p could not tell."""
    panel = walk_panel(2600, 1, seed=11)
    gain, p = lost(panel, tmp_path / "run", LearnerConfig(seeds=2, steps=100), 600)
    assert gain < -0.005
    assert p < 0.05


# An open finding: of twenty symbols in which nothing can be found, networks learn noise by heart.
# Strict, as all xfail here: a case that passes must leave this list.
LOSE = {("walk", 600, 20), ("walk", 2500, 20), ("market", 600, 20)}
loses = pytest.mark.xfail(reason="0.002 to 0.005 nats below the prior, with 2 networks as with 8")
PANELS = [
    pytest.param(*case, marks=loses if case in LOSE else ())
    for case in product(("walk", "garch", "market"), (600, 2500), (1, 5, 20))
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "bars", "symbols"), PANELS)
def test_no_panel_loses_to_its_prior(kind: str, bars: int, symbols: int, tmp_path: Path):
    make = {"walk": walk_panel, "garch": garch_panel}
    panel = many(symbols, bars + 800) if kind == "market" else make[kind](bars + 800, symbols, 5)
    gain, p = lost(panel, tmp_path / "run", LearnerConfig(seeds=2), bars)
    assert gain > -0.002 or p > 0.01


def test_every_baseline_is_known_here():
    assert set(SOME) <= set(BASELINES)
