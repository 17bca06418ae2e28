"""What a cell keeps of a learner's networks: their training, and what each scores by itself."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from panels import garch_panel

from forecaster import backtest, network_scores
from forecaster.backtest import Plan
from forecaster.bars import Panel
from forecaster.baselines import BASELINES
from forecaster.baselines.naive import RandomWalk
from forecaster.cells import Cell, kept, run_cell
from forecaster.config import LearnerConfig, RunConfig
from forecaster.engine import Local
from forecaster.errors import StorageError
from forecaster.learner import BackboneForecaster, FittedLearner, Keep, kept_losses
from forecaster.learner.company import training_windows
from forecaster.learner.curves import BLOCKS, Course, curves_of
from forecaster.learner.heads import build_head
from forecaster.learner.windows import skipped, tokenise
from forecaster.network_scores import NetworkScores
from forecaster.pooled import PooledLearner
from forecaster.protocol import PRIOR, TOGETHER, Networked, Origins
from forecaster.runs import RunFolder

HORIZONS = (1, 5)
TINY = LearnerConfig(
    context=32, d_model=16, n_heads=2, steps=7, seeds=3, batch=8, lr=0.02, head_lr=1.0
)
KINDS: list[dict[str, Any]] = [
    {},
    {"variance_tokens": False},
    {"head": "categorical"},
    {"head": "student_t", "variance_tokens": False},
    {"tokens": "levels", "variance_tokens": False},
    {"panel": 2},
]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return garch_panel(900, 2)


@pytest.fixture(scope="module")
def plan(panel: Panel) -> Plan:
    models = (RandomWalk(), BASELINES["harx"], PooledLearner(BackboneForecaster("llama", TINY)))
    config = RunConfig(
        symbols=("GARCH-0", "GARCH-1"),
        horizons=HORIZONS,
        test_from="2001-06-18",
        refit_every=200,
        learner=TINY,
    )
    return backtest.plan(config, panel, models, "0" * 64)


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder.create(tmp_path_factory.mktemp("networks") / "run", "backtest", plan.config)
    backtest.execute(plan, run, Local(1))
    return run


def learner_of(changed: dict[str, Any]) -> BackboneForecaster:
    config = LearnerConfig.model_validate(TINY.model_dump() | {"seeds": 2} | changed)
    return BackboneForecaster("llama", config, seed=1)


def asked() -> Origins:
    at = np.arange(700, 850)
    return Origins(np.repeat([0, 1], len(at)), np.tile(at, 2))


@pytest.mark.parametrize("changed", KINDS, ids=str)
def test_apart_is_the_forecast_and_a_network_alone_is_a_learner_of_one(
    panel: Panel, changed: dict[str, Any]
):
    fitted = learner_of(changed).fit(panel.until(panel.clock[690]), HORIZONS)
    assert isinstance(fitted, Networked)
    y = np.random.default_rng(0).normal(0, 0.02, (300, 2))
    apart = fitted.apart(panel, asked(), HORIZONS)
    parts = {name: density.logpdf(y) for name, density in apart.parts}
    whole = fitted.forecast(panel, asked(), HORIZONS).logpdf(y)
    np.testing.assert_array_equal(apart.whole.logpdf(y), whole)
    assert list(parts) == [PRIOR, TOGETHER, "0", "1"]
    np.testing.assert_array_equal(parts[TOGETHER], whole)
    for i, network in enumerate(fitted.networks):
        one = FittedLearner(
            fitted.config, fitted.tokenizer, (network,), symbols=fitted.symbols
        ).forecast(panel, asked(), HORIZONS)
        np.testing.assert_allclose(parts[str(i)], one.logpdf(y), atol=2e-5)
    assert np.abs(parts["0"] - parts["1"]).max() > 1e-4  # or nothing was told apart
    assert np.abs(parts["0"] - parts[PRIOR]).max() > 1e-4


@pytest.mark.parametrize("tokens", ["prior", "scaled"])
def test_the_prior_alone_is_the_row_of_that_name(panel: Panel, tokens: str):
    history = panel.until(panel.clock[690])
    fitted = learner_of({"tokens": tokens}).fit(history, HORIZONS)
    found = dict(fitted.apart(panel, asked(), HORIZONS).parts)[PRIOR]
    row = BASELINES["harx" if tokens == "prior" else "range_student_t"].fit(history, HORIZONS)
    known = row.forecast(panel, asked(), HORIZONS)
    y = np.full((300, 2), 0.01)
    np.testing.assert_allclose(found.logpdf(y), known.logpdf(y), atol=1e-9)
    np.testing.assert_allclose(found.cdf(y), known.cdf(y), atol=1e-9)


@pytest.mark.parametrize("changed", KINDS, ids=str)
def test_the_line_of_a_training_is_the_loss_of_a_network_that_says_nothing(
    panel: Panel, changed: dict[str, Any]
):
    c = learner_of(changed).config
    tokenizer = learner_of(changed).fit(panel, HORIZONS).tokenizer
    windows = training_windows(panel, tokenise(panel, tokenizer), c, 0, shuffle=False)
    head = build_head(1, tokenizer, c)
    for k in range(3):
        batch = windows.draw(k)
        said = head(torch.zeros(*batch.tokens.shape[:2], 1))
        wanted = head.loss(said, batch, skipped(batch, c)).item()
        assert head.untaught_loss(batch, skipped(batch, c)) == pytest.approx(wanted, abs=2e-6)


def test_curves_hold_every_step_and_the_prior_on_the_same_windows(panel: Panel, tmp_path: Path):
    model, heard = learner_of({}), []
    keep = Keep(tmp_path, on_step=lambda number, step: heard.append((number, step.step)))
    fitted = model.fit(panel, HORIZONS, keep)
    curves = fitted.curves
    assert curves is not None
    assert heard == [(number, step) for number in range(2) for step in range(1, 8)]
    assert curves.ends == tuple(range(1, 8))
    np.testing.assert_allclose(curves.loss, kept_losses(tmp_path, 2), atol=1e-6)
    assert curves.loss[0][0] == pytest.approx(curves.prior[0][0], abs=2e-6)  # untaught at first
    assert np.abs(np.subtract(curves.loss, curves.prior))[:, 2:].max() > 1e-3
    members, c = tokenise(panel, fitted.tokenizer), model.config
    for number in range(2):
        windows = training_windows(panel, members, c, 1000 + number, shuffle=False)
        head = fitted.networks[0].head
        told = [head.untaught_loss(windows.draw(k), c.skip) for k in range(7)]
        np.testing.assert_allclose(curves.prior[number], told, atol=1e-6)


def test_long_trainings_are_thinned_by_equal_blocks():
    loss = np.random.default_rng(0).normal(3, 0.1, 150).tolist()
    course = Course(loss=loss, prior=loss[::-1])
    curves = curves_of([course], 150)
    assert curves is not None
    assert len(curves.ends) == 50 <= BLOCKS
    assert curves.ends == tuple(range(3, 151, 3))
    assert np.mean(curves.loss[0]) == pytest.approx(np.mean(loss), abs=1e-5)
    assert curves.prior[0][-1] == pytest.approx(np.mean(loss[:3]), abs=1e-6)
    assert curves_of([Course(loss=loss[1:], prior=loss[1:])], 150) is None  # a resumed one
    uneven = curves_of([Course(loss=loss[:131], prior=loss[:131])], 131)
    assert uneven is not None
    assert uneven.ends[-2:] == (129, 131)
    assert uneven.loss[0][-1] == pytest.approx(np.mean(loss[129:131]), abs=1e-6)


def test_a_date_is_a_mean_over_the_symbols_known_there():
    days = np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[us]")
    found = NetworkScores(np.tile(days, 2), (1, 5))
    found.add("0", days, np.array([[1.0, 2.0], [3.0, np.nan]]))
    found.add("0", days, np.array([[2.0, 4.0], [np.nan, np.nan]]))
    rows = found.table().to_pylist()
    kept_rows = [(each["cutoff"].day, each["h"], each["n"], each["log_score"]) for each in rows]
    assert kept_rows == [(2, 1, 2, 1.5), (2, 5, 2, 3.0), (3, 1, 1, 3.0)]


def test_a_cell_keeps_means_a_date_that_are_those_of_the_scores(plan: Plan, run: RunFolder):
    for fold in range(len(plan.folds)):
        place = run.path / "folds"
        table = network_scores.read(place / f"fold-{fold:03d}.llama.networks.parquet").to_pandas()
        assert sorted(set(table["part"])) == sorted([PRIOR, TOGETHER, "0", "1", "2"])
        for part, row, horizons in ((TOGETHER, "llama", [1]), (PRIOR, "harx", HORIZONS)):
            scored = pq.read_table(place / f"fold-{fold:03d}.{row}.scores.parquet").to_pandas()
            wanted = scored.groupby(["cutoff", "h"])["log_score"].mean()
            own = table[table["part"] == part].set_index(["cutoff", "h"])["log_score"]
            for h in horizons:  # beyond the next bar the learner is in a pool
                a, b = (each.xs(h, level="h").sort_index() for each in (own, wanted))
                assert a.index.equals(b.index)
                np.testing.assert_allclose(a, b, atol=1e-9)


def test_baselines_keep_neither(run: RunFolder):
    assert not list(run.path.glob("folds/*harx.networks.parquet"))
    record = run.read_json("folds/fold-000.harx.json")
    assert "training" not in record
    assert set(record["sha256"]) == {"predictions", "scores"}


def test_a_file_of_networks_that_was_changed_is_not_taken_for_the_cells(plan: Plan, run: RunFolder):
    cell = next(each for each in plan.cells if each.forecaster.name == "llama")
    place = run.path / f"folds/{cell.name}.networks.parquet"
    assert run.read_json(f"folds/{cell.name}.json")["sha256"]["networks"] == (
        sha256(place.read_bytes()).hexdigest()
    )
    data = place.read_bytes()
    try:
        place.write_bytes(data[:-1])
        with pytest.raises(StorageError, match=r"llama\.networks\.parquet is not what was written"):
            kept(run, cell, plan.run_id)
        with pytest.raises(StorageError, match="not a parquet file"):
            network_scores.read(place)
    finally:
        place.write_bytes(data)
    assert kept(run, cell, plan.run_id)


def test_another_run_of_a_cell_keeps_the_same_bytes(plan: Plan, run: RunFolder):
    cell = Cell(plan.folds[0], plan.forecasters[-1])
    again = run_cell(plan.panel, plan.config.horizons, plan.run_id, cell)
    place = run.path / f"folds/{cell.name}.networks.parquet"
    assert again.more["networks"] == place.read_bytes()
    before = run.read_json(f"folds/{cell.name}.json")
    assert json.loads(json.dumps(again.record["training"])) == before["training"]
