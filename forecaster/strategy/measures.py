"""What a book came to: its figures, each from equity up to its last moment and nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster import inference
from forecaster.bars import Floats
from forecaster.inference.sharpe import Estimate
from forecaster.strategy.book import Book


@dataclass(frozen=True)
class Pace:
    """How many bars a year has, as it was known before the first decision."""

    clock: float
    own: tuple[float, ...]  # of each symbol


def measured(book: Book, pace: Pace, trials: int) -> dict[str, Any]:
    """One row of the record; null is what too few or still returns do not tell.

    `trials` configurations were tried on these bars.
    """
    returns, per_year = book.returns, pace.clock
    years = len(returns) / per_year
    return {
        "strategy": book.strategy,
        "cost_bp": book.cost_bp,
        "n": len(returns),
        "sharpe": annual(inference.sharpe_estimate(returns), per_year),
        "deflated_sharpe": inference.deflated_sharpe(returns, trials),
        "return_annual": float(book.equity[-1] ** (1 / years) - 1) if years else 0.0,
        "volatility": float(returns.std() * math.sqrt(per_year)) if years else 0.0,
        "max_drawdown": drawdown(book.equity),
        "turnover": float(book.turnover.sum() / years) if years else 0.0,
        **_by_symbol(book, pace),
        **_shares(book),
    }


def annual(found: Estimate | None, per_year: float) -> list[float] | None:
    """[value, low, high] of a ratio a bar as one a year."""
    return None if found is None else [x * math.sqrt(per_year) for x in found]


def drawdown(equity: Floats) -> float:
    """The greatest fall from what had been the most by then, as a fraction."""
    return float((1 - equity / np.maximum.accumulate(equity)).max())


def _by_symbol(book: Book, pace: Pace) -> dict[str, Any]:
    """Each account alone, from its first decision to its symbol's last bar.

    Its Sharpe ratio, and the mean over accounts of the deviation of their returns, a year; null
    where no account has two returns.
    """
    ratios, deviations = {}, []
    for bars, account, per_year in zip(book.bars, book.accounts, pace.own, strict=True):
        returns = account.equity[1:] / account.equity[:-1] - 1
        ratios[str(bars.symbol)] = annual(inference.sharpe_estimate(returns), per_year)
        if len(returns) > 1:
            deviations.append(float(returns.std()) * math.sqrt(per_year))
    mean = float(np.mean(deviations)) if deviations else None
    return {"volatility_of_symbols": mean, "sharpe_of_symbols": ratios}


def _shares(book: Book) -> dict[str, float]:
    """Of decisions that were filled: the mean share, and how many were for the whole account."""
    filled = np.concatenate([each[:-1] for each in book.decided])
    filled = filled[np.isfinite(filled)]
    if not filled.size:
        return {"mean_weight": 0.0, "all_in": 0.0}
    return {"mean_weight": float(filled.mean()), "all_in": float((filled == 1).mean())}
