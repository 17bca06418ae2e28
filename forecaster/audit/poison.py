"""Another future for the same past: every bar after a moment is replaced, all before it stays.

Poison is finite. An infinity or NaN behind a correct mask spoils the past all the same (0 * NaN),
and would accuse what is innocent.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from forecaster.bars import PRICES, Bars, Floats, Panel, duration

FUTURES = (  # the ones that see most come first: a slow stage is tried with few
    "noise",  # another random walk
    "no future",  # the bars end at the cut: what the past looked like when it was the present
    "symbol ends",  # one symbol, one bar later
    "times 100",  # prices and volumes
    "reversed",
    "fewer bars",  # half of them, at random
    "crash",  # prices to a millionth
    "no volume",
    "constant",  # the last close for ever
    "shuffled",
    "closes only",
)
NOISE = 0.03  # deviation of the log return of the walk that replaces a future


def known_count(bars: Bars, moment: np.datetime64) -> int:
    """How many bars had closed, counted without `Bars.until`: that is under audit too."""
    closed = bars.opened_at + duration(bars.interval)
    return int(np.searchsorted(closed, moment, side="right"))


def poisoned(panel: Panel, cut: np.datetime64, kind: str, seed: int) -> Panel:
    """The panel as it was known at `cut`, with a future of `kind` (FUTURES) after it."""
    rng = np.random.default_rng((seed, FUTURES.index(kind)))
    ends = int(rng.integers(len(panel)))
    members = []
    for i, bars in enumerate(panel):
        known = known_count(bars, cut)
        match kind:
            case "no future":
                members.append(bars.head(known))
            case "symbol ends":
                members.append(bars.head(known + 1) if i == ends else bars)
            case "fewer bars":
                kept = np.arange(len(bars)) < known
                members.append(bars.select(kept | (rng.random(len(bars)) < 0.5)))
            case _:
                members.append(_rewritten(bars, known, kind, rng))
    return Panel(tuple(members))


def _rewritten(bars: Bars, known: int, kind: str, rng: np.random.Generator) -> Bars:
    """The same times; other prices and volumes from bar `known` on."""
    columns = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    after = {name: column[known:] for name, column in columns.items()}
    if not len(after["close"]):
        return bars
    last = bars.close[max(known - 1, 0)]
    for name, values in _future(kind, after, float(last), rng).items():
        columns[name][known:] = values
    return replace(bars, **columns)


def _future(
    kind: str, after: dict[str, Floats], last: float, rng: np.random.Generator
) -> dict[str, Any]:
    """The columns that change."""
    n = len(after["close"])
    order = rng.permutation(n)
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "noise": lambda: _walk(last, n, rng),
        "times 100": lambda: {name: 100 * values for name, values in after.items()},
        "crash": lambda: {name: 1e-6 * after[name] for name in PRICES},
        "constant": lambda: dict.fromkeys(PRICES, last),
        "reversed": lambda: {name: values[::-1].copy() for name, values in after.items()},
        "shuffled": lambda: {name: values[order] for name, values in after.items()},
        "no volume": lambda: {"volume": np.nan},
        "closes only": lambda: dict.fromkeys(PRICES[:3], np.nan),
    }
    return made[kind]()


def _walk(last: float, n: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Legal bars of a normal random walk."""
    close = last * np.exp(np.cumsum(rng.normal(0, NOISE, n)))
    open_ = close * np.exp(rng.normal(0, NOISE, n))
    wick = np.exp(np.abs(rng.normal(0, NOISE, (2, n))))
    return {
        "open": open_,
        "high": np.maximum(open_, close) * wick[0],
        "low": np.minimum(open_, close) / wick[1],
        "close": close,
        "volume": np.exp(rng.normal(12, 2, n)),
    }


def scaled(panel: Panel, factor: float) -> Panel:
    """Prices in other units: times a power of two, which is exact, one a symbol."""
    members = []
    for i, bars in enumerate(panel):
        own = factor ** (1, -1, 2)[i % 3]
        members.append(replace(bars, **{name: own * getattr(bars, name) for name in PRICES}))
    return Panel(tuple(members))


def with_later_events(panel: Panel, cut: np.datetime64, seed: int) -> Panel:
    """As a provider revises history: events after `cut` rescale every adjusted bar up to it.

    Each symbol by its own power of two, which is exact; after the cut nothing stays of the factors.
    """
    members = []
    for i, bars in enumerate(panel):
        rng = np.random.default_rng((seed, i))
        known, factor = known_count(bars, cut), 2.0 ** int(rng.choice((-3, -2, -1, 1, 2)))
        later = factor * np.exp(rng.normal(0, 1, len(bars) - known))
        kept = factor * bars.adjustment[:known]
        members.append(replace(bars, adjustment=np.concatenate((kept, later))))
    return Panel(tuple(members))


def restored(panel: Panel, cut: np.datetime64, kind: str, seed: int) -> Panel:
    """Stored bars with another future of `kind` and other events in it."""
    return with_later_events(poisoned(panel, cut, kind, seed), cut, seed)
