"""What new bars do to those that are stored: no bar is lost, no two histories are mixed."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecaster.bars import Bars
from forecaster.errors import DataError
from forecaster.provenance import content_sha256
from forecaster.store.segment import SCHEMA

Status = Literal["added", "same", "appended", "replaced"]


def merge(old: Bars | None, new: Bars) -> tuple[Status, Bars]:
    """What is to be stored, and what became of it.

    added      nothing was stored
    same       all new bars are stored already
    appended   both agree wherever both have bars, and together they are more
    replaced   they differ, and the new ones cover all the time that is stored
    Raises DataError where they differ and the new ones cover a part, or share no time with the old.
    """
    if old is None:
        return "added", new
    start = max(old.opened_at[0], new.opened_at[0])
    end = min(old.opened_at[-1], new.opened_at[-1])
    if start > end:
        raise DataError(
            f"{new.symbol}: {new.label(0)} to {new.label(-1)} shares no bar with what is stored,"
            f" {old.label(0)} to {old.label(-1)}: nothing shows that they are one history;"
            " fetch a range that overlaps"
        )
    if content_sha256(_between(old, start, end)) == content_sha256(_between(new, start, end)):
        both = union(old, new)
        return ("same" if len(both) == len(old) else "appended"), both
    if start == old.opened_at[0] and end == old.opened_at[-1]:
        return "replaced", new
    raise DataError(
        f"{new.symbol}: history has changed: {_difference(old, new, start, end)};"
        f" fetch all of {old.label(0)} to {old.label(-1)} to replace it"
    )


def _between(bars: Bars, start: np.datetime64, end: np.datetime64) -> Bars:
    """Bars labelled `start` to `end`, both included."""
    return bars.select((bars.opened_at >= start) & (bars.opened_at <= end))


def union(old: Bars, new: Bars) -> Bars:
    """Every bar of either, in order; the old one where both have one."""
    fresh = added(old, new)
    order = np.argsort(np.concatenate((old.opened_at, new.opened_at[fresh])), kind="stable")
    columns = {
        name: np.concatenate((getattr(old, name), getattr(new, name)[fresh]))[order]
        for name in ("opened_at", *SCHEMA.names[1:])
    }
    return replace(old, **columns)


def added(old: Bars, new: Bars) -> NDArray[np.bool_]:
    """[T] which of the new bars are of times that have no old one."""
    return ~np.isin(new.opened_at, old.opened_at)


def _difference(old: Bars, new: Bars, start: np.datetime64, end: np.datetime64) -> str:
    """The first place where two histories differ, in words."""
    old, new = _between(old, start, end), _between(new, start, end)
    odd = np.setxor1d(old.opened_at, new.opened_at)
    if len(odd):
        day = str(odd[0].astype("datetime64[s]")).removesuffix("T00:00:00")
        return f"only {'the store' if odd[0] in old.opened_at else 'the new one'} has {day}"
    for name in SCHEMA.names[1:]:
        before, after = getattr(old, name), getattr(new, name)
        differs = np.flatnonzero(~((before == after) | (np.isnan(before) & np.isnan(after))))
        if len(differs):
            t = int(differs[0])
            return f"{name} of {old.label(t)} is {after[t]:.10g}, stored is {before[t]:.10g}"
    return "the sign of a zero"
