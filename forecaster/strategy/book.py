"""Accounts of several symbols as one book, on one clock, and its ledger of decisions and fills.

K moments of the clock: every close of any symbol from the first decision on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from forecaster.bars import Bars, Floats, Times
from forecaster.frames import MOMENT
from forecaster.strategy.account import Account, traded

BASIS_POINT = 1e-4
# A row a decision. Times are labels of bars, as `cutoff` and `ds` of the predictions are: that of
# the last bar known, and that of the bar whose price filled it. Nulls: never filled, the symbol
# ended. Sums: an account's equity is 1 / symbols - sum(units * price + cost) + sum(units) * close.
LEDGER = pa.schema(
    [
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("cost_bp", pa.float64(), nullable=False),  # a side, of traded value
        pa.field("unique_id", pa.string(), nullable=False),
        pa.field("decided_at", MOMENT, nullable=False),
        pa.field("weight", pa.float64(), nullable=False),  # share of the symbol's account
        pa.field("filled_at", MOMENT),
        pa.field("filled_on", pa.string()),  # open | close
        pa.field("price", pa.float64()),  # adjusted
        pa.field("units", pa.float64()),  # bought; negative where sold
        pa.field("cost", pa.float64()),
        pa.field("equity", pa.float64()),  # of the account at the close of the bar of the fill
    ]
)


@dataclass(frozen=True, eq=False)
class Book:
    """One strategy at one cost; capital 1, equal shares of it for all symbols, never moved."""

    strategy: str
    cost_bp: float
    bars: tuple[Bars, ...]  # of each symbol, from its first decision on
    decided: tuple[Floats, ...]
    accounts: tuple[Account, ...]
    clock: Times  # [K]
    equity: Floats  # [K]; that of a symbol that ended stays what it was at its last close
    turnover: Floats  # [K] value traded over the equity before

    @property
    def returns(self) -> Floats:
        """[K - 1] simple returns."""
        return self.equity[1:] / self.equity[:-1] - 1


def kept(
    strategy: str, cost_bp: float, bars: Sequence[Bars], decided: Mapping[str, Floats]
) -> Book:
    """Every symbol's account traded, and put on one clock. `decided` by symbol, one a bar."""
    shares = tuple(decided[str(each.symbol)] for each in bars)
    capital, cost = 1 / len(bars), cost_bp * BASIS_POINT
    accounts = tuple(
        traded(each, share, capital=capital, cost=cost)
        for each, share in zip(bars, shares, strict=True)
    )
    clock = np.unique(np.concatenate([each.closed_at for each in bars]))
    equity, value = np.zeros(len(clock)), np.zeros(len(clock))
    for each, account in zip(bars, accounts, strict=True):
        at = np.searchsorted(each.closed_at, clock, side="right") - 1
        equity += np.where(at >= 0, account.equity[at], capital)
        value[np.searchsorted(clock, each.closed_at)] += np.abs(
            np.nan_to_num(account.units * account.price)
        )
    before = np.concatenate(([1.0], equity[:-1]))
    return Book(strategy, cost_bp, tuple(bars), shares, accounts, clock, equity, value / before)


def ledger(books: Sequence[Book]) -> pa.Table:
    """LEDGER of books, in their order, then by symbol and time."""
    return pa.concat_tables(
        [_rows(book, i) for book in books for i in range(len(book.bars))]
    ).combine_chunks()


def _rows(book: Book, i: int) -> pa.Table:
    """One account's decisions beside what became of them."""
    bars, account = book.bars[i], book.accounts[i]
    at = np.flatnonzero(np.isfinite(book.decided[i]))
    late = at + 1 == len(bars)
    fill = np.minimum(at + 1, len(bars) - 1)
    labels = bars.opened_at.astype("datetime64[us]")
    columns = {
        "strategy": pa.repeat(book.strategy, len(at)),
        "cost_bp": np.full(len(at), book.cost_bp),
        "unique_id": pa.repeat(str(bars.symbol), len(at)),
        "decided_at": labels[at],
        "weight": book.decided[i][at],
        "filled_at": pa.array(labels[fill], mask=late),
        "filled_on": pa.array(np.where(account.at_open[fill], "open", "close"), mask=late),
    }
    for name in ("price", "units", "cost", "equity"):
        columns[name] = pa.array(getattr(account, name)[fill], mask=late)
    return pa.Table.from_arrays(
        [pa.array(columns[field.name], type=field.type) for field in LEDGER], schema=LEDGER
    )
