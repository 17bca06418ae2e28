"""What the controls of an explorer mean: an origin is moved, a choice is read. Knows no Dash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from forecaster.explorer.subject import Choice, Subject

MARKS = 3  # of the slider


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A symbol and which of its origins."""

    symbol: str
    position: int


def begin(subject: Subject) -> Place:
    """The first origin of the report's rule, else the first symbol's last origin."""
    if subject.picks:
        pick = subject.picks[0]
        return Place(symbol=pick.symbol, position=subject.nearest(pick.symbol, pick.cutoff))
    symbol = subject.symbols[0]
    return Place(symbol=symbol, position=len(subject.cutoffs(symbol)) - 1)


def place_of(subject: Subject, kept: dict[str, Any]) -> Place:
    """What a browser has kept of a place; `begin` for anything that is none."""
    symbol, position = kept.get("symbol"), kept.get("position")
    if symbol not in subject.symbols or not isinstance(position, int):
        return begin(subject)
    return Place(symbol=str(symbol), position=_within(subject, str(symbol), position))


def to_symbol(subject: Subject, place: Place, symbol: Any) -> Place:
    """Another symbol at the same time; no move for one that is not there."""
    if symbol not in subject.symbols:
        return place
    moment = subject.cutoffs(place.symbol)[place.position]
    return Place(symbol=symbol, position=subject.nearest(symbol, moment))


def by(subject: Subject, place: Place, steps: int) -> Place:
    """Some origins later, or earlier, as far as there are any."""
    position = _within(subject, place.symbol, place.position + steps)
    return Place(symbol=place.symbol, position=position)


def to_position(subject: Subject, place: Place, position: Any) -> Place:
    """What the slider says."""
    if not isinstance(position, int | float):
        return place
    return by(subject, place, int(position) - place.position)


def to_pick(subject: Subject, place: Place, number: Any) -> Place:
    """An origin of the report's rule."""
    if not isinstance(number, int) or not 0 <= number < len(subject.picks):
        return place
    pick = subject.picks[number]
    return Place(symbol=pick.symbol, position=subject.nearest(pick.symbol, pick.cutoff))


def to_day(subject: Subject, place: Place, text: Any) -> Place:
    """The last origin not after a day; no move for what is no day."""
    try:
        moment = pd.Timestamp(str(text)).tz_localize(None)
        position = subject.nearest(place.symbol, moment)
    except (ValueError, TypeError, OverflowError):
        return place
    return place if pd.isna(moment) else Place(symbol=place.symbol, position=position)


def marks(subject: Subject, symbol: str) -> dict[int, str]:
    """Days below the slider: first, last, and some at equal steps."""
    cutoffs = subject.cutoffs(symbol)
    at = {round(i * (len(cutoffs) - 1) / (MARKS - 1)) for i in range(MARKS)}
    return {i: f"{cutoffs[i]:%Y-%m-%d}" for i in sorted(at)}


def choice_of(
    subject: Subject, place: Place, h: Any, models: Sequence[Any] | None, revealed: bool
) -> Choice:
    """A choice of what there is: unknown models are left out, an unknown horizon is the first."""
    known = tuple(n for n in models or () if isinstance(n, str) and n in subject.models)
    return Choice(
        symbol=place.symbol,
        cutoff=subject.cutoffs(place.symbol)[place.position],
        h=h if h in subject.horizons else subject.horizons[0],
        models=known,
        revealed=revealed,
    )


def _within(subject: Subject, symbol: str, position: int) -> int:
    return min(max(position, 0), len(subject.cutoffs(symbol)) - 1)
