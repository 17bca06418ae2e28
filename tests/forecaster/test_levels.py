"""The documented bad example: levels in units of their window learn a false reversal."""

import numpy as np
import pytest
from panels import walk_panel

from forecaster.config import LearnerConfig, resolve
from forecaster.errors import UsageError
from forecaster.learner import BackboneForecaster
from forecaster.learner.levels import LevelBars
from forecaster.protocol import Origins
from forecaster.tokens import Kind, fit_tokenizer

SMALL = LearnerConfig(
    tokens="levels",
    variance_tokens=False,
    context=32,
    d_model=16,
    n_heads=2,
    steps=60,
    seeds=1,
    lr=2e-3,
    return_bins=20,
    shrink=1.0,
)


def reversal(kind: Kind, seed: int) -> tuple[float, float]:
    """Mean and t of the forecast mean against the side of the last close in its window.

    In deviations of a day, on days 800 to 1600 of walks; 0 where nothing can be forecast.
    """
    panel = walk_panel(1600, 3, seed=seed)
    config = SMALL.model_copy(update={"tokens": kind})
    fitted = BackboneForecaster("llama", config).fit(panel.until(panel.clock[800]), (1,))
    bars = np.arange(800, 1600, 8)  # a quarter of a window apart
    asked = Origins(np.repeat(np.arange(3), len(bars)), np.tile(bars, 3))
    mean = fitted.forecast(panel, asked, (1,)).mean()[:, 0] / 0.01
    where = zip(asked.member, asked.bar, strict=True)
    closes = [np.log(panel.members[m].close[t - 31 : t + 1]) for m, t in where]
    side = np.array([np.sign(each[-1] - each.mean()) for each in closes])
    against = mean * side
    return float(against.mean()), float(against.mean() / against.std() * np.sqrt(len(against)))


def test_levels_forecast_a_reversal_on_walks_and_scaled_returns_do_not():
    for seed in (1, 2):
        size, t = reversal("levels", seed)
        assert size < -0.1
        assert t < -10
        size, t = reversal("scaled", seed)
        assert abs(size) < 0.05


def test_inside_a_training_window_the_walk_seems_to_turn():
    """Bar 30 of 90 against the ten bars after it: the deviation of the window knows them."""
    panel = walk_panel(30_000, 1, seed=3)
    config = SMALL.model_copy(update={"context": 90})
    bars = LevelBars(panel.members[0], fit_tokenizer(panel, (10,), config))
    windows = [bars.window(s, s + 90) for s in range(0, 29_800, 45)]
    z = np.array([w.inputs[30, 0] for w in windows])
    move = np.array([w.returns[30, 0] for w in windows]) - z
    assert np.corrcoef(z, move)[0, 1] < -0.35


def test_a_window_is_in_its_own_units_and_its_last_bar_in_those_of_the_forecast():
    panel = walk_panel(400, 1)
    bars = panel.members[0]
    tokenizer = fit_tokenizer(panel, (1, 5), SMALL)
    levels = LevelBars(bars, tokenizer)
    window = levels.window(100, 132)
    closes = np.log(bars.close[100:132])
    np.testing.assert_allclose(
        window.inputs[:, 0], (closes - closes.mean()) / closes.std(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(levels.scales[131], closes.std())
    np.testing.assert_allclose(levels.locs[131], closes.mean() - closes[-1], atol=1e-12)
    ahead = np.log(bars.close[136] / bars.close[131])
    np.testing.assert_allclose(
        window.returns[-1, 1], (ahead - levels.locs[131, 1]) / levels.scales[131, 1], rtol=1e-5
    )
    end = levels.window(368, 400)
    assert np.isnan(end.returns[-5:, 1]).all()
    assert (end.targets[-5:, 1] == -1).all()
    assert (end.targets[:-5, 1] >= 0).all()


@pytest.mark.parametrize("value", ["learner.tokens=levels", "learner.head=student_t"])
def test_what_has_no_variance_tokens_says_so(value: str):
    key, _, name = value.removeprefix("learner.").partition("=")
    with pytest.raises(
        UsageError, match=f"{key}={name} has no variance tokens: set variance_tokens=false"
    ):
        resolve(None, [value], {})
    assert getattr(resolve(None, [value, "learner.variance_tokens=false"], {}).learner, key) == name
