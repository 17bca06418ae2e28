"""Variance tokens: targets that end inside the history, a fit by hand, a table with its margins."""

from dataclasses import replace

import numpy as np
import pytest
from panels import bars_from_returns, garch_panel, rewritten_after, walk_panel

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import StudentT, bin_masses
from forecaster.econometrics.harx import Sample
from forecaster.econometrics.regressors import floored, regressors
from forecaster.econometrics.variance import PULL, fit_log_variance, log_variance_ahead
from forecaster.features import range_variance
from forecaster.symbols import Symbol
from forecaster.tokens import BarTokenizer, fit_tokenizer
from forecaster.tokens import variance as variance_module
from forecaster.tokens.coupling import conditional
from forecaster.tokens.variance import VarianceTokens

HORIZONS = (1, 5)


def fitted(panel: Panel) -> BarTokenizer:
    return fit_tokenizer(panel, HORIZONS, LearnerConfig())


def variance_of(tokenizer: BarTokenizer) -> VarianceTokens:
    assert tokenizer.variance is not None
    return tokenizer.variance


@pytest.fixture(scope="module")
def panel() -> Panel:
    return garch_panel(900)


@pytest.fixture(scope="module")
def tokens(panel: Panel) -> VarianceTokens:
    return variance_of(fitted(panel))


def test_the_bars_ahead_by_hand(panel: Panel):
    bars = panel.members[0]
    variance = floored(range_variance(bars))
    ahead = log_variance_ahead(bars, 5)
    np.testing.assert_allclose(ahead[200], np.log(variance[201:206].mean()))
    np.testing.assert_allclose(ahead[-6], np.log(variance[-5:].mean()))
    assert np.isnan(ahead[-5:]).all()
    assert np.isnan(log_variance_ahead(bars.until(bars.closed_at[3]), 5)).all()


def test_a_target_ends_inside_what_is_known_and_never_changes_after(
    panel: Panel, tokens: VarianceTokens
):
    """The purge: at every cut the last h bars have none, and the others are what they stay."""
    bars = panel.members[0]
    whole = tokens.encode(bars)
    for n in (100, 500, 501):
        part = tokens.encode(bars.until(bars.closed_at[n - 1]))
        for j, h in enumerate(HORIZONS):
            assert (part[-h:, j] == -1).all()
            assert part[:-h, j].tobytes() == whole[: n - h, j].tobytes()
            assert (part[66:-h, j] >= 0).all()


def test_bars_after_the_history_do_not_move_them(panel: Panel):
    moment = panel.clock[600]
    other = rewritten_after(panel, moment)
    assert fitted(panel.until(moment)).digest == fitted(other.until(moment)).digest
    assert variance_of(fitted(panel)) != variance_of(fitted(other))  # the law can fail


def test_their_shape_is_that_of_the_history(panel: Panel, tokens: VarianceTokens):
    """Tokens of the history have the masses that an untaught network forecasts."""
    ids = np.concatenate([tokens.encode(bars)[66:] for bars in panel])
    for j in range(len(HORIZONS)):
        share = np.bincount(ids[ids[:, j] >= 0, j], minlength=40) / (ids[:, j] >= 0).sum()
        error = np.abs(np.cumsum(share) - np.cumsum(tokens.bin_masses()[j])).max()
        assert error < 0.05


def sample(pull_apart: float = 0.5) -> Sample:
    rng = np.random.default_rng(0)
    which = np.repeat([0, 1, 2], [200, 30, 5])
    x = rng.normal(size=(235, 3))
    own = np.array([1.0, -0.5, 0.2]) + pull_apart * rng.normal(size=(3, 3))
    y = which + (x * own[which]).sum(axis=1) + 0.1 * rng.normal(size=235)
    return Sample(("A", "B", "C"), which, x, y, np.zeros(3), np.ones(3))


def by_brute_force(data: Sample, pull: float) -> tuple[np.ndarray, np.ndarray]:
    """One least-squares problem: intercepts, common slopes, own slopes with a row for each pull."""
    s, f, n = len(data.symbols), data.x.shape[1], len(data.r)
    design = np.zeros((n + s * f, s + f + s * f))
    design[np.arange(n), data.which] = 1
    design[:n, s : s + f] = data.x
    for i in range(s):
        block = slice(s + f + i * f, s + f + (i + 1) * f)
        design[:n, block] = data.x * (data.which == i)[:, None]
    design[n:, s + f :] = np.sqrt(pull) * np.eye(s * f)
    answer = np.linalg.lstsq(design, np.append(data.r, np.zeros(s * f)), rcond=None)[0]
    return answer[:s], answer[s : s + f] + answer[s + f :].reshape(s, f)


@pytest.mark.parametrize("pull", [1.0, PULL])
def test_the_hierarchy_is_the_exact_minimum(pull: float):
    for got, wanted in zip(
        fit_log_variance(sample(), pull), by_brute_force(sample(), pull), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)


def test_a_stronger_pull_brings_slopes_together():
    spread = [np.ptp(fit_log_variance(sample(), pull)[1], axis=0).max() for pull in (0.01, 1e6)]
    assert spread[0] > 0.4
    assert spread[1] < 0.01


def masses(bins: int = 12) -> np.ndarray:
    base = StudentT(np.zeros((1, 1)), np.ones((1, 1)), np.full((1, 1), 5.0))
    return bin_masses(base, base.quantile(np.arange(1, bins) / bins)[0])[0]


def test_a_table_has_its_margins_whatever_was_counted():
    """What was expected of the variance gives what was expected of the return, exactly."""
    rng, q_mass, r_mass = np.random.default_rng(0), masses(), masses()[::-1] * np.linspace(1, 3, 12)
    r_mass = r_mass / r_mass.sum()
    for n in (0, 3, 5000):
        q = rng.integers(12, size=n)
        table = conditional(q, np.minimum(q + rng.integers(2, size=n), 11), q_mass, r_mass)
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(q_mass @ table, r_mass, atol=1e-12)
        assert (table > 0).all()
    np.testing.assert_allclose(conditional(q[:0], q[:0], q_mass, r_mass), [r_mass] * 12)


def test_a_table_finds_what_is_there_and_nothing_else():
    rng, w = np.random.default_rng(1), masses()
    q = rng.integers(12, size=40_000)
    other = rng.integers(12, size=40_000)
    independent = conditional(q, other, w, w) / w
    assert np.abs(independent - 1).max() < 0.15
    same = conditional(q, q, w, w) / w
    assert (np.diag(same) > 2).all()
    assert same[0, 11] < 0.01


def test_a_large_bar_goes_with_a_large_return(
    panel: Panel, tokens: VarianceTokens, monkeypatch: pytest.MonkeyPatch
):
    """On GARCH bars: tails of the return are likelier given a variance above expectation.

    A table of few pairs is not heard, one of more in part; with the margins it always has.
    """
    few = np.array(tokens.coupling)
    assert np.ptp(few, axis=0).max() < 1e-12
    swings = []
    for silent, whole in ((0, 1), (0, 1668 * 2)):
        monkeypatch.setattr(variance_module, "SILENT", silent)
        monkeypatch.setattr(variance_module, "WHOLE", whole)
        table = np.array(variance_of(fitted(panel)).coupling)
        tails = table[:, :6].sum(axis=1) + table[:, -6:].sum(axis=1)
        swings.append(tails[30:].mean() - tails[:10].mean())
        assert tails[30:].mean() > 1.2 * tails[:10].mean()
        np.testing.assert_allclose(tokens.bin_masses()[0] @ (table - few), 0, atol=1e-12)
    assert swings[1] == pytest.approx(swings[0] / 2, rel=0.01)


def test_without_a_horizon_of_one_bar_there_is_no_table(panel: Panel):
    assert variance_of(fit_tokenizer(panel, (5, 20), LearnerConfig())).coupling is None


def test_their_regressors_are_those_of_the_scale(panel: Panel):
    """What one side alone knew would be found in the other's errors, and counted twice."""
    tokenizer = fitted(panel)
    widths = {len(level.mean) for level in variance_of(tokenizer).levels}
    assert widths == {regressors(panel.members[0]).shape[1]}
    assert widths == {len(m.mean) for m in vars(tokenizer.prior)["models"]}


def test_symbols_that_hardly_began_are_coded_as_unseen_ones():
    """Members of no bars, of 30 and of 600 in one history; and one that was never there."""
    long, short = walk_panel(900, 2).members
    young = replace(short.until(short.closed_at[29]), symbol=Symbol("YOUNG"))
    unborn = replace(short.until(short.closed_at[0] - np.timedelta64(1, "D")), symbol=Symbol("NEW"))
    for panel in (Panel((long, young)), Panel((long, young, unborn))):
        tokens = variance_of(fitted(panel))
        grown = replace(bars_from_returns("YOUNG", np.full(300, 0.01), 1), symbol=young.symbol)
        for bars in (
            grown,
            replace(grown, symbol=Symbol("NEW")),
            replace(grown, symbol=Symbol("X")),
        ):
            assert (tokens.encode(bars)[66:-5] >= 0).all()
