"""A whole small backtest on any panel, and what must hold of its scores whatever the bars are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forecaster import backtest, frames, workflows
from forecaster.backtest import Plan
from forecaster.bars import Bars, Panel, duration
from forecaster.config import LearnerConfig, RunConfig
from forecaster.engine import Local
from forecaster.runs import RunFolder
from forecaster.symbols import Symbol

LEARNER = LearnerConfig(d_model=16, n_heads=2, seeds=1, batch=8, steps=3)


def backtested(
    panel: Panel,
    out: Path,
    *,
    first: int = 500,
    horizons: Sequence[int] = (1, 5),
    baselines: Sequence[str] = ("naive",),
    learner: LearnerConfig = LEARNER,
) -> tuple[dict[str, Any], Any]:
    """Summary and scores of a backtest whose origins start at bar `first` of the panel's clock."""
    config = RunConfig(
        symbols=tuple(str(s) for s in panel.symbols),
        interval=panel.interval,
        horizons=tuple(horizons),
        test_from=str(panel.clock[first].astype("datetime64[D]")),
        refit_every=10_000,
        baselines=tuple(baselines),
        learner=learner,
    )
    plan: Plan = backtest.plan(config, panel, workflows.forecasters(config), "0" * 64)
    run = RunFolder.create(out, "backtest", config)
    record = workflows.run_backtest(plan, run, Local(1), workflows.Watch(print, lambda *_: None))
    return record, frames.read(run.path / "scores.parquet", frames.SCORES)


def assert_legal(table: Any) -> None:
    """Every model has the same rows, and wherever truth is known its scores are numbers."""
    models = table["model"].to_numpy()
    counts = {name: int((models == name).sum()) for name in np.unique(models)}
    assert len(set(counts.values())) == 1, counts
    known = np.isfinite(table["y"].to_numpy())
    assert known.any()
    for name in ("log_score", "crps", "pit"):
        values = table[name].to_numpy()[known]
        bad = ~np.isfinite(values)
        assert not bad.any(), (name, np.unique(models[known][bad]))
    assert (table["crps"].to_numpy()[known] >= 0).all()
    assert (np.abs(table["pit"].to_numpy()[known] - 0.5) <= 0.5).all()


def relabelled(bars: Bars, symbol: str, interval: str, opened_at: Any = None) -> Bars:
    """The same prices under another name, at another interval."""
    labels = bars.opened_at[0] + np.arange(len(bars)) * duration(interval)
    return replace(
        bars,
        symbol=Symbol(symbol),
        interval=interval,
        opened_at=labels if opened_at is None else opened_at,
    )
