"""The last stretch of the bars, kept away from every backtest until it is opened on purpose.

A tenth of the panel's clock, at least 500 bars: below that no test sees anything. It moves with the
bars: whoever appends some gets a later vault, and what left the old one may be tested.
"""

from typing import Literal

import numpy as np

from forecaster.bars import Panel
from forecaster.errors import DataError, UsageError
from forecaster.folds import day_of

SHARE, FEWEST = 0.1, 500
FEWEST_BEFORE = 500  # bars that are left to learn from, at least
Vault = Literal["off", "locked", "open"]


def opening(panel: Panel) -> np.datetime64:
    """When the last bar before the vault closes. Raises DataError where there are too few bars."""
    clock = panel.clock
    size = max(FEWEST, int(SHARE * len(clock)))
    if len(clock) <= size + FEWEST_BEFORE:
        raise DataError(
            f"vault: {len(clock)} bars, needs more than {size + FEWEST_BEFORE} ({size} in the"
            f" vault, {FEWEST_BEFORE} before it); go without a vault or fetch more"
        )
    return clock[-size - 1]


def guarded(
    panel: Panel, vault: Vault, test_from: np.datetime64, test_until: str | None
) -> tuple[Panel, np.datetime64]:
    """(bars, start of the test) that a backtest may see: all before the vault, or the vault alone.

    Locked, the bars end before it. Open, the test begins with it, so that a verdict is of bars
    that no locked backtest has scored. Raises UsageError where nothing of the test is left.
    """
    if vault == "off":
        return panel, test_from
    edge = opening(panel)
    if vault == "locked":
        if test_from >= edge:
            raise UsageError(
                f"vault: it is locked and begins after {day_of(edge)}, the test is from"
                f" {day_of(test_from + 1)}: test from an earlier day, or --open-vault"
            )
        return panel.until(edge), test_from
    if test_until is not None and np.datetime64(test_until) < edge:
        raise UsageError(
            f"vault: it begins after {day_of(edge)}, the test ends on {test_until}: nothing of the"
            " vault is in it; let the test end later"
        )
    return panel, max(edge, test_from)
