"""A summary holds every score of every model, picks nothing, and says what was not tested."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import garch_panel

from forecaster import backtest, frames, inference, workflows
from forecaster.bars import Panel
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.baselines.volatility import EwmaStudentT
from forecaster.config import RunConfig
from forecaster.engine import Local
from forecaster.features import range_variance
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder
from forecaster.scores import realised_variance
from forecaster.summary import enter_trial, tried

CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1"), horizons=(1, 5), test_from="2001-06-18", refit_every=400
)
SCORES = {
    *("log_score", "crps", "brier", "hit", "up", "qlike", "rank_ic"),
    *(f"pinball_{a}" for a in (0.01, 0.05, 0.95, 0.99)),
    *("fz0_0.01", "fz0_0.05"),
    *(f"coverage_{c}" for c in (50, 80, 90, 95, 99)),
}


@dataclass(frozen=True)
class Learnt:
    """A baseline under a name that no baseline has: what a summary takes for a learner."""

    inner: Forecaster
    name: str

    def fit(self, history: Panel, horizons: Sequence[int]):
        return self.inner.fit(history, horizons)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """(plan, run, record) of a small backtest: two naive models, one econometric, two learners."""
    models = (
        RandomWalk(),
        WindowVolatility(20),
        EwmaStudentT(),
        Learnt(EwmaStudentT(), "copycat"),
        Learnt(RandomWalk(), "worse"),
    )
    plan = backtest.plan(CONFIG, garch_panel(1100, 2), models, "0" * 64)
    run = RunFolder.create(tmp_path_factory.mktemp("s") / "run", "backtest", CONFIG)
    watch = workflows.Watch(lambda _: None, lambda *_: None)
    return plan, run, workflows.run_backtest(plan, run, Local(1), watch)


def test_every_model_has_every_score(done: tuple[Any, RunFolder, dict[str, Any]]) -> None:
    record = done[2]
    assert record == json.loads((done[1].path / "summary.json").read_text())
    assert len(record["rows"]) == len(record["calibration"]) == 5 * 2
    for row in record["rows"]:
        assert set(row) >= SCORES
        assert row["brier"] == pytest.approx(0.25, abs=0.02)
        assert 0.4 < row["hit"] < 0.6
    up = {row["up"] for row in record["rows"] if row["h"] == 1}
    assert len(up) == 1  # the base rate is the outcomes', not a model's


def test_comparisons_agree_with_the_functions_behind_them(
    done: tuple[Any, RunFolder, dict[str, Any]],
) -> None:
    table = frames.read(done[1].path / "scores.parquet", frames.SCORES)
    record = done[2]
    assert len(record["verdicts"]) == sum(c["printed"] for c in record["comparisons"]) == 8
    for each in record["comparisons"]:
        skill = inference.skill(table, each["model"], each["reference"], each["h"])
        assert each["log_score_gain"] == skill.log_score_gain
        assert each["p"] == skill.p
        assert each["detectable_gain"] == skill.detectable_gain
        assert {part["by"] for part in each["parts"]} == {"year", "volatility", "unique_id"}
        assert (each["without_overlap"] is None) == (each["h"] == 1)
        by_symbol = [p["log_score_gain"] for p in each["parts"] if p["by"] == "unique_id"]
        assert np.mean(by_symbol) == pytest.approx(skill.log_score_gain)
    raw = [c["p"] for c in record["comparisons"] if c["printed"]]
    assert [c["holm_p"] for c in record["comparisons"] if c["printed"]] == inference.holm(raw)


def test_a_copy_has_no_edge_and_shares_the_set(
    done: tuple[Any, RunFolder, dict[str, Any]],
) -> None:
    record = done[2]
    copy = [v for v in record["verdicts"] if "copycat over ewma_student_t" in v]
    assert len(copy) == 2
    assert all(v.startswith("no edge shown") for v in copy)
    assert "ahead by log score in 0 of 3 years" in copy[0]
    for each in record["sets"]:
        kept = each["log_score"]["confidence_set"]
        assert ("copycat" in kept["kept"]) == ("ewma_student_t" in kept["kept"])
        assert kept["p"]["copycat"] == kept["p"]["ewma_student_t"]
        assert set(each["crps"]["spa"]) == {"ewma_student_t", "copycat", "worse"}
    assert record["sets"][0]["log_score"]["spa"]["worse"] < 0.05


def test_realised_variance_is_of_the_bars_after_the_cutoff(
    done: tuple[Any, RunFolder, dict[str, Any]],
) -> None:
    """Planted: one bar early, which a forecast could know."""
    plan, run, _ = done
    table = frames.read(run.path / "scores.parquet", frames.SCORES)
    found = realised_variance(table, plan.panel)
    row = next(i for i, h in enumerate(table["h"].to_pylist()) if h == 5)
    bars = next(b for b in plan.panel if b.symbol == table["unique_id"][row].as_py())
    at = int(np.flatnonzero(bars.opened_at == np.datetime64(table["cutoff"][row].as_py()))[0])
    variance = range_variance(bars)
    assert found[row] == pytest.approx(variance[at + 1 : at + 6].sum())
    assert found[row] != pytest.approx(variance[at : at + 5].sum())


def test_the_ledger_deflates_what_was_won(
    done: tuple[Any, RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    plan, _, record = done
    found = enter_trial(plan, record, tmp_path, "d" * 64)
    assert found["configurations"] == 1
    assert enter_trial(plan, record, tmp_path, "d" * 64)["configurations"] == 1
    won = {"printed": True, "crps_skill": 0.01, "p": 0.01, "holm_p": 0.02}
    lost = won | {"crps_skill": -0.01}
    counts = tried.standing([won, lost, won | {"printed": False}], 3)
    assert counts == {"wins": 1, "wins_after_holm": 1, "wins_after_trials": 0}


def test_a_ledger_that_cannot_be_written_stops_no_run(
    done: tuple[Any, RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    found = enter_trial(done[0], done[2], tmp_path / "file", "d" * 64)
    assert found["note"].startswith("not in the ledger: cannot write")
