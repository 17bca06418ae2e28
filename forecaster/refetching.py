"""What a network is asked of a symbol that is stored already, and what the answer does to it.

Printed prices never change, so ten stored bars are asked for again and compared:

    same       nothing new                       append    new bars
    dividend   a new one: earlier adjustments are multiplied by one number below 1
    split      a new one: likewise
    revised    few of the shared bars differ: the stored ones stay, the differences are named

`first` says that nothing was stored, `all` that everything was asked for again. An event of daily
bars makes all of the stored time be asked for again and compared. A gap, or a difference in many
bars that no event explains, is refused: nothing shows that the two are one history.
"""

from dataclasses import dataclass, replace
from typing import Literal

from forecaster.asking import Wanted, described, plan
from forecaster.bars import Bars
from forecaster.errors import DataError
from forecaster.findings import Quality
from forecaster.overlap import Stored, compare, fresh, joined, told
from forecaster.provenance import Provenance
from forecaster.sources import Delivery, Remote
from forecaster.store import DamagedError, Status, Store
from forecaster.symbols import Symbol

Change = Literal["first", "same", "append", "dividend", "split", "revised", "all"]


@dataclass(frozen=True)
class Update:
    """What to store, and what was found. Nothing where `delivery` is None."""

    delivery: Delivery | None
    change: Change
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """What became of one symbol. `bars` are those that are stored now."""

    status: Status | Literal["planned"]
    change: Change | Literal["planned"]
    rows_added: int
    bars: Bars | None
    notes: tuple[str, ...]
    delivery: Delivery | None = None  # with those bars, where they have no report yet
    quality: Quality | None = None  # the report that is kept, where nothing was asked


def bring(wanted: Wanted, origin: Remote, store: Store, *, dry_run: bool) -> Brought:
    """Ask for what is not stored yet, and store it; or only say what would be asked for."""
    stored = _stored(wanted, origin, store)
    before = stored.bars if stored else None
    if dry_run:
        return Brought("planned", "planned", 0, before, (described(wanted, stored, origin),))
    found = update(wanted, stored, origin)
    if found.delivery is None:
        return _untouched(stored, origin, store, found.notes)
    commit = store.put(found.delivery.bars, found.delivery.provenance)
    delivery = replace(found.delivery, bars=commit.bars)
    return Brought(
        commit.status, found.change, commit.rows_added, commit.bars, found.notes, delivery
    )


def _untouched(
    stored: Stored | None, origin: Remote, store: Store, notes: tuple[str, ...]
) -> Brought:
    """Nothing was asked: the stored bars with their report, or to be judged where it is lost."""
    if stored is None:
        return Brought("same", "same", 0, None, notes)
    bars, told = stored.bars, stored.provenance
    quality = store.report(bars.symbol, bars.interval)
    delivery = None if quality else Delivery(bars, told, origin.calendar(told))
    return Brought("same", "same", 0, bars, notes, delivery, quality)


def _stored(wanted: Wanted, origin: Remote, store: Store) -> Stored | None:
    """What is stored by the same source, if it is whole: what is damaged is asked for again."""
    key = (wanted.symbol, wanted.interval)
    mine = [entry for entry in store.entries() if (entry.symbol, entry.interval) == key]
    if not mine or mine[0].source != origin.name:
        return None
    try:
        return Stored(*store.load_with_provenance(*key))
    except DamagedError:
        return None


def update(wanted: Wanted, stored: Stored | None, origin: Remote) -> Update:
    """Ask, compare and join. Raises what the source raises, and DataError for another history."""
    asks = plan(wanted, stored, origin)
    if asks.nothing:
        return Update(None, "same", (asks.nothing,))
    got = origin.fetch(wanted.symbol, wanted.interval, asks.start, wanted.end)
    notes = got.provenance.notes
    if stored is None:
        return Update(got, "first", notes)
    _check_same_listing(wanted.symbol, stored.provenance, got.provenance)
    if asks.whole:
        return Update(got, "all", notes)
    news = fresh(stored.provenance.events, got.provenance.events)
    if news and wanted.interval == "1d":
        got = origin.fetch(wanted.symbol, wanted.interval, stored.day(0), wanted.end)
    revised = compare(stored.bars, got.bars, origin.name)
    both = joined(stored, got)
    notes = (*told(stored, news, both), *revised, *got.provenance.notes)
    provenance = replace(both.provenance, notes=notes)
    added = len(both.bars) > len(stored.bars)
    kinds = {event.kind for event in news}
    change: Change = "append" if added else "same"
    if kinds or revised:
        change = "split" if "split" in kinds else "dividend" if kinds else "revised"
    return Update(replace(both, provenance=provenance), change, notes)


def _check_same_listing(symbol: Symbol, old: Provenance, new: Provenance) -> None:
    """Refuse another currency or clock: pence for pounds is a hundredfold step."""
    for name in ("currency", "timezone"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            raise DataError(
                f"{symbol}: stored is {name} {before or 'unknown'}, {new.source} has"
                f" {after or 'none'}: another listing; keep it in another --store"
            )
