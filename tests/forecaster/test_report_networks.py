"""What the page shows of networks: training curves, spread of seeds, ablation. Nothing else."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import garch_panel
from test_report import HOSTILE, SECTIONS, Page, ran, spoil

from forecaster import inference
from forecaster.baselines import BASELINES
from forecaster.baselines.naive import RandomWalk
from forecaster.config import LearnerConfig, RunConfig, resolve
from forecaster.errors import StorageError
from forecaster.learner import BackboneForecaster
from forecaster.pooled import PooledLearner
from forecaster.protocol import PRIOR, TOGETHER
from forecaster.report.ablation import ablation_chart, command_for_more, variants
from forecaster.report.drawing import Chart
from forecaster.report.material import Material, read_material
from forecaster.report.networks import SCORED, in_words, kept_of, spread_charts
from forecaster.report.page import page_of
from forecaster.report.training import training_charts
from forecaster.runs import RunFolder

TINY = LearnerConfig(
    context=32, d_model=16, n_heads=2, steps=7, seeds=3, batch=8, lr=0.02, head_lr=1.0
)
CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1"),
    horizons=(1, 5),
    test_from="2001-06-18",
    refit_every=200,
    learner=TINY,
)
PANEL = garch_panel(1100, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    learner = PooledLearner(BackboneForecaster("llama", TINY))
    models = (RandomWalk(), BASELINES["harx"], learner)
    return ran(tmp_path_factory.mktemp("networks") / "run", models, CONFIG)


@pytest.fixture(scope="module")
def found(run: RunFolder) -> Material:
    return read_material(run, PANEL)


@pytest.fixture(scope="module")
def page(found: Material) -> Page:
    return Page(page_of(found))


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))


def bars_of(chart: Chart) -> dict[str, tuple[float, float]]:
    (trace,) = chart.traces
    columns = trace["y"], trace["x"], trace["error_x"]["array"]
    return {name: (x, half) for name, x, half in zip(*columns, strict=True)}


def test_bars_are_the_gains_of_the_verdicts_code(found: Material):
    """harx is in the run and is the learner's prior: its comparison must say the same."""
    h = 1
    chart = ablation_chart(found, h)
    assert chart is not None
    pair = next(each for each in found.comparisons(h) if each["reference"] == "harx")
    name = "llama, all 3 networks"
    assert bars_of(chart)[name][0] == pytest.approx(pair["log_score_gain"], rel=1e-5)
    kept = kept_of(found, "llama", h)
    assert kept is not None
    told = next(each for each in variants(kept) if each.name == name)
    assert told.p == pytest.approx(pair["log_score_p"], rel=1e-6)
    assert told.dates == pair["n_dates"]
    for each in variants(kept):
        assert each.p is not None
        assert each.half is not None
        assert (each.p < inference.SIZE) == (abs(each.gain) > each.half)


def test_a_default_run_has_no_network_one_network_and_all(found: Material):
    one, later = ablation_chart(found, 1), ablation_chart(found, 5)
    assert one is not None
    assert later is not None
    assert list(bars_of(one))[::-1] == ["llama, one network of 3", "llama, all 3 networks"]
    assert list(bars_of(later)) == list(bars_of(one))  # of what a pool adds there is no bar
    assert later.numbers is not None
    assert [row[0] for row in later.numbers.rows] == ["no network", *list(bars_of(later))[::-1]]
    table = found.networks[found.networks["h"] == 1]
    means = table.groupby(["cutoff", "part"])["log_score"].mean().unstack()
    gains = (means[["0", "1", "2"]].mean(axis=1) - means[PRIOR]).mean()
    assert bars_of(one)["llama, one network of 3"][0] == pytest.approx(gains, rel=1e-5)


def test_dots_are_the_networks_of_each_fold(found: Material):
    (chart,) = spread_charts(found, 1)
    kept = kept_of(found, "llama", 1)
    assert kept is not None
    assert not kept.pooled
    assert kept.networks == ["0", "1", "2"]
    dots, together = chart.traces
    folds = found.summary["folds"]
    assert chart.y["categoryarray"] == [*(f"fold {i}" for i in reversed(range(folds))), "all folds"]
    rows = found.networks[(found.networks["h"] == 1) & (found.networks["fold"] == 1)]
    means = (
        rows.groupby("part")["log_score"].mean() - rows[rows["part"] == PRIOR]["log_score"].mean()
    )
    mine = [x for x, y in zip(dots["x"], dots["y"], strict=True) if y == "fold 1"]
    assert mine == pytest.approx(means[["0", "1", "2"]].tolist(), rel=1e-5)
    at = together["y"].index("fold 1")
    assert together["x"][at] == pytest.approx(means[TOGETHER], rel=1e-5)
    assert chart.numbers is not None
    worst, median, best = (float(str(x)) for x in chart.numbers.rows[2][2:5])
    assert (worst, median, best) == pytest.approx(sorted(mine), abs=6e-5)
    later = kept_of(found, "llama", 5)
    assert later is not None
    assert later.pooled
    assert later.scores[SCORED].mean() == pytest.approx(
        inference.mean_per_date(found.scored("llama", 5), "log_score", 5)["llama"].mean()
    )


def test_one_network_is_not_told_as_several(found: Material):
    kept = kept_of(found, "llama", 1)
    assert kept is not None
    alone = replace(kept, scores=kept.scores.drop(columns=["1", "2"]))
    assert "its one network gains" in in_words(alone)
    assert "average" not in in_words(alone)
    assert [each.name for each in variants(alone)] == ["llama, its one network"]


def test_curves_are_the_records(found: Material, run: RunFolder):
    ((top, *folds),) = training_charts(found)
    assert len(folds) == found.summary["folds"]
    record = run.read_json(f"folds/fold-{len(folds) - 1:03d}.llama.json")["training"]
    networks, mean, prior = top.traces[:3], top.traces[3], top.traces[4]
    assert [each["y"] for each in networks] == pytest.approx(
        [pytest.approx(row, rel=1e-5) for row in record["loss"]]
    )
    assert mean["y"] == pytest.approx(np.mean(record["loss"], axis=0).tolist(), rel=1e-5)
    assert prior["name"] == "the prior alone"
    assert prior["y"] == pytest.approx(np.mean(record["prior"], axis=0).tolist(), rel=1e-5)
    less = np.subtract(record["loss"], record["prior"])
    np.testing.assert_allclose([each["y"] for each in folds[-1].traces[:3]], less, atol=1e-6)
    assert f"{less[:, -1].min():+.4f} to {less[:, -1].max():+.4f} nats" in top.note


def test_the_page_has_them_and_says_how_to_get_more(page: Page, found: Material):
    ids = {each.get("id") for each in page.named("div")}
    assert {"training-0", "taught-0-0", "ablation-1", "spread-5-0"} <= ids
    text = page.text
    assert "none are shown" not in text
    command = command_for_more(found.config)
    assert shlex.quote('presets=["llama", "mlp", "llama-shuffled"]') in command
    words = shlex.split(command)
    again = resolve(None, tuple(words[3::2]), {}, quick=False)
    assert again == found.config.model_copy(update={"presets": ("llama", "mlp", "llama-shuffled")})
    assert json.loads(page.scripts["data"])["ablation-1"]["traces"]


def test_symbols_read_together_are_offered_no_control_that_cannot():
    config = RunConfig(learner=LearnerConfig(panel=2))
    assert "mlp" not in command_for_more(config)
    assert "diff_v1" in command_for_more(config)


def older(run: RunFolder) -> None:
    """As versions before kept a run."""
    for path in run.path.glob("folds/*.networks.parquet"):
        path.unlink()
    for path in run.path.glob("folds/*.json"):
        record: dict[str, Any] = json.loads(path.read_text())
        record.pop("training", None)
        record["sha256"].pop("networks", None)
        path.write_text(json.dumps(record))


def test_an_older_run_has_a_page_that_says_what_it_did_not_keep(copy: RunFolder):
    older(copy)
    page = Page(page_of(read_material(copy, PANEL)))
    assert [each.get("id") for each in page.named("section")] == SECTIONS
    assert "This run kept no scores of single networks." in page.text
    assert "This run kept no training curves." in page.text


def test_a_fold_without_them_is_not_passed_over(copy: RunFolder):
    """Means over some folds would be told as means over all."""
    (copy.path / "folds/fold-001.llama.networks.parquet").unlink()
    found = read_material(copy, PANEL)
    assert ablation_chart(found, 1) is None
    assert spread_charts(found, 1) == []


def test_a_damaged_file_of_networks_is_named(copy: RunFolder):
    (copy.path / "folds/fold-001.llama.networks.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StorageError, match=r"fold-001\.llama\.networks\.parquet: not a parquet"):
        read_material(copy, PANEL)


def test_a_hostile_learner_is_text(copy: RunFolder):
    spoil(copy, "llama", HOSTILE)
    page = Page(page_of(read_material(copy, PANEL)))
    assert HOSTILE not in page.text
    assert not page.named("img")
    data = json.loads(page.scripts["data"])
    assert all("<" not in name for name in data["ablation-1"]["traces"][0]["y"])
    assert any("&lt;img" in name for name in data["ablation-1"]["traces"][0]["y"])


def test_too_few_dates_have_no_interval(found: Material):
    few = sorted(set(found.networks["cutoff"]))[:20]
    scores = found.scores[found.scores["cutoff"].isin(few)]
    short = replace(
        found,
        networks=found.networks[found.networks["cutoff"].isin(few)],
        scores=scores,
        summary=found.summary | {"folds": 1},
    )
    chart = ablation_chart(short, 1)
    assert chart is not None
    assert chart.numbers is not None
    assert chart.numbers.rows[1][2:] == ("too few dates", "too few")
