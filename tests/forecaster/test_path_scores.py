"""Scores of sampled paths: fair, on bars after the training, and they tell laws apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import garch_panel
from scoringrules import crps_ensemble

from forecaster import path_scores
from forecaster.bars import Panel
from forecaster.cli import run as command
from forecaster.config import LearnerConfig, RunConfig
from forecaster.errors import DataError
from forecaster.learner import BackboneForecaster, Keep, fit_fields
from forecaster.path_scores import Stretch, compared, losses, score_paths
from forecaster.path_source import Walk, Walker
from forecaster.paths.memory import PathMemory
from forecaster.paths.shapes import fit_shapes
from forecaster.runs import RunFolder

DAY = np.timedelta64(1, "D")


def drawn(n: int, m: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log paths [n, m, 4] of a walk, and what came [n, 4] of a walk of deviation 1."""
    rng = np.random.default_rng(m)
    walks = rng.standard_normal((n, m + 1, 4)).cumsum(axis=2)
    return scale * walks[:, 1:], walks[:, 0]


def test_a_small_sample_is_scored_as_its_law():
    close, y = drawn(3000, 40)
    small, large = (losses(close[:, :m], y, (1, 4)) for m in (3, 40))
    assert small.crps.mean(axis=0) == pytest.approx(large.crps.mean(axis=0), rel=0.04)
    assert small.energy.mean() == pytest.approx(large.energy.mean(), rel=0.04)
    unfair = np.asarray(crps_ensemble(y[:, 0], close[:, :3, 0], backend="numpy"))
    assert unfair.mean() > 1.1 * large.crps[:, 0].mean()
    assert large.inside.mean() == pytest.approx(0.9, abs=0.02)


def test_paths_that_are_too_wide_are_caught():
    labels = np.repeat(np.datetime64("2000-01-01", "us") + np.arange(200) * DAY, 2)
    right, wide = (losses(*drawn(400, 30, scale), (1, 4)) for scale in (1.0, 1.6))
    for a, b in ((wide.crps[:, 1], right.crps[:, 1]), (wide.energy, right.energy)):
        found = compared(labels, a, b, 1)
        assert found["percent"] > 2
        assert found["p"] < 0.01
    assert compared(labels, right.energy, right.energy, 1)["percent"] == 0
    assert wide.inside.mean() > 0.97


def test_origins_come_after_the_training_with_bars_around_them():
    panel = garch_panel(600, 2)
    panel = Panel((panel.members[0], panel.members[1].select(slice(100, 500))))
    clock = panel.clock
    stretch = Stretch(clock[299], clock[579], 10)
    asked = stretch.origins(panel, 20, 64)
    closes = [panel.members[m].closed_at[t] for m, t in zip(asked.member, asked.bar, strict=True)]
    assert min(closes) == clock[300]
    assert max(closes) <= clock[579]
    assert len(np.unique(closes)) == 28
    for m, t in zip(asked.member, asked.bar, strict=True):
        assert 250 <= t < len(panel.members[m]) - 20
    with pytest.raises(DataError, match="bars that the training has not seen"):
        replace(stretch, since=clock[-1]).origins(panel, 20, 64)


@pytest.fixture(scope="module")
def walker() -> tuple[Walker, Panel]:
    panel = garch_panel(900, 2)
    config = LearnerConfig(
        context=16, d_model=16, n_layers=1, n_heads=2, steps=25, seeds=2, batch=4, skip=4
    )
    history = Panel(tuple(bars.head(600) for bars in panel))
    fitted = BackboneForecaster("llama", config).fit(history, (1, 3))
    heads = tuple(each.heads for each in fit_fields(fitted, history, 0, Keep()))
    return Walker("llama", fitted, heads, fit_shapes(history, fitted.tokenizer)), panel


def scored(walker: Walker, panel: Panel) -> dict[str, Any]:
    heard = []
    stretch = Stretch(panel.clock[599], panel.clock[-1], 6)
    said = score_paths(walker, panel, stretch, Walk(20, 3, 0), lambda n, of: heard.append(n / of))
    assert sum(heard) == pytest.approx(1)
    return said


def test_paths_are_near_their_density_and_bands_that_are_too_narrow_are_caught(
    walker: tuple[Walker, Panel], monkeypatch: pytest.MonkeyPatch
):
    said = scored(*walker)
    monkeypatch.setattr(path_scores, "CHUNK", 17)
    assert scored(*walker) == said  # chunks change nothing
    assert [row["h"] for row in said["crps"]] == [1, 3]
    for row in said["crps"]:
        assert abs(row["paths_over_density"]["percent"]) < 5
        assert all(0.8 < inside < 0.97 for inside in row["inside_90"].values())
    scale = PathMemory.next_scale.fget
    assert scale is not None
    monkeypatch.setattr(PathMemory, "next_scale", property(lambda self: 0.5 * scale(self)))
    narrow = scored(*walker)["crps"][1]
    assert narrow["paths_over_density"]["percent"] > 3
    assert max(narrow["inside_90"].values()) < 0.75


def test_a_run_on_all_bars_has_nothing_to_be_scored_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = RunFolder.create(tmp_path / "all", "train", RunConfig(presets=("llama",)))
    run.write_json("data.json", {"until": None})
    assert command(["paths", str(tmp_path / "all"), "-q"]) == 2
    assert "was trained on all bars" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_scores_paths_on_real_bars_of_the_selection_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    small = ["--symbols", "^GSPC,IBM,MSFT", "--set", "learner.seeds=2", "-q"]
    train = ["train", "--preset", "llama", "--until", "2005-12-31", "--out", "r", *small]
    assert command(train) == 0
    capsys.readouterr()
    score = ["paths", "r", "--until", "2009-12-31", "--paths", "40", "--every", "20", "-q"]
    assert command([*score, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["first"] >= "2006-01-01"
    assert said["last"] <= "2009-12-31"
    assert said["dates"] >= 45
    for row in said["crps"]:
        assert abs(row["paths_over_density"]["percent"]) < 6
        assert all(0.8 < inside < 0.97 for inside in row["inside_90"].values())
    assert abs(said["energy"]["percent"]) < 5
    assert command(score) == 0
    assert "energy score of 20 bars together: llama over harx" in capsys.readouterr().out


def test_origins_have_a_context_behind_them():
    """A learner of a longer context than the usual past once asked for bars before the first."""
    panel = garch_panel(600, 2)
    stretch = Stretch(panel.clock[260], panel.clock[-1], 1)
    assert stretch.origins(panel, 20, 300).bar.min() == 300
