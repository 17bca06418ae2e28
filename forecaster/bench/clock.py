"""Ways timed against each other: shuffled rounds in one process, ratios within each round.

Whatever slows a machine slows the ways of one round alike, so that ratios hold where times do not.
The clock is the processor time of this process, which is the wall's on an idle machine; of work in
several processes it is the wall's.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

WARM_UP = 1  # rounds that are not counted
RESAMPLES = 2000  # of the bootstrap
MEBIBYTE = 2**20
Clock = Literal["CPU", "wall"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way or size of a thing, its inputs made: `run` is all that is timed."""

    name: str
    run: Callable[[], object]
    work: float  # units that a run does


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Ways; ratios are taken to the first."""

    label: str
    unit: str  # of work
    ways: tuple[Way, ...]
    clock: Clock = "CPU"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One way in one case, as measured; None where a bench does not measure it."""

    bench: str
    case: str
    way: str
    against: str  # the way that ratios are taken to
    clock: Clock
    rounds: int
    ms: float  # median over rounds
    ratio: float  # median over rounds of this way's time to that of `against`
    ratio_low: float  # 95 % bootstrap interval of that median
    ratio_high: float
    work: float  # units of a run
    unit: str
    per_second: float  # units, by the median time
    peak_mb: float | None = None  # held at once beyond what was there before; 2^20 bytes


def untold() -> None:
    """Tell nobody that something is done."""


def time_case(
    bench: str, case: Case, rounds: int, on_round: Callable[[], None] = untold
) -> list[Row]:
    """A row a way; `on_round` hears of each of the WARM_UP + rounds rounds that is done."""
    order = random.Random(0)
    seconds: list[list[float]] = [[] for _ in case.ways]
    peaks = [0.0] * len(case.ways)
    for round_ in range(-WARM_UP, rounds):
        for i in order.sample(range(len(case.ways)), len(case.ways)):
            took, peak = measured(case.ways[i], case.clock)
            if round_ >= 0:
                seconds[i].append(took)
                peaks[i] = max(peaks[i], peak)
        on_round()
    rows = []
    for way, spent, peak in zip(case.ways, seconds, peaks, strict=True):
        middle, low, high = paired_ratio(spent, seconds[0])
        typical = max(statistics.median(spent), 1e-9)
        rows.append(
            Row(
                bench=bench,
                case=case.label,
                way=way.name,
                against=case.ways[0].name,
                clock=case.clock,
                rounds=rounds,
                ms=1000 * typical,
                ratio=middle,
                ratio_low=low,
                ratio_high=high,
                work=way.work,
                unit=case.unit,
                per_second=way.work / typical,
                peak_mb=peak or None,
            )
        )
    return rows


def measured(way: Way, clock: Clock) -> tuple[float, float]:
    """Seconds of one run, and the most that it held."""
    before = _begin_peak()
    now = time.perf_counter if clock == "wall" else time.process_time
    began = now()
    way.run()
    took = now() - began
    return max(took, 1e-9), max(peak_mb() - before, 0.0)


def paired_ratio(seconds: Sequence[float], against: Sequence[float]) -> tuple[float, float, float]:
    """Median over rounds of a ratio within a round, with its 95 % percentile bootstrap interval."""
    ratios = np.array(seconds) / np.array(against)
    drawn = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def peak_mb() -> float:
    """MiB, the most that this process has held; 0 where the system does not say."""
    return _resident("VmHWM")


def _begin_peak() -> float:
    """Let the peak of this process begin anew, where the system can (Linux); MiB held now."""
    try:  # no file: a switch of the system's
        switch = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return float("inf")
    os.write(switch, b"5")
    os.close(switch)
    return _resident("VmRSS")


def _resident(name: str) -> float:
    """MiB by the system's account of this process; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 / MEBIBYTE if found else 0.0
