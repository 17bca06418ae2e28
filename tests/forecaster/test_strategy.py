"""Laws of the strategy layer, each beside a planted mistake that it catches.

The engine is a function (bars, decided, cost) -> Account: laws take any, so that broken ones can be
handed to them.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import bars_from_returns
from scipy import stats

from forecaster import frames, inference
from forecaster.bars import Bars, Floats, Panel
from forecaster.distributions import Gaussian
from forecaster.errors import UsageError
from forecaster.strategy import Question, book, study
from forecaster.strategy.account import Account, traded
from forecaster.strategy.measures import Pace, drawdown, measured
from forecaster.strategy.sizing import spread_of
from forecaster.strategy.study import HOLD, setting_of
from forecaster.symbols import Symbol

Engine = Callable[[Bars, Floats, float], Account]
QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=60)
PRICES = ("open", "high", "low", "close")
COST = 5e-4


def right(bars: Bars, decided: Floats, cost: float) -> Account:
    return traded(bars, decided, cost=cost)


def same_bar(bars: Bars, decided: Floats, cost: float) -> Account:
    """Planted: decision t is filled in bar t."""
    return traded(bars, np.append(decided[1:], np.nan), cost=cost)


def hindsight(bars: Bars, decided: Floats, cost: float) -> Account:
    """Planted: shares in units of their mean over the whole sample."""
    mean = np.nanmean(decided) if np.isfinite(decided).any() else 1.0
    return traded(bars, np.minimum(decided / (2 * max(mean, 1e-9)), 1), cost=cost)


def any_bars(seed: int, n: int, symbol: str = "ANY") -> Bars:
    """Opens that are opens, opens that repeat the close before, closes alone; missing days."""
    rng = np.random.default_rng(seed)
    bars = bars_from_returns(symbol, rng.normal(0, 0.03, n), seed)
    days = np.sort(rng.choice(2 * n, n, replace=False))
    kind = rng.integers(0, 4, n)
    previous = np.concatenate((bars.open[:1], bars.close[:-1]))
    columns = {name: getattr(bars, name).copy() for name in PRICES}
    columns["open"][kind == 1] = previous[kind == 1]
    columns["high"] = np.maximum(columns["high"], columns["open"])
    columns["low"] = np.minimum(columns["low"], columns["open"])
    for name in PRICES[:3]:
        columns[name][kind == 2] = np.nan
    return replace(bars, opened_at=bars.opened_at[0] + days * np.timedelta64(1, "D"), **columns)


def any_shares(seed: int, n: int) -> Floats:
    rng = np.random.default_rng((seed, 1))
    return np.where(rng.random(n) < 0.2, np.nan, rng.random(n).round(1))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bars, Floats, Floats, int]:
    """(bars, decisions, the same but for others from bar t on, t)."""
    n, seed = draw(st.integers(3, 40)), draw(st.integers(0, 2**16))
    cut = draw(st.integers(0, n - 1))
    decided, other = any_shares(seed, n), any_shares(seed + 1, n)
    return any_bars(seed, n), decided, np.where(np.arange(n) < cut, decided, other), cut


def same_until(a: Account, b: Account, t: int) -> bool:
    """Fills, costs and equity of bars up to t, byte for byte."""
    names = ("at_open", "price", "units", "cost", "equity")
    pairs = [(getattr(a, name)[: t + 1], getattr(b, name)[: t + 1]) for name in names]
    return all(x.tobytes() == y.tobytes() for x, y in pairs)


@QUICK
@given(case=cases())
def test_decisions_from_a_bar_on_change_nothing_up_to_it(case: tuple[Bars, Floats, Floats, int]):
    bars, decided, other, cut = case
    assert same_until(right(bars, decided, COST), right(bars, other, COST), cut)
    books = [book.kept("s", 5.0, [bars], {"ANY": each}) for each in (decided, other)]
    pace, until = Pace(250.0, (250.0,)), bars.closed_at[cut]
    ended = [
        book.kept("s", 5.0, [bars.until(until)], {"ANY": each[: cut + 1]})
        for each in (decided, other)
    ]
    assert measured(ended[0], pace, 1) == measured(ended[1], pace, 1)
    for whole, part in zip(books, ended, strict=True):  # more bars leave the earlier ones as are
        assert whole.equity[: cut + 1].tobytes() == part.equity.tobytes()


@pytest.mark.parametrize("planted", [same_bar, hindsight])
def test_planted_engines_that_know_later_decisions(planted: Engine):
    n, found = 30, 0
    for seed in range(20):
        bars, decided, other = any_bars(seed, n), any_shares(seed, n), any_shares(seed + 1, n)
        other = np.where(np.arange(n) < 15, decided, other)
        found += not same_until(planted(bars, decided, COST), planted(bars, other, COST), 15)
    assert found >= 15


def sign_sharpe(engine: Engine, bars: Bars, sign: Floats) -> float:
    """Sharpe a year of being long where sign is positive and short where it is negative."""
    legs = [engine(bars, (s > 0).astype(float), 0.0).equity for s in (sign, -sign)]
    up, down = (equity[1:] / equity[:-1] - 1 for equity in legs)
    return inference.sharpe(up - down) * math.sqrt(250)


@pytest.mark.parametrize("closes_only", [False, True])
def test_the_oracle_of_today_earns_nothing_and_that_of_the_fill_everything(closes_only: bool):
    """Shuffled returns: what today was says nothing. Opens stand beside the close before them."""
    rng = np.random.default_rng(3)
    returns = rng.permutation(rng.standard_t(5, 3000) * 0.01)
    bars = bars_from_returns("X", returns, 3)
    opens = np.concatenate(([100.0], bars.close[:-1])) * (1 + 1e-9)
    tops, bottoms = np.maximum(opens, bars.close), np.minimum(opens, bars.close)
    bars = replace(bars, open=opens, high=tops, low=bottoms)
    if closes_only:
        bars = replace(bars, **{name: np.full(3000, np.nan) for name in PRICES[:3]})
    ahead = 2 if closes_only else 1  # the first whole return after the fill
    limit = 3 / math.sqrt(3000 / 250)  # three standard errors of a year's ratio of zero
    assert abs(sign_sharpe(right, bars, returns)) < limit
    assert sign_sharpe(right, bars, np.roll(returns, -ahead)) > 10
    if closes_only:  # tomorrow's return is gone when tomorrow's close fills
        assert abs(sign_sharpe(right, bars, np.roll(returns, -1))) < limit
    else:
        assert sign_sharpe(same_bar, bars, returns) > 10  # planted


def test_nothing_is_earned_on_a_martingale():
    """200 of them; long after a rise. Same-bar trading earns on every one."""
    found: dict[str, list[float]] = {"right": [], "planted": []}
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(-0.5e-4, 0.01, 250)
        bars = bars_from_returns("X", returns, seed)
        for name, engine in (("right", right), ("planted", same_bar)):
            equity = engine(bars, (returns > 0).astype(float), 0.0).equity
            found[name].append(inference.sharpe(equity[1:] / equity[:-1] - 1))
    z = {k: np.mean(v) / np.std(v) * math.sqrt(200) for k, v in found.items()}
    assert abs(z["right"]) < 4
    assert z["planted"] > 50


def test_a_fill_is_never_at_the_price_that_was_decided_on():
    """An open that repeats the close is the decision's own price: the fill waits for the close."""
    bars = any_bars(5, 200)
    account = right(bars, np.ones(200), 0.0)
    stale = np.isnan(bars.open[1:]) | (bars.open[1:] == bars.close[:-1])
    assert stale.any()
    assert not stale.all()
    assert (account.price[1:] == np.where(stale, bars.close[1:], bars.open[1:])).all()


def flat_bars(n: int = 300) -> Bars:
    one = np.full(n, 100.0)
    days = np.datetime64("2000-01-03") + np.arange(n) * np.timedelta64(1, "D")
    prices = dict.fromkeys(PRICES, one)
    return Bars(symbol=Symbol("FLAT"), opened_at=days, volume=one, adjustment=one / 100, **prices)


def forecasts(panel: Panel, first: int, mean: float, spread: Floats | float) -> pa.Table:
    """Predictions of the model `m`, one bar ahead, from bar `first` on."""
    tables = []
    for bars in panel:
        n = len(bars) - first
        later = bars.opened_at[-1] + np.timedelta64(1, "D")
        ds = np.append(bars.opened_at[first + 1 :], later)[:, None]
        keys = frames.Keys(np.full(n, str(bars.symbol)), bars.opened_at[first:], ds, (1,))
        scale = np.broadcast_to(np.asarray(spread, dtype=float), n)[:, None]
        law = Gaussian(np.full((n, 1), mean), scale)
        tables.append(frames.forecast_table(keys, law, "m", frames.Provenance("r", 0, "1d")))
    return frames.merge(tables)


def asked(**changed: object) -> Question:
    return replace(Question("m", (0.0, 5.0, 20.0), 0.1, 1), **changed)


def test_a_forecaster_of_ten_per_cent_a_day_on_a_flat_market_earns_nothing():
    panel = Panel((flat_bars(),))
    record, table = study(panel, forecasts(panel, 100, 0.1, 0.001), asked())
    rows = [row for row in record["rows"] if row["strategy"] == "m"]
    assert [row["return_annual"] == 0 for row in rows] == [True, False, False]
    assert all(row["return_annual"] <= 0 for row in rows)
    assert all(row["sharpe"] is None for row in rows if row["cost_bp"] == 0)
    assert (np.array(table["weight"]) == 1).all()
    assert record["break_even"] == [
        {"strategy": "m", "cost_bp": None, "why": "returns do not move"}
    ]
    # planted: marked at the prices that were forecast
    rising = replace(flat_bars(), **dict.fromkeys(PRICES, 100 * 1.1 ** np.arange(300)))
    assert right(rising, np.ones(300), 20e-4).equity[-1] > 1


@pytest.mark.parametrize("bp", [0.0, 20.0])
def test_the_benchmark_replicated_by_the_engine_has_no_excess(bp: float):
    bars = (any_bars(1, 300, "A"), any_bars(2, 300, "B"))
    once = np.where(np.arange(300) == 0, 1.0, np.nan)
    hold = book.kept(HOLD, bp, bars, {"A": once, "B": once})
    daily = book.kept("all", bp, bars, {"A": np.ones(300), "B": np.ones(300)})
    np.testing.assert_allclose(daily.returns - hold.returns, 0, atol=1e-12)
    assert inference.sharpe_difference(daily.returns, hold.returns) == pytest.approx(
        (0, 0, 0), abs=1e-9
    )
    by_hand = []  # by prices alone
    for each, account in zip(bars, hold.accounts, strict=True):
        grown = each.close[-1] / account.price[1] / (1 + bp * 1e-4)
        by_hand.append(grown / 2)
    assert hold.equity[-1] == pytest.approx(sum(by_hand), rel=1e-12)
    # planted: a benchmark without costs, or of one symbol
    other = [book.kept(HOLD, bp + 5, bars, {"A": once, "B": once})]
    other += [book.kept(HOLD, bp, bars[:1], {"A": once})]
    assert min(abs(each.equity[-1] - hold.equity[-1]) for each in other) > 1e-5


def test_the_winner_of_many_without_merit_is_seldom_believed():
    """200 strategies of white noise, 100 times: corrected, the winner is below 95 % in 90 %."""
    believed = {1: 0, 200: 0}
    for repeat in range(100):
        returns = np.random.default_rng(repeat).normal(0, 0.01, (200, 500))
        best = returns[np.argmax(returns.mean(axis=1) / returns.std(axis=1))]
        for trials in believed:
            believed[trials] += (inference.deflated_sharpe(best, trials) or 0.0) >= 0.95
    assert believed[200] <= 10
    assert believed[1] >= 90  # planted: nobody counted


def test_a_symbol_that_dies_is_held_to_its_last_bar_and_loses_it():
    returns = np.full(300, 0.001)
    dying, living = np.append(returns[:200], -2.3), returns  # the last bar takes nine tenths
    panel = Panel((bars_from_returns("DEAD", dying, 0), bars_from_returns("LIVE", living, 0)))
    table = forecasts(panel, 100, 0.0, 0.02)
    setting = setting_of(panel, table, asked())
    held = setting.book(HOLD, 0.0)
    at = int(np.searchsorted(held.clock, panel.members[0].closed_at[-1]))
    lost = held.equity[at] / held.equity[at - 1] - 1
    assert lost == pytest.approx((0.5 * (math.exp(-2.3) - 1)), abs=0.02)
    dead = held.accounts[0].equity[-1]
    alive = held.accounts[1].equity
    assert held.equity[-1] == pytest.approx(dead + alive[-1], rel=1e-12)  # never revived, not moved
    record, rows = study(panel, table, asked())
    assert [note for note in record["notes"] if note.endswith(": DEAD 2000-07-21")]
    last = [r for r in rows.to_pylist() if r["unique_id"] == "DEAD" and r["filled_at"] is None]
    assert {r["decided_at"] for r in last if r["strategy"] == "m"} == {
        panel.members[0].opened_at[-1].item()
    }
    # planted: the last bar is dropped, as a table without its outcome would
    cut = Panel((panel.members[0].head(200), panel.members[1]))
    spared = setting_of(cut, forecasts(cut, 100, 0.0, 0.02), asked()).book(HOLD, 0.0)
    assert spared.equity[-1] > held.equity[-1] + 0.3


def whole_units(bars: Bars, decided: Floats, cost: float) -> Account:
    """Planted: costs of a cent a unit, as a broker's list has them."""
    return traded(bars, decided, cost=cost + 0.01 / bars.close[0])


@pytest.mark.parametrize(("factor", "error"), [(4.0, 0.0), (1 / 3, 1e-9), (7.0, 1e-9)])
def test_prices_in_another_unit_change_nothing(factor: float, error: float):
    bars, decided = any_bars(9, 200), any_shares(9, 200)
    other = replace(bars, **{name: factor * getattr(bars, name) for name in PRICES})
    one, two = (right(each, decided, COST).equity for each in (bars, other))
    np.testing.assert_allclose(two, one, rtol=error)
    planted = [whole_units(each, decided, COST).equity for each in (bars, other)]
    assert np.abs(planted[0] - planted[1]).max() > 1e-6


def account_from_ledger(rows: list[dict[str, Any]], bars: Bars, capital: float) -> Floats:
    """Equity at each close from the ledger's rows and the closes alone."""
    cash, units = np.zeros(len(bars)), np.zeros(len(bars))
    for row in rows:
        if row["filled_at"] is not None:
            at = int(np.searchsorted(bars.opened_at, np.datetime64(row["filled_at"], "us")))
            cash[at] -= row["units"] * row["price"] + row["cost"]
            units[at] += row["units"]
    return capital + np.cumsum(cash) + np.cumsum(units) * bars.close


@QUICK
@given(seed=st.integers(0, 2**16), n=st.integers(3, 40), bp=st.sampled_from([0.0, 5.0, 500.0]))
def test_equity_is_the_sum_of_the_ledger(seed: int, n: int, bp: float):
    bars = (any_bars(seed, n, "A"), any_bars(seed + 1, n, "B"))
    kept = book.kept("s", bp, bars, {"A": any_shares(seed, n), "B": any_shares(seed + 1, n)})
    rows = book.ledger([kept]).to_pylist()
    total = np.zeros(len(kept.clock))
    for each in bars:
        own = [row for row in rows if row["unique_id"] == str(each.symbol)]
        equity = account_from_ledger(own, each, 0.5)
        at = np.searchsorted(each.closed_at, kept.clock, side="right") - 1
        total += np.where(at >= 0, equity[at], 0.5)
        labels = each.opened_at.astype("datetime64[us]").astype(object)
        for row in own:
            late = row["decided_at"] == labels[-1]
            assert (row["filled_at"] is None) == late
            assert late or row["decided_at"] < row["filled_at"]
    np.testing.assert_allclose(kept.equity, total, rtol=0, atol=1e-9)
    assert (kept.equity > 0).all()
    filled = [row for row in rows if row["filled_at"] is not None and abs(row["units"]) > 1e-3]
    if filled:  # planted: a fee that no row holds
        filled[0]["cost"] += 1e-6
        own = [row for row in rows if row["unique_id"] == filled[0]["unique_id"]]
        each = next(b for b in bars if str(b.symbol) == filled[0]["unique_id"])
        account = kept.accounts[bars.index(each)]
        assert abs(account_from_ledger(own, each, 0.5)[-1] - account.equity[-1]) > 1e-7


def test_after_a_fill_the_share_is_what_was_decided_and_costs_are_paid():
    bars, decided = any_bars(4, 100), np.random.default_rng(4).random(100)
    account = right(bars, decided, 0.01)
    held = np.cumsum(account.units)
    cash = 1 - np.cumsum(account.units * np.nan_to_num(account.price) + account.cost)
    worth = held * account.price
    np.testing.assert_allclose((worth / (worth + cash))[1:], decided[:-1], rtol=1e-9)
    assert account.cost.sum() > 0
    assert (cash > -1e-12).all()


@pytest.mark.parametrize(
    ("decided", "cost", "text"),
    [
        (np.full(5, 1.5), 0.0, "decided 1.5"),
        (np.full(5, -0.1), 0.0, "decided -0.1"),
        (np.ones(4), 0.0, "shape (4,)"),
        (np.ones(5), 0.2, "cost=0.2"),
        (np.ones(5), math.nan, "cost=nan"),
    ],
)
def test_what_no_account_can_do_is_refused(decided: Floats, cost: float, text: str):
    with pytest.raises(ValueError, match=text.replace("(", r"\(").replace(")", r"\)")):
        traded(any_bars(0, 5), decided, cost=cost)


def test_a_wider_forecast_holds_less_and_a_calm_one_everything():
    """The target is met where the spread is right; the mean of a forecast moves nothing."""
    panel = Panel((bars_from_returns("A", np.random.default_rng(1).normal(0, 0.02, 3000), 1),))
    books = []
    for mean in (0.0, -0.01):
        table = forecasts(panel, 500, mean, 0.02)
        books.append(setting_of(panel, table, asked()).book("m", 0.0))
    assert books[0].equity == pytest.approx(books[1].equity, rel=1e-12)
    pace = Pace(365.25, (365.25,))
    row = measured(books[0], pace, 1)
    # 13 quantiles show 1.2 % more than a normal's deviation
    assert row["volatility_of_symbols"] == pytest.approx(0.1, rel=0.06)
    assert row["mean_weight"] == pytest.approx(0.1 / (0.02 * math.sqrt(365.25)), rel=0.02)
    calm = setting_of(panel, forecasts(panel, 500, 0.0, 1e-5), asked()).book("m", 0.0)
    assert measured(calm, pace, 1)["all_in"] == 1
    assert row["sharpe_of_symbols"]["A"][0] == pytest.approx(row["sharpe"][0])


def test_a_spread_is_about_the_deviation():
    for law, wanted in ((stats.norm(), 1.012), (stats.t(4), 0.965 * math.sqrt(2))):
        quantiles = 3 + law.ppf(frames.QUANTILES)[None, :]
        assert spread_of(quantiles, frames.QUANTILES)[0] == pytest.approx(wanted, abs=1e-3)


def test_a_bar_without_a_forecast_holds_what_there_is():
    panel = Panel((any_bars(2, 300, "A"),))
    table = forecasts(panel, 100, 0.0, 0.02)
    some = table.filter(pa.array(np.arange(len(table)) % 5 == 0))
    account = setting_of(panel, some, asked()).book("m", 5.0).accounts[0]
    assert np.count_nonzero(account.units) == 40
    assert np.isfinite(account.equity).all()


def test_what_a_run_has_not_is_said():
    panel = Panel((any_bars(2, 300, "A"),))
    table = forecasts(panel, 100, 0.0, 0.02)
    with pytest.raises(UsageError, match="model 'n' is not in the run; known: m"):
        study(panel, table, asked(model="n"))
    later = table.set_column(3, table.schema.field("h"), pa.array([5] * len(table), pa.int32()))
    with pytest.raises(UsageError, match="horizon 1: the run forecasts"):
        study(panel, later, asked())


def test_break_even_is_where_the_two_ratios_meet():
    """Returns whose spread is known and whose mean is not: holding less when wild helps."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(3000) // 50 % 2 == 0, 0.005, 0.03)
    returns = rng.normal(0.0008, 1, 3000) * spread + 0.0003
    panel = Panel((bars_from_returns("A", returns, 0),))
    known = np.append(spread[1:], 0.01)[500:]
    question = asked(costs_bp=(0.0, 20.0))
    record, _ = study(panel, forecasts(panel, 500, 0.0, known), question)
    cost = record["break_even"][0]["cost_bp"]
    assert cost is not None
    setting = setting_of(panel, forecasts(panel, 500, 0.0, known), question)
    ratios = [inference.sharpe(setting.book(name, cost).returns) for name in ("m", HOLD)]
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-4)
    rows = {(row["strategy"], row["cost_bp"]): row["sharpe"][0] for row in record["rows"]}
    assert (rows["m", 20.0] > rows[HOLD, 20.0]) == (cost > 20)


def test_where_there_is_no_break_even_it_is_said_why():
    """All of it is never ahead of holding; leaving before a long fall is, at any cost."""
    rng = np.random.default_rng(6)
    calm, wild = rng.normal(0.002, 0.005, 300), rng.normal(-0.01, 0.02, 100)
    panel = Panel((bars_from_returns("A", np.append(calm, wild), 0),))
    wise = np.where(np.arange(100, 400) < 300, 1e-4, 10.0)
    for spread, why in ((1e-5, "behind at 0"), (wise, "above 100")):
        record, _ = study(panel, forecasts(panel, 100, 0.0, spread), asked())
        assert record["break_even"] == [{"strategy": "m", "cost_bp": None, "why": why}]


def test_a_fall_is_from_the_most_so_far():
    equity = np.array([1.0, 1.2, 0.9, 1.5, 1.2])
    assert drawdown(equity) == pytest.approx(0.25)
    planted = 1 - equity / equity.max()  # what the most will be
    assert planted[:3].max() != pytest.approx(drawdown(equity[:3]))


@pytest.mark.parametrize("clock", ["1d", "1h"])
def test_a_year_is_counted_on_the_bars_before(clock: str):
    bars = replace(any_bars(1, 500, "A"), interval=clock)
    panel = Panel((bars,))
    table = forecasts(panel, 300, 0.0, 0.02)
    shorter = Panel((bars.head(400),))
    paces = [
        setting_of(each, rows, asked()).pace
        for each, rows in ((panel, table), (shorter, forecasts(shorter, 300, 0.0, 0.02)))
    ]
    assert paces[0] == paces[1]
