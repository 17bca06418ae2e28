"""The vault is out of sight until it is opened, and nonsense is refused with the numbers."""

import numpy as np
import pytest
from panels import garch_panel

from forecaster import backtest
from forecaster.backtest import Plan
from forecaster.baselines.naive import RandomWalk
from forecaster.config import RunConfig
from forecaster.errors import DataError, UsageError
from forecaster.vault import opening

N = 1800
PANEL = garch_panel(N, 1)


def planned(vault: str, n: int = N, **more: str) -> Plan:
    settings = {"test_from": "2002-06-01", "vault": vault} | more
    config = RunConfig(symbols=("GARCH-0",), horizons=(1, 5), **settings)  # type: ignore[arg-type]
    panel = PANEL if n == N else garch_panel(n, 1)
    return backtest.plan(config, panel, (RandomWalk(),), "0" * 64)


def test_locked_and_open_share_no_bar_and_miss_none() -> None:
    locked, opened, off = (planned(vault) for vault in ("locked", "open", "off"))
    edge = PANEL.clock[N - 500 - 1]
    assert locked.panel.clock[-1] == locked.folds[-1].test_until == edge
    assert opened.folds[0].test_from == PANEL.clock[N - 500]
    assert opened.folds[0].train_until == edge
    assert off.folds[-1].test_until == opened.folds[-1].test_until == PANEL.clock[-1]
    assert len({plan.run_id for plan in (locked, opened, off)}) == 3


def test_no_outcome_in_the_vault_is_scored() -> None:
    """Planted: without the vault the last origins have outcomes after its edge."""
    edge = PANEL.clock[N - 500 - 1]
    for vault, inside in (("locked", False), ("off", True)):
        plan = planned(vault)
        cells = [backtest.run_cell(plan.panel, (1, 5), "x", cell) for cell in plan.cells]
        ds = np.concatenate([cell.scores["ds"].to_numpy() for cell in cells])
        assert (ds.max() >= edge) == inside


def test_a_tenth_where_that_is_more_than_500() -> None:
    panel = garch_panel(6000, 1)
    assert opening(panel) == panel.clock[6000 - 600 - 1]


@pytest.mark.parametrize("vault", ["locked", "open"])
def test_too_few_bars(vault: str) -> None:
    with pytest.raises(DataError, match=r"vault: 900 bars, needs more than 1000 \(500 in the"):
        planned(vault, n=900)


def test_a_test_inside_a_locked_vault() -> None:
    with pytest.raises(UsageError, match=r"begins after 2003-07-25, the test is from 2004-01-01"):
        planned("locked", test_from="2004-01-01")
    assert planned("open", test_from="2004-01-01").folds[0].test_from > np.datetime64("2004-01-01")


def test_an_open_vault_that_nothing_is_asked_of() -> None:
    with pytest.raises(UsageError, match="begins after 2003-07-25, the test ends on 2003-01-01"):
        planned("open", test_until="2003-01-01")
