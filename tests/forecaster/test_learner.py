"""The learner: starts as its tokeniser's shape, learns what can be learnt, keeps itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from panels import garch_panel, walk_panel

from backbones.presets import PRESETS
from backbones.train import StepReport
from forecaster.bars import Panel
from forecaster.baselines import BASELINES
from forecaster.config import LearnerConfig
from forecaster.distributions import Binned, SkewT
from forecaster.errors import CheckpointError, DataError, DivergedError, UsageError
from forecaster.learner import BackboneForecaster, FittedLearner, Keep, load_learner
from forecaster.learner.heads import BinHead, skew_t_log_density
from forecaster.learner.windows import TrainingWindows, origin_windows, shuffled, tokenise
from forecaster.protocol import Origins
from forecaster.symbols import Symbol
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


def tiny_with(**changed: Any) -> LearnerConfig:
    """TINY with some settings exchanged, checked again."""
    return LearnerConfig.model_validate(TINY.model_dump() | changed)


def origins_of(panel: Panel, bars: tuple[int, ...] = (300, 400)) -> Origins:
    pairs = [(m, t) for m in range(len(panel)) for t in bars]
    member, bar = np.array(pairs).T
    return Origins(member, bar)


def bins_of(learner: FittedLearner, panel: Panel, asked: Origins) -> np.ndarray:
    """Probabilities [N, H, K] of the return bins."""
    forecast = learner.forecast(panel, asked, HORIZONS)
    assert isinstance(forecast, Binned)
    return forecast.probabilities


@pytest.fixture(scope="module")
def panel():
    return garch_panel(600, 2)


@pytest.fixture(scope="module")
def tiny(panel: Panel):
    return BackboneForecaster("llama", TINY, seed=3).fit(panel, HORIZONS)


def untaught(panel: Panel, config: LearnerConfig, name: str = "llama") -> FittedLearner:
    """A learner whose network was never trained."""
    tokenizer = fit_tokenizer(panel, HORIZONS, config)
    return FittedLearner(
        config, tokenizer, (BackboneForecaster(name, config).network(tokenizer, 0).eval(),)
    )


SAME_AS = [
    ({}, "harx", "llama"),
    ({}, "harx", "mlp"),
    ({"variance_tokens": False}, "harx", "llama"),
    ({"head": "categorical"}, "harx", "llama"),
    ({"head": "student_t", "variance_tokens": False}, "harx", "llama"),
    ({"tokens": "scaled"}, "range_student_t", "llama"),
    ({"tokens": "scaled", "variance_tokens": False}, "range_student_t", "llama"),
    ({"tokens": "uniform"}, "range_student_t", "llama"),
    ({"tokens": "scaled", "head": "student_t", "variance_tokens": False}, "range_student_t", "mlp"),
]


def assert_it_is_the_baseline(learner: FittedLearner, panel: Panel, baseline: str) -> None:
    asked = origins_of(panel)
    forecast = learner.forecast(panel, asked, HORIZONS)
    known = BASELINES[baseline].fit(panel, HORIZONS).forecast(panel, asked, HORIZONS)
    for level in (-0.04, 0.0, 0.013):
        y = np.full(forecast.shape, level)
        np.testing.assert_allclose(forecast.logpdf(y), known.logpdf(y), atol=1e-5)
        np.testing.assert_allclose(forecast.crps(y), known.crps(y), rtol=1e-5)


@pytest.mark.parametrize(("changed", "baseline", "name"), SAME_AS)
def test_without_its_network_it_is_a_baseline(
    panel: Panel, changed: dict[str, Any], baseline: str, name: str
):
    """The row that says what the network adds: same scale, same shape, to rounding."""
    assert_it_is_the_baseline(untaught(panel, tiny_with(**changed), name), panel, baseline)


def test_a_table_that_misses_its_margins_is_caught(panel: Panel):
    """Planted: what the variance says of the return, as counted, without fitting its margins."""
    learner = untaught(panel, TINY)
    head = learner.networks[0].head
    assert isinstance(head, BinHead)
    table = head.coupling
    table[:, : TINY.return_bins // 2] *= 1.05
    with pytest.raises(AssertionError):
        assert_it_is_the_baseline(learner, panel, "harx")


def test_shrinking_to_nothing_is_the_prior_and_each_horizon_has_its_share(
    panel: Panel, tiny: FittedLearner
):
    asked = origins_of(panel)
    mass = tiny.tokenizer.bin_masses()
    half = bins_of(tiny, panel, asked)
    config = tiny_with(shrink=0.0, variance_shrink=0.0)
    nothing = FittedLearner(config, tiny.tokenizer, tiny.networks)
    np.testing.assert_allclose(bins_of(nothing, panel, asked), mass[None].repeat(4, 0), rtol=1e-6)
    one = FittedLearner(tiny_with(variance_shrink=0.0), tiny.tokenizer, tiny.networks[:1])
    whole = tiny_with(variance_shrink=0.0, shrink=1.0)
    full = FittedLearner(whole, tiny.tokenizer, tiny.networks[:1])
    said = np.log(bins_of(full, panel, asked) / mass)
    heard = np.log(bins_of(one, panel, asked) / mass)
    contrast = (said - said.mean(-1, keepdims=True)) / 2
    np.testing.assert_allclose(heard - heard.mean(-1, keepdims=True), contrast, atol=1e-6)
    assert not np.allclose(half, mass, rtol=1e-5)


def test_the_networks_are_averaged(panel: Panel, tiny: FittedLearner):
    asked = origins_of(panel)
    each = [
        bins_of(FittedLearner(tiny.config, tiny.tokenizer, (network,)), panel, asked)
        for network in tiny.networks
    ]
    assert not np.allclose(each[0], each[1], rtol=1e-6)
    together = bins_of(tiny, panel, asked)
    np.testing.assert_allclose(together[:, 1], (each[0][:, 1] + each[1][:, 1]) / 2, rtol=1e-9)
    low, high = np.minimum(*each), np.maximum(*each)
    assert ((together > low * 0.999) & (together < high * 1.001)).all()


def test_a_free_head_has_a_weight_a_bin_and_a_low_rank_one_a_function(panel: Panel):
    heads = [untaught(panel, c).networks[0].head for c in (TINY, tiny_with(head="categorical"))]
    for name in ("returns", "variances"):
        widths = [getattr(head, name).out_features for head in heads]
        assert widths == [2 * TINY.basis, 2 * TINY.return_bins]


def test_one_bar_ahead_is_read_through_the_variance_and_bent_by_the_tilt(
    panel: Panel, tiny: FittedLearner
):
    """By hand from one network's tilts; the other horizon knows its own tilt alone."""
    one = FittedLearner(tiny.config, tiny.tokenizer, tiny.networks[:1])
    asked = Origins(np.array([1]), np.array([300]))
    got = bins_of(one, panel, asked)[0]
    members = tokenise(panel, tiny.tokenizer)
    (_, batch), *_ = origin_windows(members, asked, TINY.context, 1)
    with torch.no_grad():
        tilt = tiny.networks[0](batch.tokens, batch.inputs)[0, -1].double().numpy()
    variance, mass = tiny.tokenizer.variance, tiny.tokenizer.target_masses()
    assert variance is not None
    assert variance.coupling is not None
    q = mass[2] * np.exp(tilt[2])
    first = (q / q.sum()) @ np.array(variance.coupling) * np.exp(0.5 * tilt[0])
    second = mass[1] * np.exp(0.5 / 5 * tilt[1])
    for p, wanted in zip(got, (first, second), strict=True):
        np.testing.assert_allclose(p, wanted / wanted.sum(), rtol=1e-5)


def test_a_student_t_head_moves_location_scale_and_tails(panel: Panel):
    learner = untaught(panel, tiny_with(head="student_t", variance_tokens=False, shrink=1.0))
    head = learner.networks[0].head
    with torch.no_grad():
        head.returns.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.0, 0.0, 0.0]))
    asked = origins_of(panel)
    before = BASELINES["harx"].fit(panel, HORIZONS).forecast(panel, asked, HORIZONS)
    after = learner.forecast(panel, asked, HORIZONS)
    assert isinstance(before, SkewT)
    assert isinstance(after, SkewT)
    unit = before.scale[:, 0]
    np.testing.assert_allclose(after.loc[:, 0], before.loc[:, 0] + 0.1 * unit, rtol=1e-5)
    np.testing.assert_allclose(after.scale[:, 0], np.exp(0.2) * unit, rtol=1e-5)
    np.testing.assert_allclose(after.df[:, 0], 2 + np.exp(0.3) * (before.df[:, 0] - 2), rtol=1e-5)
    np.testing.assert_allclose(after.scale[:, 1], before.scale[:, 1], rtol=1e-5)


def test_its_density_is_the_one_that_forecasts_are_scored_with():
    z = torch.linspace(-9, 9, 41, dtype=torch.float64)[:, None]
    for loc, scale, skew, df in (
        (0.0, 1.0, 0.0, 5.0),
        (0.1, 0.7, -0.3, 2.3),
        (-0.2, 2.0, 0.4, 60.0),
    ):
        shape = torch.tensor([[loc], [scale], [skew], [df]], dtype=torch.float64)
        one = np.ones((41, 1))
        known = SkewT(loc * one, scale * one, skew * one, df * one).logpdf(z.numpy())
        np.testing.assert_allclose(skew_t_log_density(z, shape[:, None]).numpy(), known, rtol=1e-9)


def test_training_moves_the_forecast(panel: Panel, tiny: FittedLearner):
    said = bins_of(tiny, panel, origins_of(panel))
    assert not np.allclose(said, tiny.tokenizer.bin_masses(), rtol=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(panel: Panel, tiny: FittedLearner):
    def ask(seed: int) -> bytes:
        fitted = BackboneForecaster("llama", TINY, seed=seed).fit(panel, HORIZONS)
        return bins_of(fitted, panel, origins_of(panel)).tobytes()

    assert ask(3) == bins_of(tiny, panel, origins_of(panel)).tobytes()
    assert ask(3) != ask(4)


def test_an_origin_is_answered_alone_as_in_company(panel: Panel, tiny: FittedLearner):
    every = bins_of(tiny, panel, origins_of(panel, tuple(range(200, 400))))
    alone = bins_of(tiny, panel, Origins(np.array([1]), np.array([250])))
    np.testing.assert_array_equal(alone[0], every[250])


def test_dropout_is_off_when_asked(panel: Panel, tiny: FittedLearner):
    first = bins_of(tiny, panel, origins_of(panel))
    torch.manual_seed(123)
    assert (bins_of(tiny, panel, origins_of(panel)) == first).all()
    assert not any(network.training for network in tiny.networks)


@pytest.mark.parametrize("name", [*sorted(PRESETS), "mlp", "llama-shuffled"])
def test_every_preset_and_control_learns_and_forecasts(panel: Panel, name: str):
    fitted = BackboneForecaster(name, tiny_with(seeds=1, steps=2)).fit(panel, HORIZONS)
    p = bins_of(fitted, panel, origins_of(panel))
    assert np.isfinite(p).all()
    assert not np.allclose(p, fitted.tokenizer.bin_masses(), rtol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": "levels"},
        {"tokens": "levels", "head": "student_t"},
        {"head": "student_t"},
        {"head": "categorical"},
    ],
)
def test_every_kind_and_head_learns_and_forecasts(panel: Panel, changed: dict[str, Any]):
    config = tiny_with(seeds=1, variance_tokens=False, **changed)
    asked, y = origins_of(panel), np.full((4, 2), 0.01)
    fitted = BackboneForecaster("llama", config).fit(panel, HORIZONS)
    taught = fitted.forecast(panel, asked, HORIZONS).logpdf(y)
    assert np.isfinite(taught).all()
    plain = untaught(panel, config).forecast(panel, asked, HORIZONS).logpdf(y)
    assert (np.abs(taught - plain) > 1e-6).all()


def test_an_mlp_sees_the_last_bar_alone_and_attention_sees_more(panel: Panel, tiny: FittedLearner):
    members = tokenise(panel, tiny.tokenizer)
    (_, batch), *_ = origin_windows(members, Origins(np.array([0]), np.array([300])), 32, 1)
    for name, sees_more in (("mlp", False), ("llama", True)):
        network = BackboneForecaster(name, TINY).network(tiny.tokenizer, 0).eval()
        torch.nn.init.normal_(network.head.returns.weight)
        other = batch.tokens.clone()
        other[:, :-1] = other[:, :-1].flip(1)
        with torch.no_grad():
            said = [network(tokens, batch.inputs)[:, -1] for tokens in (batch.tokens, other)]
        assert torch.equal(*said) != sees_more


def test_a_shuffled_window_keeps_its_last_bar_and_scores_that_alone(
    panel: Panel, tiny: FittedLearner
):
    members = tokenise(panel, tiny.tokenizer)
    window = members[0].window(100, 132)
    mixed = shuffled(window, np.random.default_rng(0))
    assert (mixed.tokens[-1] == window.tokens[-1]).all()
    assert not (mixed.tokens == window.tokens).all()
    assert sorted(map(tuple, mixed.tokens)) == sorted(map(tuple, window.tokens))
    assert (mixed.targets[:-1] == -1).all()
    assert np.isnan(mixed.returns[:-1]).all()
    assert (mixed.targets[-1] == window.targets[-1]).all()
    asked = Origins(np.array([0, 0]), np.array([131, 140]))
    orders = [next(origin_windows(members, asked, 32, 2, shuffle=True))[1] for _ in range(2)]
    assert torch.equal(orders[0].tokens, orders[1].tokens)
    # The same bars stand in other places nine bars later: no fixed order could be learnt.
    assert not torch.equal(orders[0].tokens[0, 9:-1], orders[0].tokens[1, :-10])


def test_steps_follow_the_history():
    """Five passes over it, 100 to 1000, at most 300 where dates are few, fewer of a short one."""
    counts = [(6000, 10, 292), (2400, 60, 703), (2400, 200, 1000), (900, 200, 300)]
    counts += [(1500, 6, 100), (3750, 2, 100), (1875, 2, 50), (600, 1, 8), (70, 1, 1)]
    for bars, symbols, steps in counts:
        one = walk_panel(bars, 1).members[0]
        panel = Panel(tuple(replace(one, symbol=Symbol(f"S{i}")) for i in range(symbols)))
        assert BackboneForecaster("llama", LearnerConfig()).steps(panel) == steps
    assert BackboneForecaster("llama", TINY).steps(walk_panel(100)) == TINY.steps


def test_batches_are_a_function_of_seed_and_step(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, tiny_with(tokens="scaled"))
    windows = TrainingWindows(tokenise(panel, tokenizer), 32, 4, seed=1)
    again = TrainingWindows(tokenise(panel, tokenizer), 32, 4, seed=1)
    for k in (7, 0):
        assert torch.equal(windows.draw(k).tokens, again.draw(k).tokens)
    assert not torch.equal(windows.draw(0).tokens, windows.draw(1).tokens)


def test_windows_are_of_symbols_in_proportion_and_after_the_warm_up(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, tiny_with(tokens="scaled"))
    windows = TrainingWindows(tokenise(panel, tokenizer), 32, 256, seed=1)
    targets = windows.draw(0).targets
    assert targets.shape == (256, 32, 4)
    assert (targets[:, 0] >= 0).all()  # a window's first bar is never one of the last


def test_windows_end_at_their_origin(panel: Panel):
    tokenizer = fit_tokenizer(panel, HORIZONS, tiny_with(tokens="scaled"))
    members = tokenise(panel, tokenizer)
    asked = Origins(np.array([0, 1, 1]), np.array([40, 99, 100]))
    (rows, batch), *rest = origin_windows(members, asked, 32, 8)
    assert (rows, len(rest), batch.tokens.shape) == (slice(0, 3), 0, (8, 32, 5))
    assert torch.equal(batch.tokens[2, -1], torch.from_numpy(members[1].window(100, 101).tokens[0]))
    with pytest.raises(DataError, match="origin at bar 30 of member 0: 31 bars, the context is 32"):
        next(origin_windows(members, Origins(np.array([0]), np.array([30])), 32, 8))


def test_it_is_the_same_when_loaded_again(panel: Panel, tiny: FittedLearner, tmp_path: Path):
    forecaster = BackboneForecaster("llama", TINY, seed=3)
    fitted = forecaster.fit(panel, HORIZONS, Keep(path=tmp_path))
    loaded = load_learner(forecaster, tmp_path, fitted.tokenizer)
    asked = origins_of(panel)
    kept = bins_of(fitted, panel, asked)
    assert (bins_of(loaded, panel, asked) == kept).all()
    assert (bins_of(tiny, panel, asked) == kept).all()


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
    whole = bins_of(tiny, panel, asked)
    assert (bins_of(fitted, panel, asked) == whole).all()


def test_errors_of_backbones_are_ours(panel: Panel, tmp_path: Path):
    with pytest.raises(UsageError, match="preset 'lama' does not exist: did you mean 'llama'"):
        BackboneForecaster("lama", TINY)
    with pytest.raises(UsageError, match="preset 'mlp' does not exist"):  # it has no order to hide
        BackboneForecaster("mlp-shuffled", TINY)
    with pytest.raises(CheckpointError, match="seed-0"):
        load_learner(
            BackboneForecaster("llama", TINY),
            tmp_path,
            fit_tokenizer(panel, HORIZONS, tiny_with(tokens="scaled")),
        )
    wild = TINY.model_copy(update={"lr": 1e30})
    with pytest.raises(DivergedError, match="step"):
        BackboneForecaster("llama", wild).fit(panel, HORIZONS)


def test_a_symbol_that_was_never_seen_is_forecast_and_company_does_not_matter(
    panel: Panel, tiny: FittedLearner
):
    stranger = replace(garch_panel(400, 1, seed=8).members[0], symbol=Symbol("STRANGER"))
    last = len(panel)  # members stand in order of their names
    asked = Origins(np.array([last, 0]), np.full(2, 300))
    together = bins_of(tiny, Panel((*panel, stranger)), asked)
    alone = bins_of(tiny, Panel((stranger,)), Origins(np.array([0]), np.array([300])))
    assert (together[0] == alone[0]).all()
    known = bins_of(tiny, panel, Origins(np.array([0]), np.array([300])))
    assert (together[1] == known[0]).all()


def test_a_density_integrates_to_one(panel: Panel, tiny: FittedLearner):
    forecast = tiny.forecast(panel, Origins(np.array([0]), np.array([300])), HORIZONS)
    y = np.sinh(np.linspace(-12, 12, 40_001)) * 1e-4
    density = np.exp([forecast.logpdf(np.full((1, 2), v))[0] for v in y[::10]])
    np.testing.assert_allclose(np.trapezoid(density, y[::10], axis=0), 1, atol=1e-3)


def test_histories_of_unequal_length_are_learnt_together_and_short_ones_named():
    """A member of a year, one of 30 bars and one without any beside a long one."""
    long, short = walk_panel(500, 2).members
    year, month, none = (
        replace(short.until(short.opened_at[n]), symbol=Symbol(f"S{n}")) for n in (196, 30, 0)
    )
    fitted = BackboneForecaster("llama", TINY).fit(Panel((long, year, month, none)), HORIZONS)
    grown = Panel(tuple(replace(short, symbol=each.symbol) for each in (year, month, none)))
    assert np.isfinite(bins_of(fitted, grown, origins_of(grown))).all()
    alone = BackboneForecaster("llama", TINY).fit(Panel((year,)), HORIZONS)
    assert np.isfinite(bins_of(alone, grown, origins_of(grown))).all()
    with pytest.raises(DataError, match="S30: 0 bars after the first 66 of each, needs at"):
        BackboneForecaster("llama", TINY).fit(Panel((month,)), HORIZONS)


def test_refusals_name_their_numbers(panel: Panel, tiny: FittedLearner):
    with pytest.raises(UsageError, match=r"horizons \(1, 20\) asked, \(1, 5\) learnt"):
        tiny.forecast(panel, origins_of(panel), (1, 20))
    long = TINY.model_copy(update={"context": 256})
    with pytest.raises(DataError, match="history has 300 bars, a window needs 322"):
        BackboneForecaster("llama", long).fit(walk_panel(300), HORIZONS)
