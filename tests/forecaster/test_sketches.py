"""Candle paths that a backtest draws: from a rule's origins, beside its numbers and not in them."""

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from panels import garch_panel, rewritten_after
from test_report import Page, ran

from forecaster import backtest
from forecaster.bars import Panel
from forecaster.baselines.naive import RandomWalk
from forecaster.cells import Cell, kept, run_cell
from forecaster.config import LearnerConfig, RunConfig
from forecaster.engine import Local
from forecaster.errors import StorageError
from forecaster.learner import BackboneForecaster, FittedLearner, Keep, fit_fields
from forecaster.path_source import PathSource, Walk, Walker
from forecaster.paths.shapes import fit_shapes
from forecaster.paths.table import SAMPLES
from forecaster.pooled import PooledLearner
from forecaster.report.material import read_material
from forecaster.report.page import page_of
from forecaster.report.sketched import path_charts, without_paths
from forecaster.runs import RunFolder
from forecaster.sketches import NETWORKS, PATHS, known, starts

TINY = LearnerConfig(
    context=32, d_model=16, n_heads=2, steps=5, seeds=5, batch=8, lr=0.02, head_lr=1.0
)
CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1"),
    horizons=(1, 5),
    test_from="2001-06-18",
    refit_every=200,
    learner=TINY,
    seed=3,
)
PANEL = garch_panel(900, 2)


def planned(changed: Mapping[str, Any] | None = None, name: str = "llama") -> backtest.Plan:
    """A backtest of one learner."""
    learner = LearnerConfig.model_validate(TINY.model_dump() | dict(changed or {}))
    config = CONFIG.model_copy(update={"learner": learner})
    made = BackboneForecaster(name, learner, config.seed)
    return backtest.plan(config, PANEL, (RandomWalk(), PooledLearner(made)), "0" * 64)


def last_cell(plan: backtest.Plan) -> Cell:
    return next(c for c in plan.cells if c.seed is not None and c.forecaster.name != "random_walk")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    models = planned().forecasters
    place = tmp_path_factory.mktemp("sketches") / "run"
    plan = backtest.plan(CONFIG, PANEL, models, "0" * 64)
    run = RunFolder.create(place, "backtest", CONFIG)
    backtest.execute(plan, run, Local(1))
    return run


def table_of(run: RunFolder) -> pd.DataFrame:
    (path,) = run.path.glob("folds/*.paths.parquet")
    return pq.read_table(path).to_pandas()


def test_only_the_last_fold_draws_and_from_the_first_origin_of_each_symbol(run: RunFolder):
    plan, table = planned(), table_of(run)
    assert len(plan.folds) > 1
    last = plan.folds[-1]
    assert [p.name for p in run.path.glob("folds/*.paths.parquet")] == [
        f"fold-{last.index:03d}.llama.paths.parquet"
    ]
    origins = last.origins(PANEL)
    for m, bars in enumerate(PANEL):
        first = bars.opened_at[origins.bar[origins.member == m].min()]
        own = table[table["unique_id"] == str(bars.symbol)]
        assert (own["cutoff"].to_numpy() == first).all()
        assert own.groupby("path").size().tolist() == [5] * PATHS
    assert table["path"].max() == PATHS - 1


def test_they_are_what_predict_would_draw(run: RunFolder):
    """The same code by hand: heads of the first networks on the same history, the same seed."""
    plan = planned()
    fold, learner = plan.folds[-1], BackboneForecaster("llama", TINY, CONFIG.seed)
    history = fold.history(PANEL)
    fitted = learner.fit(history, CONFIG.horizons)
    few = FittedLearner(TINY, fitted.tokenizer, fitted.networks[:NETWORKS])
    heads = tuple(each.heads for each in fit_fields(few, history, CONFIG.seed, Keep()))
    assert len(heads) == NETWORKS < TINY.seeds
    walker = Walker("llama", fitted, heads, fit_shapes(history, fitted.tokenizer))
    # Here the whole past may be seen: paths do not look at it.
    source = PathSource(walker, PANEL, starts(PANEL, fold.origins(PANEL)))
    (block,) = source.from_learner(Walk(PATHS, 5, CONFIG.seed))
    table = table_of(run).sort_values(["unique_id", "path", "h"])
    drawn = table[["open", "high", "low", "close", "volume"]].to_numpy()
    np.testing.assert_allclose(block.candles.reshape(-1, 5), drawn, rtol=1e-6)
    other = next(iter(source.from_learner(Walk(PATHS, 5, CONFIG.seed + 1))))
    assert np.abs(other.candles[..., 3] / block.candles[..., 3] - 1).max() > 1e-3


def test_what_comes_later_changes_no_path(run: RunFolder):
    plan = planned()
    origins = starts(PANEL, plan.folds[-1].origins(PANEL))
    at = int(origins.bar[0])
    cell = last_cell(plan)
    other = rewritten_after(PANEL, PANEL.members[0].closed_at[at])
    again = run_cell(other, CONFIG.horizons, plan.run_id, cell)
    columns = ["unique_id", "path", "h", "close", "high"]
    one, two = table_of(run)[columns], pq.read_table(io.BytesIO(again.more["paths"])).to_pandas()
    pd.testing.assert_frame_equal(one, two[columns])
    assert [len(bars) for bars in known(PANEL, origins)] == (origins.bar + 1).tolist()


def test_nothing_else_of_a_cell_moves_by_them(run: RunFolder):
    plan = planned()
    cell = last_cell(plan)
    without = Cell(cell.fold, cell.forecaster)
    a, b = (run_cell(PANEL, CONFIG.horizons, plan.run_id, each) for each in (cell, without))
    assert a.predictions.equals(b.predictions)
    assert a.scores.equals(b.scores)
    assert a.more["networks"] == b.more["networks"]
    assert set(a.more) - set(b.more) == {"paths"}
    assert "without_paths" not in b.record
    place = run.path / f"folds/{cell.name}.paths.parquet"
    assert a.more["paths"] == place.read_bytes()


def test_torchs_generator_is_left_as_it_was():
    plan = planned()
    states = []
    for cell in (last_cell(plan), Cell(plan.folds[-1], plan.forecasters[-1])):
        run_cell(PANEL, CONFIG.horizons, plan.run_id, cell)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("changed", "name", "why"),
    [
        ({"panel": 2}, "llama", "panel=2"),
        ({"head": "student_t", "variance_tokens": False}, "llama", "head=student_t has no bins"),
        ({"tokens": "levels", "variance_tokens": False}, "llama", "tokens levels"),
        ({}, "mlp", "a control without memory of order draws no paths"),
    ],
)
def test_who_can_draw_none_keeps_the_reason(changed: dict[str, Any], name: str, why: str):
    plan = planned(changed | {"seeds": 1}, name)
    result = run_cell(PANEL, CONFIG.horizons, plan.run_id, last_cell(plan))
    assert why in result.record["without_paths"]
    assert set(result.more) == {"networks"}


def test_a_drawing_that_fails_costs_the_drawing_alone(monkeypatch: pytest.MonkeyPatch):
    plan = planned({"seeds": 1})

    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("forecaster.sketches.fit_shapes", broken)
    result = run_cell(PANEL, CONFIG.horizons, plan.run_id, last_cell(plan))
    assert result.record["without_paths"] == "ZeroDivisionError: planted"
    assert set(result.more) == {"networks"}
    assert len(result.scores)


def test_a_symbol_that_begins_later_is_no_hindrance():
    late = PANEL.members[1]
    panel = Panel((PANEL.members[0], late.select(slice(840, 900))))
    plan = planned({"seeds": 1})
    result = run_cell(panel, CONFIG.horizons, plan.run_id, last_cell(plan))
    assert result.record["without_paths"] is None
    drawn = pq.read_table(io.BytesIO(result.more["paths"]))
    assert set(drawn["unique_id"].to_pylist()) == {"GARCH-0"}


def test_a_changed_file_of_paths_is_refused_by_a_resume(run: RunFolder, tmp_path: Path):
    copy, plan = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy"))), planned()
    cell = last_cell(plan)
    assert kept(copy, cell, plan.run_id)
    place = copy.path / f"folds/{cell.name}.paths.parquet"
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"paths\.parquet is not what was written"):
        kept(copy, cell, plan.run_id)
    place.unlink()
    with pytest.raises(StorageError, match=r"paths\.parquet is not what was written"):
        kept(copy, cell, plan.run_id)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run on more bars than the fans need, with its page's material."""
    small = CONFIG.model_copy(update={"learner": TINY.model_copy(update={"seeds": 1})})
    learner = PooledLearner(BackboneForecaster("llama", small.learner))
    return ran(tmp_path_factory.mktemp("drawn") / "run", (RandomWalk(), learner), small)


def test_the_page_draws_them_over_what_came(done: RunFolder):
    found = read_material(done, garch_panel(1100, 2))
    charts = path_charts(found)
    names = [chart.name for chart in charts]
    assert names == ["paths-0-0", "candles-0-0", "paths-0-1", "candles-0-1"]
    rows = found.paths[found.paths["unique_id"] == "GARCH-0"]
    lines = [t for t in charts[0].traces if t.get("legendgroup") == "paths"]
    assert len(lines) == PATHS
    assert found.panel is not None
    bars = found.panel.members[0]
    at = int(np.flatnonzero(bars.opened_at == rows["cutoff"].iloc[0].to_datetime64())[0])
    for path, drawn in enumerate(lines):
        wanted = [bars.close[at], *rows[rows["path"] == path].sort_values("h")["close"]]
        assert drawn["y"] == pytest.approx(wanted, rel=1e-5)
        assert drawn["x"][0] == charts[0].marks[0]["x0"] == bars.label(at)
    came = [t for t in charts[0].traces if t["type"] == "candlestick"]
    assert [len(t["x"]) for t in came] == [41, 5]
    assert came[1]["close"] == pytest.approx(bars.close[at + 1 : at + 6].tolist(), rel=1e-5)
    whole = charts[1].traces[-1]
    first = rows[rows["path"] == 0].sort_values("h")
    assert whole["high"] == pytest.approx(first["high"].tolist(), rel=1e-5)
    assert len(charts[1].traces) == 2  # nothing of what came
    assert charts[0].numbers is not None
    assert charts[0].numbers.rows[-1][0] == "what came"
    assert without_paths(found) == []


def test_a_page_says_why_it_has_none(done: RunFolder, tmp_path: Path):
    copy = RunFolder(Path(shutil.copytree(done.path, tmp_path / "copy")))
    (paths,) = copy.path.glob("folds/*.paths.parquet")
    paths.unlink()
    record = paths.with_name(paths.name.replace(".paths.parquet", ".json"))
    about = json.loads(record.read_text())
    record.write_text(json.dumps(about | {"without_paths": "head=student_t has no bins"}))
    text = page_of(read_material(copy, garch_panel(1100, 2)))
    assert "No paths of llama: head=student_t has no bins." in text
    about.pop("without_paths")
    record.write_text(json.dumps(about))
    text = page_of(read_material(copy, garch_panel(1100, 2)))
    assert "No paths of llama: this run kept none." in text
    assert Page(text).unclosed == []
    paths.write_bytes(b"PAR1 no")
    with pytest.raises(StorageError, match=r"paths\.parquet: not a parquet file"):
        read_material(copy, copy.path)


def test_the_file_is_that_of_sampled_paths(done: RunFolder):
    (path,) = done.path.glob("folds/*.paths.parquet")
    assert pq.read_schema(path).equals(SAMPLES)
