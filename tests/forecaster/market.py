"""Legal bars for tests of the data half: drawn, or the smallest there are."""

from datetime import date
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from forecaster.bars import INTERVALS, Bars
from forecaster.provenance import Provenance
from forecaster.symbols import Symbol

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=60)
ORIGIN = Provenance(
    source="test", package="none", version="1", sha256="", fetched_at="2026-01-01T00:00:00+00:00"
)
MONDAY = np.datetime64("2024-01-01", "us")
COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "adjustment")


def columns(n: int, level: float = 100.0) -> dict[str, Any]:
    """Columns of n daily bars that rise by one; open below, close above the middle."""
    middle = level + np.arange(n, dtype=float)
    return {
        "opened_at": MONDAY + np.arange(n) * np.timedelta64(1, "D"),
        "open": middle - 0.25,
        "high": middle + 1,
        "low": middle - 1,
        "close": middle + 0.5,
        "volume": np.full(n, 1000.0),
        "adjustment": np.ones(n),
    }


def daily(n: int = 5, symbol: str = "AAPL", level: float = 100.0, **changed: Any) -> Bars:
    """n legal daily bars, with some columns exchanged."""
    return Bars(symbol=Symbol(symbol), **{**columns(n, level), **changed})


@st.composite
def legal_bars(draw: st.DrawFn, most: int = 12) -> Bars:
    """Any legal bars: gaps, unknown volumes, close-only bars, every interval."""
    n = draw(st.integers(1, most))
    interval = draw(st.sampled_from(sorted(INTERVALS)))
    gaps = draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    positive = st.floats(1e-6, 1e6)
    wick = st.floats(0, 0.5)
    volume = st.one_of(st.just(np.nan), st.just(0.0), st.floats(1e-3, 1e12))
    rows = draw(
        st.lists(
            st.tuples(positive, positive, wick, wick, volume, positive, st.booleans()),
            min_size=n,
            max_size=n,
        )
    )
    first, close, up, down, amount, factor, close_only = (
        np.array(c) for c in zip(*rows, strict=True)
    )
    hidden = close_only.astype(bool)
    return Bars(
        symbol=Symbol("^GSPC"),
        interval=interval,
        opened_at=MONDAY + np.cumsum(gaps) * INTERVALS[interval],
        open=np.where(hidden, np.nan, first),
        high=np.where(hidden, np.nan, np.maximum(first, close) * (1 + up)),
        low=np.where(hidden, np.nan, np.minimum(first, close) * (1 - down)),
        close=close,
        volume=amount,
        adjustment=factor,
    )


def day(text: str) -> date:
    return date.fromisoformat(text)
