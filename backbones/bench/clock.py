"""Time ways against each other: shuffled rounds in one process, and ratios within each round.

Whatever slows a machine slows the ways of one round alike, so ratios hold where times do not. On
one thread the clock is the processor time of this process, which is the wall's on an idle machine
and does not run while another process has the processor; on several threads it is the wall's.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from .cases import Case, Row, Way, differences
from .memory import MEBIBYTE, peak_bytes

WARM_UP = 2  # rounds that are not counted
LEAST_SECONDS = 0.005  # of one measurement: shorter runs are repeated within it
RESAMPLES = 2000  # of the bootstrap


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """A median over rounds, and the 95 % interval of it."""

    median: float
    low: float
    high: float


def untold(_done: int, _of: int) -> None:
    """Tell nobody how far it is."""


def time_case(
    bench: str, case: Case, rounds: int, on_round: Callable[[int, int], None] = untold
) -> list[Row]:
    """A row a way, the first being the one to compare with; UnequalError before any is timed.

    `on_round` hears of each round that is done, and how many there are.
    """
    torch.manual_seed(0)
    ways = case.build()
    found = differences(case, ways, bench)
    peaks = [peak_bytes(way.run) for way in ways]
    seconds = interleaved(ways, rounds, on_round)
    checked = case.check.of != "nothing"
    rows = []
    for i, way in enumerate(ways):
        ratio = paired_ratio(seconds[i], seconds[0])
        rows.append(
            Row(
                bench=bench,
                case=case.label,
                way=way.name,
                against=ways[0].name,
                check=case.check.of if checked else None,
                difference=found[i] if checked else None,
                limit=case.check.limit if checked else None,
                rounds=rounds,
                threads=torch.get_num_threads(),
                clock=clock(),
                ms=1000 * statistics.median(seconds[i]),
                ratio=ratio.median,
                ratio_low=ratio.low,
                ratio_high=ratio.high,
                peak_mb=peaks[i] / MEBIBYTE,
                parameters=way.parameters,
                cached_bytes=way.cached_bytes,
            )
        )
    return rows


def interleaved(
    ways: Sequence[Way], rounds: int, on_round: Callable[[int, int], None] = untold
) -> list[list[float]]:
    """Seconds a run of each way in each round; every round has its own order."""
    order = random.Random(0)
    repeats = max(1, math.ceil(LEAST_SECONDS / max(measured(ways[0], 1), 1e-9)))
    seconds: list[list[float]] = [[] for _ in ways]
    for round_ in range(-WARM_UP, rounds):
        for i in order.sample(range(len(ways)), len(ways)):
            took = measured(ways[i], repeats)
            if round_ >= 0:
                seconds[i].append(took)
        on_round(round_ + WARM_UP + 1, rounds + WARM_UP)
    return seconds


def measured(way: Way, repeats: int) -> float:
    """Seconds a run, over some in a row."""
    now = time.perf_counter if clock() == "wall" else time.process_time
    began = now()
    for _ in range(repeats):
        way.run()
    return (now() - began) / repeats


def clock() -> Literal["CPU", "wall"]:
    """Whose time is taken."""
    return "CPU" if torch.get_num_threads() == 1 else "wall"


def paired_ratio(seconds: Sequence[float], against: Sequence[float]) -> Ratio:
    """Median over rounds of a ratio within a round, with its 95 % percentile bootstrap interval."""
    ratios = np.array(seconds) / np.array(against)
    drawn = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return Ratio(median=float(np.median(ratios)), low=float(low), high=float(high))
