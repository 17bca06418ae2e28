"""One symbol's account, bar by bar: what was decided at a close is filled in the next bar.

T bars. Decision t is made at the close of bar t and knows nothing later. It is filled at the open
of bar t + 1 where that is an open, else at its close: an open that repeats the close before it is
no trade, and to fill there would be to trade at the price that was decided on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Bars, Floats
from forecaster.features import candles

MOST_COST = 0.1  # of traded value; more is a slip of the pen


@dataclass(frozen=True, eq=False)
class Account:
    """What a symbol's capital became; every array's first axis is T.

    At each bar: equity = capital - sum of (units * price + cost) so far + sum of units * close.
    """

    capital: float
    at_open: NDArray[np.bool_]  # [T] whether a fill in bar t is at its open
    price: Floats  # [T] of the fill in bar t, NaN where nothing was decided at the bar before
    units: Floats  # [T] bought in bar t, negative where sold
    cost: Floats  # [T] paid for it
    equity: Floats  # [T] cash and units at the close of bar t


def traded(bars: Bars, decided: Floats, *, capital: float = 1.0, cost: float = 0.0) -> Account:
    """An account that follows shares decided [T], in [0, 1]; NaN holds what there is.

    `cost` is a fraction of the value of each trade. Prices should be adjusted. The last bar's
    decision is never filled; whatever is held then has lost or won that bar.
    Raises ValueError for a share or a cost out of range, or of another length than the bars.
    """
    if decided.shape != (len(bars),):
        raise ValueError(f"decided has shape {decided.shape}: wanted one a bar, {len(bars)}")
    odd = decided[(decided < 0) | (decided > 1)]
    if odd.size:
        raise ValueError(f"decided {odd[0]:g}: a share is in [0, 1]: nothing is borrowed or sold")
    if not 0 <= cost <= MOST_COST:
        raise ValueError(f"cost={cost:g}: wanted a fraction in [0, {MOST_COST:g}]")
    at_open = candles(bars).open_is_real
    price = np.where(at_open, bars.open, bars.close)
    price[1:][np.isnan(decided[:-1])] = np.nan
    price[:1] = np.nan
    units, paid, equity = (np.zeros(len(bars)) for _ in range(3))
    cash, held = capital, 0.0
    shares, prices, closes = decided.tolist(), price.tolist(), bars.close.tolist()
    for t in range(len(bars)):
        if prices[t] == prices[t]:
            worth = held * prices[t]
            trade = _wanted(shares[t - 1], cash + worth, worth, cost) - worth
            units[t], paid[t] = trade / prices[t], cost * abs(trade)
            cash -= trade + float(paid[t])
            held += float(units[t])
        equity[t] = cash + held * closes[t]
    return Account(capital, at_open, price, units, paid, equity)


def _wanted(share: float, equity: float, worth: float, cost: float) -> float:
    """Value to hold so that it is `share` of what is left once the trade towards it is paid for.

    v = share * (equity - cost * |v - worth|), solved for either side of the trade.
    """
    signed = cost if share * equity >= worth else -cost
    return share * (equity + signed * worth) / (1 + signed * share)
