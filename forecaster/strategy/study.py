"""One rule on several forecasts, beside buying and holding, at several costs: the record of it."""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.optimize import brentq

from forecaster import inference
from forecaster.bars import Bars, Floats, Panel
from forecaster.errors import DataError, UsageError, suggestion
from forecaster.frames import QUANTILES
from forecaster.strategy.book import Book, kept, ledger
from forecaster.strategy.measures import Pace, annual, measured
from forecaster.strategy.sizing import bars_per_year, spread_of, weights
from forecaster.strategy.words import notes

HOLD = "buy_and_hold"
RIVALS = ("volatility_20", "harx")  # the same rule on these, where the run has them
ROUNDING = 1e-9  # ratios a bar that are nearer are the same
MOST_BP = 100.0  # a side, up to which a break-even cost is looked for
Decisions = dict[str, Floats]  # symbol -> shares, one a bar, NaN for none


@dataclass(frozen=True)
class Question:
    """What is asked of a run's forecasts."""

    model: str
    costs_bp: tuple[float, ...]  # a side, ascending
    target: float  # volatility a year of each symbol's account
    trials: int  # configurations tried on the same bars


@dataclass(frozen=True, eq=False)
class Setting:
    """Bars from each symbol's first decision on, and every strategy's decisions on them."""

    bars: tuple[Bars, ...]
    pace: Pace
    decisions: dict[str, Decisions]  # by strategy, the model's first
    without: tuple[str, ...]  # symbols that no forecast is of

    def book(self, strategy: str, cost_bp: float) -> Book:
        """The strategy traded at a cost."""
        return kept(strategy, cost_bp, self.bars, self.decisions[strategy])


def study(panel: Panel, predictions: pa.Table, asked: Question) -> tuple[dict[str, Any], pa.Table]:
    """The record that `--json` prints, and the ledger of all its books.

    `panel` holds adjusted bars, `predictions` forecasts one bar ahead among others. Raises
    UsageError for a model or a horizon that they do not have.
    """
    setting = setting_of(panel, predictions, asked)
    books = {
        (name, bp): setting.book(name, bp) for name in setting.decisions for bp in asked.costs_bp
    }
    own = asked.model
    record: dict[str, Any] = {
        "model": own,
        "target_volatility": asked.target,
        "trials": asked.trials,
        "from": min(each.label(0) for each in setting.bars),
        "until": max(each.label(len(each) - 1) for each in setting.bars),
        "bars_per_year": setting.pace.clock,
        "rows": [measured(book, setting.pace, asked.trials) for book in books.values()],
        "differences": [
            {
                "strategy": one,
                "reference": other,
                "cost_bp": bp,
                "sharpe": annual(
                    inference.sharpe_difference(books[one, bp].returns, books[other, bp].returns),
                    setting.pace.clock,
                ),
            }
            for one, other in _pairs(setting)
            for bp in asked.costs_bp
        ],
        "break_even": [break_even(setting, name) for name in setting.decisions if name != HOLD],
        "notes": notes(books[own, asked.costs_bp[0]], panel, setting.without),
    }
    return record, ledger(list(books.values()))


def setting_of(panel: Panel, predictions: pa.Table, asked: Question) -> Setting:
    """Who decides what, from what was known at each close."""
    names = _strategies(predictions, asked.model)
    frame = predictions.filter(pa.array(predictions["h"].to_numpy() == 1)).to_pandas()
    groups = dict(list(frame.groupby(["model", "unique_id"], sort=False)))
    bars, own = [], []
    decisions: dict[str, Decisions] = {name: {} for name in (*names, HOLD)}
    for member in panel:
        symbol = str(member.symbol)
        if (names[0], symbol) not in groups:
            continue
        start = _places(member, groups[names[0], symbol]).min()
        own.append(bars_per_year(member.opened_at[: start + 1]))
        bars.append(member.select(slice(int(start), None)))
        target = asked.target / math.sqrt(own[-1])
        for name in names:
            decisions[name][symbol] = decided(bars[-1], groups[name, symbol], target)
        first = np.where(np.arange(len(bars[-1])) == 0, 1.0, np.nan)
        decisions[HOLD][symbol] = first
    begin = min(each.closed_at[0] for each in bars)
    pace = Pace(bars_per_year(panel.clock[panel.clock <= begin]), tuple(own))
    held = {str(each.symbol) for each in bars}
    without = tuple(str(s) for s in panel.symbols if str(s) not in held)
    return Setting(tuple(bars), pace, decisions, without)


def decided(bars: Bars, rows: pd.DataFrame, target: float) -> Floats:
    """[T] the share at each bar that a forecast was made at, NaN at others.

    `rows` are one symbol's forecasts one bar ahead, `target` a deviation a bar.
    """
    quantiles = rows[list(map(str, QUANTILES))].to_numpy(dtype=np.float64)
    out = np.full(len(bars), np.nan)
    out[_places(bars, rows)] = weights(spread_of(quantiles, QUANTILES), target)
    return out


def break_even(setting: Setting, strategy: str) -> dict[str, Any]:
    """The cost a side at which a strategy's Sharpe is that of buying and holding at that cost."""

    def ahead(bp: float) -> float:
        one, other = (inference.sharpe(setting.book(n, bp).returns) for n in (strategy, HOLD))
        return one - other

    free, dear = ahead(0.0), ahead(MOST_BP)
    found, why = None, None
    if math.isnan(free):
        why = "returns do not move"
    elif free <= ROUNDING:
        why = "behind at 0"
    elif dear > 0:
        why = f"above {MOST_BP:g}"
    else:
        found = cast(float, brentq(ahead, 0.0, MOST_BP, xtol=1e-3))
    return {"strategy": strategy, "cost_bp": found, "why": why}


def _strategies(predictions: pa.Table, model: str) -> list[str]:
    """The model, then its rivals in the run. Raises UsageError for what the run has not."""
    horizons = predictions["h"].unique().to_pylist()
    if 1 not in horizons:
        raise UsageError(
            f"horizon 1: the run forecasts {tuple(sorted(horizons))}; a position is sized by the"
            " next bar, make a run with --horizons 1"
        )
    known = sorted(predictions["model"].unique().to_pylist())
    if model not in known:
        raise UsageError(f"model {model!r} is not in the run{suggestion(model, known)}")
    return [model, *(name for name in RIVALS if name in known and name != model)]


def _pairs(setting: Setting) -> list[tuple[str, str]]:
    """Every strategy against buying and holding, the model against its rivals too."""
    own, *rivals = (name for name in setting.decisions if name != HOLD)
    return [(name, HOLD) for name in (own, *rivals)] + [(own, name) for name in rivals]


def _places(bars: Bars, rows: pd.DataFrame) -> np.ndarray:
    """[n] the bar of each row's cutoff. Raises DataError where there is none."""
    cutoff = rows["cutoff"].to_numpy().astype("datetime64[us]")
    at = np.minimum(np.searchsorted(bars.opened_at, cutoff), len(bars) - 1)
    odd = bars.opened_at[at] != cutoff
    if odd.any():
        raise DataError(f"{bars.symbol}: no bar has the cutoff {cutoff[odd][0]} as its label")
    return at
