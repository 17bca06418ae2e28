"""Laws over every forecaster, each shown to fail on a planted mistake."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from panels import bars_from_returns, garch_panel, rewritten_after, times_four, walk_panel
from scipy.signal import lfilter
from two_speeds import TwoSpeeds

from forecaster import frames, inference
from forecaster.backtest import Cell, run_cell
from forecaster.bars import Bars, Panel
from forecaster.baselines import BASELINES
from forecaster.baselines.naive import RandomWalk
from forecaster.baselines.per_symbol import at_origins
from forecaster.config import LearnerConfig
from forecaster.distributions import Gaussian
from forecaster.econometrics import memo
from forecaster.features import features, log_returns
from forecaster.folds import Fold, Schedule, walk_forward
from forecaster.learner import BackboneForecaster
from forecaster.pooled import PooledLearner
from forecaster.protocol import Forecaster, Origins

HORIZONS = (1, 5)
SMALL = LearnerConfig(context=32, d_model=16, n_layers=1, n_heads=2, steps=5, seeds=1, batch=8)
LEVELS = SMALL.model_copy(update={"tokens": "levels", "variance_tokens": False})
EVERY = [
    *BASELINES.values(),
    TwoSpeeds(),  # the README's, of a user's own
    BackboneForecaster("llama", SMALL),
    PooledLearner(BackboneForecaster("classic", SMALL)),
    BackboneForecaster("llama-shuffled", SMALL),
    BackboneForecaster(
        "mlp", SMALL.model_copy(update={"tokens": "levels", "variance_tokens": False})
    ),
]
every = pytest.mark.parametrize("forecaster", EVERY, ids=lambda each: each.name)


@dataclass(frozen=True)
class Peeks(RandomWalk):
    """A planted leak: its scale is of a window centred on the origin."""

    name: str = "peeks"

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        def scale(_: int, bars: Bars) -> np.ndarray:
            squares = np.nan_to_num(log_returns(bars) ** 2)
            centred = np.convolve(squares, np.ones(5) / 5, mode="same")
            return np.sqrt(centred[:, None] + 1e-12) * np.sqrt(np.asarray(horizons, dtype=float))

        scales = at_origins(past, origins, scale)
        return Gaussian(np.zeros_like(scales), scales)


@dataclass(frozen=True)
class Oracle(RandomWalk):
    """A planted leak with power: knows the direction of the next bar."""

    name: str = "oracle"

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        honest = RandomWalk().forecast(past, origins, horizons)

        def sign(_: int, bars: Bars) -> np.ndarray:
            following = np.append(log_returns(bars)[1:], 0.0)
            return np.repeat(np.sign(following)[:, None], len(horizons), axis=1)

        tilt = at_origins(past, origins, sign)
        return Gaussian(0.3 * tilt * honest.scale, honest.scale)


@dataclass(frozen=True)
class Levels(RandomWalk):
    """A planted mistake: a scale in price units."""

    name: str = "levels"

    def forecast(self, past: Panel, origins: Origins, horizons: Sequence[int]) -> Gaussian:
        honest = RandomWalk().forecast(past, origins, horizons)
        price = at_origins(past, origins, lambda _, bars: bars.close[:, None])
        return Gaussian(honest.loc, honest.scale * price / 100)


def one_fold(panel: Panel, start: int = 520) -> Fold:
    schedule = Schedule(test_from=panel.clock[start], refit_every=60, fewest_history=300)
    return walk_forward(panel, schedule)[0]


def predictions(panel: Panel, fold: Fold, forecaster: Forecaster) -> bytes:
    """The table that a run would keep, without what truth added."""
    table = run_cell(panel, HORIZONS, "law", Cell(fold, forecaster)).predictions
    hidden = pa.nulls(len(table), pa.float64())
    at = table.column_names.index("y")
    return frames.to_parquet_bytes(table.set_column(at, table.schema.field("y"), hidden), {})


def assert_the_future_moves_nothing(forecaster: Forecaster) -> None:
    """Rewrite every bar after a moment inside the test: forecasts up to it keep their bytes."""
    panel = garch_panel(700, 2)
    fold = one_fold(panel)
    for days in (
        0,
        30,
    ):  # from the first origin on, so that a fit that reaches into the test is seen
        assert_nothing_moves_until(
            forecaster, panel, fold, fold.test_from + np.timedelta64(days, "D")
        )


def assert_nothing_moves_until(
    forecaster: Forecaster, panel: Panel, fold: Fold, moment: np.datetime64
) -> None:
    until = replace(fold, test_until=moment)
    table = frames.read(predictions(panel, fold, forecaster))
    early = table["cutoff"].to_numpy() + np.timedelta64(1, "D") <= moment
    assert early.sum() == len(HORIZONS) * len(until.origins(panel))
    for seed in range(4):  # one rewriting leaves the sign of a return as it was half of the time
        other = frames.read(predictions(rewritten_after(panel, moment, seed), fold, forecaster))
        assert table.filter(early).equals(other.filter(early))
        assert not table.equals(other)  # the rewriting did reach later forecasts


def assert_prices_times_four_change_nothing(forecaster: Forecaster) -> None:
    panel = garch_panel(700, 2)
    fold = one_fold(panel)
    assert predictions(panel, fold, forecaster) == predictions(times_four(panel), fold, forecaster)


@every
def test_the_future_moves_no_forecast(forecaster: Forecaster):
    assert_the_future_moves_nothing(forecaster)


def test_a_centred_window_is_caught():
    with pytest.raises(AssertionError):
        assert_the_future_moves_nothing(Peeks())


@pytest.mark.parametrize("name", ["garch_student_t", "harx", "llama"])
def test_a_fit_that_reaches_into_the_test_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    late = np.timedelta64(10, "D")
    monkeypatch.setattr(Fold, "history", lambda self, panel: panel.until(self.train_until + late))
    with pytest.raises(AssertionError):
        assert_the_future_moves_nothing(next(each for each in EVERY if each.name == name))


def test_an_oracle_is_caught():
    with pytest.raises(AssertionError):
        assert_the_future_moves_nothing(Oracle())


@every
def test_prices_times_four_change_no_forecast(forecaster: Forecaster):
    assert_prices_times_four_change_nothing(forecaster)


def test_a_scale_in_price_units_is_caught():
    with pytest.raises(AssertionError):
        assert_prices_times_four_change_nothing(Levels())


@every
def test_the_same_seed_gives_the_same_bytes(forecaster: Forecaster):
    panel = garch_panel(700, 2)
    fold = one_fold(panel)
    first = predictions(panel, fold, forecaster)
    memo.forget()  # or a fit that was kept would be compared with itself
    assert first == predictions(panel, fold, forecaster)


def better_than_the_walk(
    panel: Panel, forecasters: Sequence[Forecaster], level: float = 0.01
) -> list[str]:
    """Models whose CRPS at h = 1 beats the random walk's, two-sided p below `level`."""
    found = []
    folds = walk_forward(panel, Schedule(test_from=panel.clock[600], refit_every=500))
    for forecaster in (RandomWalk(), *forecasters):
        cells = [run_cell(panel, (1,), "null", Cell(f, forecaster)).scores for f in folds]
        found.append(frames.merge(cells))
    table = frames.merge(found)
    skills = [inference.skill(table, each.name, "random_walk", 1) for each in forecasters]
    return [s.model for s in skills if s.crps_skill > 0 and s.p < level]


TAUGHT = LearnerConfig(
    context=32, d_model=32, n_layers=1, n_heads=2, steps=120, seeds=1, batch=16, lr=2e-3, shrink=1.0
)
OTHERS = [each for each in BASELINES.values() if each.name != "random_walk"]
LEARNER = BackboneForecaster("llama", TAUGHT)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_beats_the_walk_on_a_walk(seed: int):
    """The learner is taught in earnest: an untaught one would prove nothing."""
    assert better_than_the_walk(walk_panel(1600, 3, seed=seed), [*OTHERS, LEARNER]) == []


def test_an_oracle_beats_the_walk_on_a_walk():
    assert better_than_the_walk(walk_panel(1600, 3, seed=1), [Oracle()]) == ["oracle"]


def test_models_of_volatility_beat_the_walk_where_volatility_moves():
    models = [BASELINES["garch_student_t"], BASELINES["ewma_student_t"], BASELINES["harx"]]
    panel = garch_panel(2400, 3, seed=5)
    assert better_than_the_walk(panel, models) == [each.name for each in models]


def autoregressive_panel(n: int = 2400, symbols: int = 3, phi: float = 0.3) -> Panel:
    """The sign of a return tells of the next one: no scale model can know, a network can."""
    members = []
    for i in range(symbols):
        noise = np.random.default_rng((7, i)).normal(0, 0.01, n)
        returns = np.asarray(lfilter([1.0], [1.0, -phi], noise))
        members.append(bars_from_returns(f"AR-{i}", returns, i))
    return Panel(tuple(members))


def test_the_learner_beats_its_own_prior_where_there_is_something_to_learn():
    """And only there: on a walk it does not."""
    for panel, wins in ((autoregressive_panel(), True), (walk_panel(2400, 3, seed=3), False)):
        folds = walk_forward(panel, Schedule(test_from=panel.clock[900], refit_every=800))
        cells = [Cell(fold, each) for fold in folds for each in (BASELINES["harx"], LEARNER)]
        table = frames.merge([run_cell(panel, (1,), "prior", cell).scores for cell in cells])
        found = inference.skill(table, "llama", "harx", 1)
        assert (found.crps_skill > 0 and found.p < 0.01) == wins


def test_the_panel_of_the_laws_has_every_kind_of_input():
    """A law over inputs that are all missing would prove nothing."""
    known = features(garch_panel(700, 1).members[0])
    assert np.isfinite(known.geometry[67:]).all()
    assert np.isfinite(known.inputs[67:]).all()
