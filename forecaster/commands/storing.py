"""`forecaster store ls`, `verify` and `repair`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forecaster import display
from forecaster.commands.arguments import Output
from forecaster.errors import StorageError
from forecaster.sources import fetch_command
from forecaster.store import LOCK_TIMEOUT_S, Fault, Inspection, Store, Watch, repair, verify


@dataclass(frozen=True, kw_only=True)
class InStore(Output):
    """Arguments of the commands on a store."""

    store: Path = Path("data")


def ls(given: InStore) -> None:
    """A line a symbol, and what is odd about its bars."""
    store = Store(given.store)
    rows = [(entry, store.quality(entry)) for entry in store.entries()]
    record = [
        entry.model_dump() | {"quality": quality.model_dump(mode="json") if quality else None}
        for entry, quality in rows
    ]
    if given.result({"store": str(given.store), "entries": record}):
        return
    if not rows:
        given.say(f"nothing in {given.store} yet; bring bars with: forecaster fetch")
    for entry, quality in rows:
        odd = quality.line if quality else f"{entry.symbol}: {entry.rows} bars, no report"
        span = f"{entry.interval} {entry.first} to {entry.last} from {entry.source}"
        display.print_line(f"{odd}  [{span}, {entry.fetched_at}]")


def verify_store(given: InStore) -> None:
    """Raises StorageError where anything is not what was committed."""
    found = _watched(given, lambda watch: verify(given.store, watch))
    _show(given, found, "files that nobody needs")
    if found.faults:
        raise StorageError(
            f"{len(found.faults)} damaged in {given.store}: {_first(found.faults)};"
            f" {found.faults[0].remedy}"
        )


def repair_store(given: InStore) -> None:
    """Raises StorageError where bars are lost, with the command that brings them again."""
    found = _watched(given, lambda watch: repair(given.store, LOCK_TIMEOUT_S, fetch_command, watch))
    _show(given, found, "removed")
    if found.faults:
        raise StorageError(
            f"{len(found.faults)} symbols lost bars: {_first(found.faults)};"
            f" {found.faults[0].remedy}"
        )


def _watched(given: InStore, look: Callable[[Watch], Inspection]) -> Inspection:
    """What a look finds, with progress in a terminal."""
    with display.progress(1, "symbols", quiet=given.quiet, lines=False) as meter:
        return look(lambda symbol, of: meter.advance(1 / of, symbol))


def _show(given: InStore, found: Inspection, garbage: str) -> None:
    """The record for programs, or a line for everything that was found."""
    if given.result(found.as_json()) or given.quiet:
        return
    display.print_line(
        f"{found.store}: generation {found.generation}, {found.segments} segments,"
        f" {found.rows} bars; lock {found.lock}"
    )
    for fault in found.faults:
        display.print_line(f"damaged: {fault.path}: {fault.cause}; {fault.remedy}")
    for line in found.recovered:
        display.print_line(f"recovered: {line}")
    for path in found.garbage:
        display.print_line(f"{garbage}: {path}")
    if not found.faults:
        display.print_line("all that counts is what was committed")


def _first(faults: tuple[Fault, ...]) -> str:
    """The first of them by its symbol, short enough for one line."""
    fault = faults[0]
    return f"{fault.symbol or 'manifest.json'}: {fault.cause[:90]}"
