"""Two ways to write a thing, checked equal, then timed against each other.

A second way to do what the package does may stand here, and nowhere else.
"""

from .cases import FULL, Row, Scale
from .registry import BENCHES, Settings, chosen
from .results import bench_table, write_rows

__all__ = [
    "BENCHES",
    "FULL",
    "Row",
    "Scale",
    "Settings",
    "bench_table",
    "chosen",
    "write_rows",
]
