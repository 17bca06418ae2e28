"""Bars on disk: immutable segments, and one manifest that says which of them count."""

from forecaster.store.inspection import Fault, Inspection, Watch, verify
from forecaster.store.manifest import DamagedError, Entry
from forecaster.store.mending import repair
from forecaster.store.merge import Status, union
from forecaster.store.store import LOCK_TIMEOUT_S, Commit, Store

__all__ = [
    "LOCK_TIMEOUT_S",
    "Commit",
    "DamagedError",
    "Entry",
    "Fault",
    "Inspection",
    "Status",
    "Store",
    "Watch",
    "repair",
    "union",
    "verify",
]
