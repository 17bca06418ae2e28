"""Where bars come from. `source(name, path)` gives one by its name."""

from forecaster.sources.bundled import DEFAULT_UNIVERSE
from forecaster.sources.protocol import Delivery, Remote, Source, clip, delivery
from forecaster.sources.registry import SOURCES, fetch_command, source

__all__ = [
    "DEFAULT_UNIVERSE",
    "SOURCES",
    "Delivery",
    "Remote",
    "Source",
    "clip",
    "delivery",
    "fetch_command",
    "source",
]
