"""Bars on disk: immutable segments, and one manifest that says which of them count."""

from forecaster.store.manifest import Entry
from forecaster.store.merge import Status
from forecaster.store.store import Commit, Store

__all__ = ["Commit", "Entry", "Status", "Store"]
