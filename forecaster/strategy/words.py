"""What the figures of a book do not say by themselves: fills, ends, and what is not claimed."""

import numpy as np

from forecaster.bars import Panel
from forecaster.strategy.book import Book


def notes(book: Book, panel: Panel, without: tuple[str, ...]) -> list[str]:
    """Sentences about the first book, which hold of all."""
    lines = [
        "no direction is claimed: every strategy is long or in cash; what a forecast decides is how"
        " much, by its spread, and holding less in wild markets is all that is tested",
        _fills(book),
        "costs are a fixed share of each side's value: no queue, no impact, no tax; cash earns"
        " nothing, nothing is borrowed; dividends count where the source adjusts prices for them",
        "equal capital for every symbol at the start, never moved between them",
        "a Sharpe ratio of who is long has the market's own in it: read it beside buy_and_hold's;"
        " targets and models tried with this command are in no ledger",
    ]
    ends = _ends(book, panel)
    if ends:
        lines.append(
            "ended before the others, held to the last bar at its close, then cash (what came after"
            f" is not in the bars): {', '.join(ends)}"
        )
    if without:
        lines.append(f"no forecast, so no position and no capital: {', '.join(without)}")
    lines.append(
        "universe: symbols somebody chose, with hindsight: survivors, which flatters whoever holds"
    )
    return lines


def _fills(book: Book) -> str:
    """How many decisions were filled where."""
    opens, closes, unfilled, stale = 0, 0, 0, []
    for bars, decided, account in zip(book.bars, book.decided, book.accounts, strict=True):
        filled = np.isfinite(account.price)
        here = int((filled & ~account.at_open).sum())
        opens += int((filled & account.at_open).sum())
        closes += here
        unfilled += int(np.isfinite(decided).sum() - filled.sum())
        if here:
            stale.append(f"{bars.symbol} {here}")
    line = f"fills: what is decided at a close is filled at the next open ({opens})"
    if closes:
        line += (
            f", or at the next close where that open is missing or repeats the close before it"
            f" ({closes}: {', '.join(stale)})"
        )
    return f"{line}; {unfilled} decisions at a symbol's last bar were never filled"


def _ends(book: Book, panel: Panel) -> list[str]:
    """Symbols whose bars end before the panel's."""
    last = panel.clock[-1]
    return [
        f"{bars.symbol} {bars.label(len(bars) - 1)}"
        for bars in book.bars
        if bars.closed_at[-1] < last
    ]
