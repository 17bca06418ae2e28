"""The learner: starts as its tokeniser's shape, learns what can be learnt, keeps itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from panels import garch_panel, walk_panel

from backbones.presets import PRESETS
from backbones.train import StepReport
from forecaster.bars import Panel
from forecaster.baselines import BASELINES
from forecaster.config import LearnerConfig
from forecaster.errors import CheckpointError, DataError, DivergedError, UsageError
from forecaster.learner import BackboneForecaster, FittedLearner, Keep, load_learner
from forecaster.learner.windows import TrainingWindows, origin_windows, tokenise
from forecaster.protocol import Origins
from forecaster.tokens import fit_tokenizer

TINY = LearnerConfig(
    context=32,
    d_model=16,
    n_layers=1,
    n_heads=2,
    steps=4,
    seeds=2,
    batch=4,
    return_bins=12,
    skip=4,
    lr=5e-3,
)
HORIZONS = (1, 5)


def origins_of(panel: Panel, bars: tuple[int, ...] = (300, 400)) -> Origins:
    pairs = [(m, t) for m in range(len(panel)) for t in bars]
    member, bar = np.array(pairs).T
    return Origins(member, bar)


@pytest.fixture(scope="module")
def panel():
    return garch_panel(600, 2)


@pytest.fixture(scope="module")
def tiny(panel: Panel):
    return BackboneForecaster("llama", TINY, seed=3).fit(panel, HORIZONS)


def test_an_untaught_network_is_the_tokenisers_shape(panel: Panel):
    forecaster = BackboneForecaster("llama", TINY)
    tokenizer = fit_tokenizer(panel, HORIZONS, "scaled", field_bins=16, return_bins=12)
    network = forecaster.network(tokenizer, 0).eval()
    tokens, inputs = torch.zeros(1, 32, 5, dtype=torch.int64), torch.zeros(1, 32, 13)
    p = network.log_probability(network(tokens, inputs))[0, -1].exp().detach().numpy()
    np.testing.assert_allclose(p, tokenizer.bin_masses(), rtol=1e-5)


@pytest.mark.parametrize(("tokens", "baseline"), [("scaled", "range_student_t"), ("prior", "harx")])
def test_without_its_network_it_is_a_baseline(panel: Panel, tokens: str, baseline: str):
    """The row that says what the network adds: same scale, same shape, to rounding."""
    config = LearnerConfig.model_validate(TINY.model_dump() | {"tokens": tokens})
    untaught = BackboneForecaster("llama", config)
    tokenizer, _ = untaught._prepared(panel, HORIZONS)  # pyright: ignore[reportPrivateUsage]
    network = untaught.network(tokenizer, 0).eval()
    learner, asked = FittedLearner(config, tokenizer, (network,)), origins_of(panel)
    forecast = learner.forecast(panel, asked, HORIZONS)
    known = BASELINES[baseline].fit(panel, HORIZONS).forecast(panel, asked, HORIZONS)
    y = np.full(forecast.shape, 0.013)
    np.testing.assert_allclose(forecast.logpdf(y), known.logpdf(y), atol=1e-5)
    np.testing.assert_allclose(forecast.crps(y), known.crps(y), rtol=1e-5)


def test_shrinking_to_nothing_is_the_prior_and_each_horizon_has_its_root(
    panel: Panel, tiny: FittedLearner
):
    asked = origins_of(panel)
    mass = tiny.tokenizer.bin_masses()
    half = tiny.forecast(panel, asked, HORIZONS).probabilities
    config = LearnerConfig.model_validate(tiny.config.model_dump() | {"shrink": 0.0})
    nothing = FittedLearner(config, tiny.tokenizer, tiny.networks)
    np.testing.assert_allclose(
        nothing.forecast(panel, asked, HORIZONS).probabilities, mass[None].repeat(4, 0), rtol=1e-6
    )
    one = FittedLearner(tiny.config, tiny.tokenizer, tiny.networks[:1])
    whole = LearnerConfig.model_validate(tiny.config.model_dump() | {"shrink": 1.0})
    full = FittedLearner(whole, tiny.tokenizer, tiny.networks[:1])
    said = np.log(full.forecast(panel, asked, HORIZONS).probabilities / mass)
    heard = np.log(one.forecast(panel, asked, HORIZONS).probabilities / mass)
    contrast = (said - said.mean(-1, keepdims=True)) / 2
    np.testing.assert_allclose(heard - heard.mean(-1, keepdims=True), contrast, atol=1e-6)
    assert not np.allclose(half, mass, rtol=1e-5)


def test_the_networks_are_averaged(panel: Panel, tiny: FittedLearner):
    asked = origins_of(panel)
    each = [
        FittedLearner(tiny.config, tiny.tokenizer, (network,))
        .forecast(panel, asked, HORIZONS)
        .probabilities
        for network in tiny.networks
    ]
    assert not np.allclose(each[0], each[1], rtol=1e-6)
    together = tiny.forecast(panel, asked, HORIZONS).probabilities
    np.testing.assert_allclose(together, (each[0] + each[1]) / 2, rtol=1e-9)


def test_a_free_head_has_a_weight_a_bin_and_a_low_rank_one_a_function(panel: Panel):
    tokenizer, _ = BackboneForecaster("llama", TINY)._prepared(panel, HORIZONS)  # pyright: ignore[reportPrivateUsage]
    free = LearnerConfig.model_validate(TINY.model_dump() | {"head": "categorical"})
    widths = [
        BackboneForecaster("llama", c).network(tokenizer, 0).head.out_features for c in (TINY, free)
    ]
    assert widths == [2 * TINY.basis, 2 * TINY.return_bins]


def test_training_moves_the_forecast(panel: Panel, tiny: FittedLearner):
    forecast = tiny.forecast(panel, origins_of(panel), HORIZONS)
    assert not np.allclose(forecast.probabilities, tiny.tokenizer.bin_masses(), rtol=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(panel: Panel, tiny: FittedLearner):
    def ask(seed: int) -> bytes:
        fitted = BackboneForecaster("llama", TINY, seed=seed).fit(panel, HORIZONS)
        return fitted.forecast(panel, origins_of(panel), HORIZONS).probabilities.tobytes()

    assert ask(3) == tiny.forecast(panel, origins_of(panel), HORIZONS).probabilities.tobytes()
    assert ask(3) != ask(4)


def test_an_origin_is_answered_alone_as_in_company(panel: Panel, tiny: FittedLearner):
    every = tiny.forecast(panel, origins_of(panel, tuple(range(200, 400))), HORIZONS)
    alone = tiny.forecast(panel, Origins(np.array([1]), np.array([250])), HORIZONS)
    np.testing.assert_array_equal(alone.probabilities[0], every.probabilities[250])


def test_dropout_is_off_when_asked(panel: Panel, tiny: FittedLearner):
    first = tiny.forecast(panel, origins_of(panel), HORIZONS).probabilities
    torch.manual_seed(123)
    assert (tiny.forecast(panel, origins_of(panel), HORIZONS).probabilities == first).all()
    assert not any(network.training for network in tiny.networks)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_learns_and_forecasts(panel: Panel, name: str):
    config = LearnerConfig.model_validate(TINY.model_dump() | {"seeds": 1, "steps": 2})
    fitted = BackboneForecaster(name, config).fit(panel, HORIZONS)
    p = fitted.forecast(panel, origins_of(panel), HORIZONS).probabilities
    assert np.isfinite(p).all()
    assert not np.allclose(p, fitted.tokenizer.bin_masses(), rtol=1e-6)


def test_batches_are_a_function_of_seed_and_step(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, "scaled", field_bins=16, return_bins=12)
    windows = TrainingWindows(tokenise(panel, tokenizer), 32, 4, seed=1)
    again = TrainingWindows(tokenise(panel, tokenizer), 32, 4, seed=1)
    for k in (7, 0):
        assert torch.equal(windows.draw(k).tokens, again.draw(k).tokens)
    assert not torch.equal(windows.draw(0).tokens, windows.draw(1).tokens)


def test_windows_are_of_symbols_in_proportion_and_after_the_warm_up(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, "scaled", field_bins=16, return_bins=12)
    windows = TrainingWindows(tokenise(panel, tokenizer), 32, 256, seed=1)
    targets = windows.draw(0).targets
    assert targets.shape == (256, 32, 2)
    assert (targets[:, 0] >= 0).all()  # a window's first bar is never one of the last


def test_windows_end_at_their_origin(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, "scaled", field_bins=16, return_bins=12)
    members = tokenise(panel, tokenizer)
    asked = Origins(np.array([0, 1, 1]), np.array([40, 99, 100]))
    (rows, batch), *rest = origin_windows(members, asked, 32, 8)
    assert (rows, len(rest), batch.tokens.shape) == (slice(0, 3), 0, (8, 32, 5))
    assert torch.equal(batch.tokens[2, -1], torch.from_numpy(members[1].tokens[100]))
    with pytest.raises(DataError, match="origin at bar 30 of member 0: 31 bars, the context is 32"):
        next(origin_windows(members, Origins(np.array([0]), np.array([30])), 32, 8))


def test_it_is_the_same_when_loaded_again(panel: Panel, tiny: FittedLearner, tmp_path: Path):
    forecaster = BackboneForecaster("llama", TINY, seed=3)
    fitted = forecaster.fit(panel, HORIZONS, Keep(path=tmp_path))
    loaded = load_learner(forecaster, tmp_path, fitted.tokenizer)
    asked = origins_of(panel)
    kept = fitted.forecast(panel, asked, HORIZONS).probabilities
    assert (loaded.forecast(panel, asked, HORIZONS).probabilities == kept).all()
    assert (tiny.forecast(panel, asked, HORIZONS).probabilities == kept).all()


def test_a_cut_off_training_goes_on_to_the_same_bytes(
    panel: Panel, tiny: FittedLearner, tmp_path: Path
):
    class CutOffError(Exception):
        pass

    def cut(seed: int, report: StepReport) -> None:
        if (seed, report.step) == (1, 2):
            raise CutOffError

    forecaster = BackboneForecaster("llama", TINY, seed=3)
    with pytest.raises(CutOffError):
        forecaster.fit(panel, HORIZONS, Keep(path=tmp_path, on_step=cut))
    fitted = forecaster.fit(panel, HORIZONS, Keep(path=tmp_path, resume=True))
    asked = origins_of(panel)
    whole = tiny.forecast(panel, asked, HORIZONS).probabilities
    assert (fitted.forecast(panel, asked, HORIZONS).probabilities == whole).all()


def test_errors_of_backbones_are_ours(panel: Panel, tmp_path: Path):
    with pytest.raises(UsageError, match="preset 'lama' does not exist: did you mean 'llama'"):
        BackboneForecaster("lama", TINY)
    with pytest.raises(CheckpointError, match="seed-0"):
        load_learner(
            BackboneForecaster("llama", TINY),
            tmp_path,
            fit_tokenizer(panel, HORIZONS, "scaled", field_bins=16, return_bins=12),
        )
    wild = TINY.model_copy(update={"lr": 1e30})
    with pytest.raises(DivergedError, match="step"):
        BackboneForecaster("llama", wild).fit(panel, HORIZONS)


def test_refusals_name_their_numbers(panel: Panel, tiny: FittedLearner):
    with pytest.raises(UsageError, match=r"horizons \(1, 20\) asked, \(1, 5\) learnt"):
        tiny.forecast(panel, origins_of(panel), (1, 20))
    long = TINY.model_copy(update={"context": 256})
    with pytest.raises(DataError, match="history has 300 bars, a window needs 322"):
        BackboneForecaster("llama", long).fit(walk_panel(300), HORIZONS)
