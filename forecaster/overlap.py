"""Stored bars against the same bars asked for again: one history, or not; and the two joined."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from forecaster.bars import Bars, Floats
from forecaster.errors import DataError
from forecaster.events import Event, adjustment
from forecaster.provenance import Provenance
from forecaster.sessions import session_days
from forecaster.sources import Delivery
from forecaster.store import union

RTOL = 1e-4  # of a price; Yahoo sends seven digits
SHOWN = 3  # revised bars in a note
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Stored:
    """What is stored of a symbol, by the source that is asked now."""

    bars: Bars
    provenance: Provenance

    def day(self, t: int) -> date:
        """The session of bar t."""
        return session_days(self.bars, self.provenance.timezone)[t].item()


def compare(old: Bars, new: Bars, source: str) -> tuple[str, ...]:
    """Notes on the bars that differ from what `source` has now.

    Raises DataError where the two are not one history.
    """
    start, end = max(old.opened_at[0], new.opened_at[0]), min(old.opened_at[-1], new.opened_at[-1])
    shared = np.intersect1d(old.opened_at, new.opened_at)
    if start > end or not len(shared):
        raise DataError(
            f"{new.symbol}: gap: stored is {old.label(0)} to {old.label(-1)}, {source} has"
            f" {new.label(0)} to {new.label(-1)}: no bar in common shows that they are one"
            " history; keep it in another --store"
        )
    before, after = (b.select(np.isin(b.opened_at, shared)) for b in (old, new))
    ratio = after.close / before.close
    typical = float(np.median(ratio))
    differs = np.any([_differs(getattr(before, n), getattr(after, n)) for n in PRICES], axis=0)
    steady = np.abs(ratio / typical - 1) < RTOL
    if abs(typical - 1) > RTOL and steady.mean() > 0.5:
        raise DataError(
            f"{new.symbol}: history changed by x{typical:.6g} from {before.label(0)} on, and no"
            " split says why; what is stored is kept; --refetch replaces it"
        )
    if differs.mean() > 0.5:
        raise DataError(
            f"{new.symbol}: {int(differs.sum())} of {len(differs)} stored bars from"
            f" {before.label(0)} on are others now; what is stored is kept; --refetch replaces it"
        )
    gone = np.setdiff1d(old.opened_at[(old.opened_at >= start) & (old.opened_at <= end)], shared)
    notes = []
    if differs.any():
        rows = np.flatnonzero(differs)
        which = ", ".join(
            f"{before.label(t)} close {before.close[t]:.10g} now {after.close[t]:.10g}"
            for t in rows[:SHOWN]
        )
        notes.append(
            f"{len(rows)} of {len(differs)} bars revised by {source}, kept as stored: {which}"
        )
    if len(gone):
        notes.append(f"{len(gone)} stored bars are gone from {source}, kept: {str(gone[0])[:10]}")
    return tuple(notes)


def _differs(before: Floats, after: Floats) -> np.ndarray:
    """Whether two columns of prices are apart; NaN is NaN's equal."""
    return ~(np.isclose(before, after, rtol=RTOL, atol=0, equal_nan=True))


def fresh(old: tuple[Event, ...], new: tuple[Event, ...]) -> list[Event]:
    """Events that are not stored yet, or of another value by now."""
    known = {(event.ex_date, event.kind): event.value for event in old}
    return [
        event
        for event in new
        if not np.isclose(known.get((event.ex_date, event.kind), np.nan), event.value, rtol=RTOL)
    ]


def joined(stored: Stored, got: Delivery) -> Delivery:
    """Stored bars, the new ones that are not among them, and the adjustment by all events."""
    events = {(e.ex_date, e.kind): e for e in got.provenance.events}
    for event in stored.provenance.events:
        key = (event.ex_date, event.kind)
        if key not in events or np.isclose(events[key].value, event.value, rtol=RTOL):
            events[key] = event
    kept = tuple(sorted(events.values()))
    bars = union(stored.bars, got.bars)
    days = session_days(bars, got.provenance.timezone)
    bars = replace(bars, adjustment=adjustment(bars, days, kept))
    return replace(got, bars=bars, provenance=replace(got.provenance, events=kept))


def told(stored: Stored, fresh: list[Event], joined: Delivery) -> list[str]:
    """New events, and by how much they multiply the adjustment of the first bar."""
    if not fresh:
        return []
    ratio = joined.bars.adjustment[joined.bars.opened_at == stored.bars.opened_at[0]][0]
    ratio = float(ratio / stored.bars.adjustment[0])
    words = ", ".join(f"{e.kind} {e.value:.6g} of {e.ex_date}" for e in fresh)
    return [f"new: {words}: earlier adjustments x{ratio:.6g}"]
