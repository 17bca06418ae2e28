"""How fast, how linear, how large: ways and sizes of one thing, timed against each other."""

from forecaster.bench.clock import Row
from forecaster.bench.registry import BENCHES, Settings, chosen
from forecaster.bench.results import bench_table, to_parquet

__all__ = ["BENCHES", "Row", "Settings", "bench_table", "chosen", "to_parquet"]
