"""Cells, resume, determinism: what a run keeps does not depend on how often it was interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from panels import garch_panel

from forecaster import backtest, frames, workflows
from forecaster.backtest import Cell, Plan, run_cell
from forecaster.bars import Panel
from forecaster.baselines import NAIVE_NAMES
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.baselines.volatility import GarchStudentT
from forecaster.config import LearnerConfig, RunConfig
from forecaster.engine import Local
from forecaster.errors import CheckpointError, DataError, GateError, StorageError
from forecaster.learner import BackboneForecaster
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder

TINY = LearnerConfig(context=32, d_model=16, n_layers=1, n_heads=2, steps=3, seeds=1, batch=4)
WIDE = LearnerConfig(context=400)
CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1"),
    horizons=(1, 5),
    test_from="2001-06-18",
    refit_every=100,
    learner=TINY,
)
RESULTS = ("predictions.parquet", "scores.parquet")


@dataclass(frozen=True)
class Interrupts(RandomWalk):
    """Ctrl-C while the model of that name runs in its second fold."""

    name: str = "interrupts"

    def fit(self, history: Panel, horizons: Sequence[int]):  # noqa: ARG002  the protocol's
        if len(history.members[0]) > 600:
            raise KeyboardInterrupt
        return self


def planned(*forecasters: Forecaster) -> Plan:
    panel = garch_panel(900, 2)
    return backtest.plan(CONFIG, panel, forecasters, "0" * 64)


def bytes_of(run: RunFolder) -> list[bytes]:
    return [(run.path / name).read_bytes() for name in RESULTS]


def quiet() -> workflows.Watch:
    return workflows.Watch(lambda _: None, lambda *_: None)


@pytest.fixture
def run(tmp_path: Path):
    return RunFolder.create(tmp_path / "run", "backtest", CONFIG)


def test_cells_of_any_process_and_order_give_the_same_bytes(run: RunFolder, tmp_path: Path):
    models = (RandomWalk(), GarchStudentT(), BackboneForecaster("llama", TINY))
    plan = planned(*models)
    backtest.execute(plan, run, Local(1))
    other = RunFolder.create(tmp_path / "other", "backtest", CONFIG)
    backtest.execute(plan, other, Local(2))
    assert bytes_of(run) == bytes_of(other)


def test_an_interrupted_run_goes_on_where_it_was(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = planned(RandomWalk(), WindowVolatility(20), Interrupts())
    said = []
    with pytest.raises(KeyboardInterrupt):
        workflows.run_backtest(plan, run, Local(1), workflows.Watch(said.append, lambda *_: None))
    assert run.read_json("status.json")["state"] == "interrupted"
    assert said == [
        f"interrupted: 3 of {len(plan.cells)} cells are kept;"
        f" go on with: forecaster backtest --resume {run.path}"
    ]
    monkeypatch.setattr(Interrupts, "fit", RandomWalk.fit)
    computed = []
    monkeypatch.setattr(
        backtest, "run_cell", lambda *a: computed.append(a[-1].name) or run_cell(*a)
    )
    backtest.execute(plan, run, Local(1))
    assert len(computed) == len(plan.cells) - 3
    whole = RunFolder.create(tmp_path / "whole", "backtest", CONFIG)
    backtest.execute(plan, whole, Local(1))
    assert bytes_of(run) == bytes_of(whole)


def test_no_verdict_can_be_read_before_the_ledger_has_it(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The planted mistake is a summary that was there first: a look that nobody counts."""
    plan = planned(RandomWalk(), WindowVolatility(20))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workflows, "enter_trial", stopped)
        with pytest.raises(KeyboardInterrupt):
            workflows.run_backtest(plan, run, Local(1), quiet(), (tmp_path, "0" * 64))
    assert run.read_json("status.json")["state"] == "interrupted"
    assert not (run.path / "summary.json").exists()
    record = workflows.run_backtest(plan, run, Local(1), quiet(), (tmp_path, "0" * 64))
    assert record["ledger"]["configurations"] == 1
    assert run.read_json("summary.json")["ledger"] == record["ledger"]


def test_a_damaged_cell_is_named(run: RunFolder):
    plan = planned(RandomWalk())
    backtest.execute(plan, run, Local(1))
    path = run.path / "folds" / "fold-000.random_walk.scores.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        StorageError, match=r"fold-000\.random_walk\.scores\.parquet is not what was"
    ):
        backtest.execute(plan, run, Local(1))


def test_bars_after_the_end_of_the_test_are_not_looked_at():
    panel = garch_panel(900, 2)
    cut = CONFIG.model_copy(update={"test_until": "2002-01-31"})
    short = backtest.plan(cut, panel, (RandomWalk(),), "0" * 64)
    assert short.panel.clock[-1] == np.datetime64("2002-02-01")
    assert short.folds[-1].test_until == np.datetime64("2002-02-01")
    whole = backtest.plan(CONFIG, panel, (RandomWalk(),), "0" * 64)
    assert whole.panel.clock[-1] > short.panel.clock[-1]


def test_the_truth_of_a_cell_is_the_panels():
    plan = planned(RandomWalk())
    result = run_cell(plan.panel, (1, 5), "x", Cell(plan.folds[0], RandomWalk()))
    row = result.predictions.slice(7, 1).to_pylist()[0]
    bars = next(b for b in plan.panel if b.symbol == row["unique_id"])
    t = int(np.flatnonzero(bars.opened_at == np.datetime64(row["cutoff"]))[0])
    assert row["y"] == pytest.approx(np.log(bars.close[t + row["h"]] / bars.close[t]))
    assert np.datetime64(row["ds"]) == bars.opened_at[t + row["h"]]


def test_forecasts_without_an_outcome_are_kept_and_not_scored(run: RunFolder):
    plan = planned(RandomWalk())
    backtest.execute(plan, run, Local(1))
    predictions = frames.read(run.path / RESULTS[0])
    scores = frames.read(run.path / RESULTS[1], frames.SCORES)
    assert predictions["y"].null_count == 2 * (1 + 5)
    assert len(scores) == len(predictions) - 2 * (1 + 5)


def test_every_model_answers_the_same_rows(run: RunFolder):
    models = (RandomWalk(), WindowVolatility(20), BackboneForecaster("llama", TINY))
    backtest.execute(planned(*models), run, Local(1))
    frame = pq.read_table(run.path / RESULTS[0]).to_pandas()
    keys = frame.groupby("model")[["unique_id", "cutoff", "h"]].apply(
        lambda g: tuple(map(tuple, g.to_numpy()))
    )
    assert keys.nunique() == 1


def test_a_summary_has_a_row_a_model_and_horizon_and_a_verdict(run: RunFolder):
    models = (
        RandomWalk(),
        WindowVolatility(20),
        GarchStudentT(),
        BackboneForecaster("llama", TINY),
    )
    record = workflows.run_backtest(planned(*models), run, Local(1), quiet())
    assert len(record["rows"]) == len(models) * 2
    best = {h: record["best_naive"][str(h)] for h in (1, 5)}
    naive = {
        r["model"]: r["crps"] for r in record["rows"] if r["h"] == 1 and r["model"] in NAIVE_NAMES
    }
    assert best[1] == min(naive, key=naive.__getitem__) != "random_walk"
    own = [r for r in record["rows"] if r["model"] == best[r["h"]]]
    assert [(r["skill"], r["p"]) for r in own] == [(0.0, 1.0)] * 2
    assert len(record["verdicts"]) == 4  # two rivals at each horizon
    assert all("llama" in verdict for verdict in record["verdicts"])
    assert record == run.read_json("summary.json")
    assert run.read_json("status.json")["state"] == "done"


def test_a_gate_names_skill_rival_and_bar(run: RunFolder):
    models = (RandomWalk(), BackboneForecaster("llama", TINY))
    record = workflows.run_backtest(planned(*models), run, Local(1), quiet())
    workflows.gate(record, ("llama",), -100.0)
    with pytest.raises(GateError, match=r"llama: skill .* % over random_walk at h = 1, .* 99 %"):
        workflows.gate(record, ("llama",), 99.0)


def test_other_bars_and_other_configs_are_not_resumed(run: RunFolder):
    plan = planned(RandomWalk())
    run.write_json("data.json", {"digest": "a" * 64, "run_id": plan.run_id})
    with pytest.raises(CheckpointError, match="made from bars aaaaaaaaaaaa, the store now holds"):
        workflows.resumed_run(run.path, plan, "b" * 64)
    other = backtest.plan(
        CONFIG.model_copy(update={"seed": 9}), plan.panel, plan.forecasters, "0" * 64
    )
    with pytest.raises(CheckpointError, match=f"began as {plan.run_id}, its config now says"):
        workflows.resumed_run(run.path, other, "a" * 64)
    backtest.execute(plan, run, Local(1))
    with pytest.raises(CheckpointError, match=r"fold-000\.random_walk is of run .*, not of"):
        backtest.execute(other, run, Local(1))


def test_a_run_of_another_kind_is_not_resumed(run: RunFolder):
    with pytest.raises(CheckpointError, match="is a backtest, not a train; make one with"):
        RunFolder.open(run.path, "train")


def test_a_horizon_that_nothing_can_be_scored_at_is_refused_before_anything_runs():
    config = CONFIG.model_copy(update={"horizons": (1, 230), "test_from": "2001-12-01"})
    with pytest.raises(DataError, match="horizon 230: at most 201 bars follow the first origin"):
        backtest.plan(config, garch_panel(900, 2), (RandomWalk(),), "0" * 64)


def test_an_origin_has_a_context_and_ended_returns_behind_it():
    for changes, past in (({"horizons": (1, 300)}, 320), ({"learner": WIDE}, 400), ({}, 250)):
        plan = backtest.plan(
            CONFIG.model_copy(update=changes), garch_panel(1200, 1), (RandomWalk(),), "0" * 64
        )
        assert plan.folds[0].fewest_past == past
