"""What a stage says, when each row of it was known, and where two accounts of it first part.

T rows of one symbol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Times

MOST_EVER = np.datetime64("9999-01-01")  # no cut at all
EVERYONE = "all"  # the symbol of what belongs to no single one


@dataclass(frozen=True, eq=False)
class Emitted:
    """Values of one symbol, and when each was known: the latest bar or fit that it may rest on."""

    part: str
    symbol: str
    known_at: Times  # [T], in order
    values: NDArray[Any]  # [T, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong, in words, and where it shows first."""

    what: str
    symbol: str = ""
    date: str = ""

    def __str__(self) -> str:
        where = " ".join(word for word in (self.symbol, self.date) if word)
        return f"{self.what}, first at {where}" if where else self.what


def moment_text(moment: np.datetime64) -> str:
    """A day where it is midnight, else to the second."""
    return str(moment.astype("datetime64[s]")).removesuffix("T00:00:00")


def first_difference(
    before: Sequence[Emitted],
    after: Sequence[Emitted],
    cut: np.datetime64,
    tolerance: float = 0.0,
) -> Finding | None:
    """The earliest row known by `cut` that is not the same bytes in both; None where there is none.

    A row that is in one account only is a difference too. With a `tolerance`, numbers are the same
    that differ by less than that part of them.
    """
    others = {(e.part, e.symbol): e for e in after}
    found: list[tuple[np.datetime64, Finding]] = []
    for one in before:
        other = others.get((one.part, one.symbol))
        row = _first_row(one, other, cut, tolerance)
        if row is not None:
            moment, how = row
            found.append((moment, Finding(f"{one.part} {how}", one.symbol, moment_text(moment))))
    return min(found, key=lambda each: each[0])[1] if found else None


def _first_row(
    one: Emitted, other: Emitted | None, cut: np.datetime64, tolerance: float
) -> tuple[np.datetime64, str] | None:
    n = int((one.known_at <= cut).sum())
    m = 0 if other is None else int((other.known_at <= cut).sum())
    shared = min(n, m)
    if other is not None and shared:
        a, b = (e.values[:shared].reshape(shared, -1) for e in (one, other))
        same = one.known_at[:shared] == other.known_at[:shared]
        same &= _same(a, b, tolerance) if a.shape == b.shape else False
        if not same.all():
            t = int(np.argmin(same))
            return one.known_at[t], _how(a[t], b[t])
    if n == m:
        return None
    longer = one if n > m or other is None else other
    return longer.known_at[shared], "has a row with this future and none with that"


def _same(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """[T] rows that are equal to the last bit, or to a tolerance."""
    if tolerance:
        return np.asarray(np.isclose(a, b, rtol=tolerance, atol=0, equal_nan=True).all(axis=1))
    bits = [np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1) for x in (a, b)]
    if bits[0].shape != bits[1].shape:
        return np.zeros(len(a), dtype=bool)
    return (bits[0] == bits[1]).all(axis=1)


def _how(a: NDArray[Any], b: NDArray[Any]) -> str:
    """The first value that differs, before and after."""
    if a.shape != b.shape or a.dtype == np.uint8 or not np.issubdtype(a.dtype, np.number):
        return "changes"
    odd = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
    i = int(odd[0]) if len(odd) else 0
    return f"changes from {a[i]:.6g} to {b[i]:.6g}"
