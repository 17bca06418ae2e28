"""Tests of tests: true hypotheses are rejected at the nominal rate, and verdicts are plain."""

import math

import numpy as np
import pyarrow as pa
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy import signal, stats
from statsmodels.tsa.stattools import diebold_mariano_test

from forecaster.distributions import Floats, Gaussian
from forecaster.errors import DataError, UsageError
from forecaster.frames import Keys, merge
from forecaster.inference import (
    Skill,
    best_naive,
    detectable,
    diebold_mariano,
    hac_lags,
    mean_tests,
    per_date,
    skill,
    verdict,
)
from forecaster.scores import score

DAY = np.timedelta64(1, "D")


def overlapping_losses(rng: np.random.Generator, n: int, h: int) -> tuple[Floats, Floats]:
    """Squared errors of two equally good forecasts of sums that share h - 1 bars."""
    noise = np.cumsum(rng.standard_normal((3, n + h)), axis=1)
    outcome, a, b = noise[:, h:] - noise[:, :-h]
    return (outcome - 0.3 * a) ** 2, (outcome - 0.3 * b) ** 2


def rejections(runs: int, n: int, h: int) -> tuple[float, float]:
    """Share of runs rejected at 5 %: by our test, and by one without HAC lags."""
    rng = np.random.default_rng(2024)
    ours = naive = 0
    for _ in range(runs):
        a, b = overlapping_losses(rng, n, h)
        ours += diebold_mariano(a, b, h)[2] < 0.05
        naive += abs((a - b).mean()) > 1.96 * (a - b).std(ddof=1) / math.sqrt(n)
    return ours / runs, naive / runs


def test_equal_models_are_rejected_at_the_nominal_rate() -> None:
    """Mistake 12: 500 runs of h = 22. Planted: a test without lags rejects most of the time."""
    ours, naive = rejections(500, 1000, 22)
    assert 0.03 <= ours <= 0.08
    assert naive > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("n", "h"), [(250, 1), (250, 5), (500, 22), (1000, 5), (2264, 22)])
def test_size_over_sample_lengths_and_horizons(n: int, h: int) -> None:
    assert 0.03 <= rejections(1500, n, h)[0] <= 0.08


def test_cross_correlated_symbols_are_one_date() -> None:
    """Mistake 12 again: ten symbols that move as one. Planted: each symbol's row as a sample."""
    rng = np.random.default_rng(7)
    dates = rows = 0
    for _ in range(300):
        a, b = overlapping_losses(rng, 300, 1)
        dates += diebold_mariano(a, b, 1)[2] < 0.05
        pooled = np.tile(a - b, 10)
        rows += abs(pooled.mean()) > 1.96 * pooled.std(ddof=1) / math.sqrt(len(pooled))
    assert 0.02 <= dates / 300 <= 0.09
    assert rows / 300 > 0.3


def test_statistic_is_that_of_statsmodels_made_cautious() -> None:
    a, b = overlapping_losses(np.random.default_rng(0), 600, 5)
    mean, statistic, p = diebold_mariano(a, b, 5)
    plain = diebold_mariano_test(
        a * 0, np.sqrt(a), np.sqrt(b), lags=hac_lags(600, 5), harvey_adj=True, horizon=5
    )
    assert mean == pytest.approx((a - b).mean())
    assert 0.85 < statistic / plain.statistic < 1
    assert p > plain.pvalue
    assert diebold_mariano(b, a, 5) == pytest.approx((-mean, -statistic, p))


def test_equal_losses_and_constant_differences() -> None:
    a = np.random.default_rng(0).random(100)
    assert diebold_mariano(a, a, 5) == (0.0, 0.0, 1.0)
    assert diebold_mariano(a * (1 + 1e-13), a, 5) == (0.0, 0.0, 1.0)  # rounding has a side
    assert diebold_mariano(np.zeros(100), np.ones(100), 1) == (-1.0, -math.inf, 0.0)
    with pytest.raises(DataError, match="29 dates at h=1: a test wants 30"):
        diebold_mariano(a[:29], a[:29], 1)
    with pytest.raises(DataError, match="59 dates at h=20: a test wants 60"):
        diebold_mariano(a[:59], a[:59], 20)


def run(n: int = 400, symbols: int = 3, h: int = 1) -> pa.Table:
    """Scores of four models over symbols that share a market: the truth, a copy, two worse ones."""
    rng = np.random.default_rng(11)
    cutoff = np.datetime64("2020-01-01", "us") + np.arange(n) * DAY
    market = rng.normal(size=(n, 1))
    zero, tables = np.zeros((n, 1)), []
    for s in range(symbols):
        keys = Keys(np.full(n, f"S{s}"), cutoff, (cutoff + h * DAY)[:, None], (h,))
        y = 0.01 * (0.8 * market + 0.6 * rng.normal(size=(n, 1)))
        for name, scale in (("true", 0.01), ("copy", 0.01), ("wide", 0.02), ("narrow", 0.004)):
            tables.append(score(keys, Gaussian(zero, zero + scale), y, name, 0))
    return merge(tables)


SCORES = run()


def test_per_date_averages_symbols_first() -> None:
    table = per_date(SCORES, "crps", 1)
    assert table.shape == (400, 4)
    frame = SCORES.to_pandas()
    rows = frame[(frame.model == "wide") & (frame.cutoff == table.index[17])]
    assert len(rows) == 3
    assert table["wide"].iloc[17] == pytest.approx(rows["crps"].mean())
    with pytest.raises(DataError, match="no scores at h=5"):
        per_date(SCORES, "crps", 5)


def test_a_model_against_itself_has_no_skill() -> None:
    """Planted: a copy under another name is no better either."""
    for rival in ("true", "copy"):
        found = skill(SCORES, "true", rival, 1)
        assert (found.crps_skill, found.low, found.high, found.p) == (0, 0, 0, 1)
        assert (found.log_score_gain, found.log_score_p) == (0, 1)
        assert verdict(found).startswith(f"no edge shown for true over {rival} at h=1")


def test_skill_is_found_and_has_its_sign() -> None:
    good, bad = skill(SCORES, "true", "wide", 1), skill(SCORES, "wide", "true", 1)
    assert good.low > 0 > bad.high
    assert good.p == pytest.approx(bad.p)
    assert good.p < 0.05
    assert good.log_score_gain == pytest.approx(-bad.log_score_gain)
    assert (1 - good.crps_skill) * (1 - bad.crps_skill) == pytest.approx(1)
    assert good.low < good.crps_skill < good.high
    frame = SCORES.to_pandas().groupby("model")["crps"].mean()
    assert good.crps_skill == pytest.approx(1 - frame["true"] / frame["wide"])


@pytest.mark.parametrize("edge", [0.0, 0.005, 0.01, 0.015, 0.02, 0.03])
def test_interval_excludes_zero_exactly_where_p_says_so(edge: float) -> None:
    """Also at its ends: a reference made worse by just that much is at p = 5 %."""
    found = skill(with_edge(edge), "model", "base", 1)
    assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
    losses = per_date(with_edge(edge), "crps", 1)
    for end in (found.low, found.high):
        p = diebold_mariano(losses["model"].to_numpy(), (1 - end) * losses["base"].to_numpy(), 1)[2]
        assert p == pytest.approx(0.05, abs=1e-9)


def test_interval_agrees_with_the_stationary_bootstrap() -> None:
    losses = per_date(SCORES, "crps", 1)[["true", "wide"]].to_numpy()
    found = skill(SCORES, "true", "wide", 1)
    boot = StationaryBootstrap(5, losses, seed=0)
    low, high = boot.conf_int(lambda x: 1 - x[:, 0].mean() / x[:, 1].mean(), 2000).ravel()
    assert found.high - found.low == pytest.approx(high - low, rel=0.25)
    assert found.low == pytest.approx(low, abs=0.25 * (high - low))


def with_edge(edge: float) -> pa.Table:
    """A model whose CRPS is lower by `edge` of the base's, with noise of its own."""
    base = SCORES.filter(pa.array([model == "true" for model in SCORES["model"].to_pylist()]))
    crps = base["crps"].to_numpy()
    rng = np.random.default_rng(5)
    better = crps * (1 - edge) + 0.1 * crps.mean() * rng.standard_normal(len(crps))
    rows = []
    for name, values in (("base", crps), ("model", better)):
        table = base.set_column(0, base.schema.field("model"), pa.array([name] * len(base)))
        at = table.column_names.index("crps")
        rows.append(table.set_column(at, table.schema.field("crps"), pa.array(values)))
    return merge(rows)


def test_best_naive_is_the_best_of_those_named() -> None:
    assert best_naive(SCORES, ["wide", "narrow"], 1) == "narrow"
    assert best_naive(SCORES, ["wide", "copy", "absent"], 1) == "copy"
    with pytest.raises(UsageError, match="none of absent has scores"):
        best_naive(SCORES, ["absent"], 1)
    with pytest.raises(UsageError, match="model 'wid' has no scores; did you mean 'wide'"):
        skill(SCORES, "wid", "true", 1)


def found(**changes: float) -> Skill:
    fields = {"crps_skill": 0.012, "low": 0.004, "high": 0.02, "p": 0.003} | changes
    fields |= {"log_score_gain": 0.02, "log_score_p": 0.001}
    fields |= {"detectable_skill": 0.011, "detectable_gain": 0.0042}
    return Skill("llama", "volatility_20", 1, 2264, "2007-01-03", "2015-12-31", **fields)


DATES = "n = 2,264 dates, 2007-01-03 to 2015-12-31"
TAIL = f"log score +0.0200 nats, p = 0.001; {DATES}"
SEEN = "the test sees effects above 1.10% and 0.0042 nats"
SENTENCES = {
    f"llama beats volatility_20 at h=1: CRPS skill +1.20% [+0.40%, +2.00%], p = 0.003; {TAIL}": {},
    f"no edge shown for llama over volatility_20 at h=1:"
    f" CRPS skill +1.20% [-0.10%, +2.50%], p = 0.071; {TAIL}; {SEEN}": {
        "p": 0.071,
        "low": -1e-3,
        "high": 0.025,
    },
    f"llama is worse than volatility_20 at h=1 in CRPS alone:"
    f" CRPS skill -1.20% [-2.00%, -0.40%], p < 0.001; {TAIL}": {
        "p": 1e-5,
        "crps_skill": -0.012,
        "low": -0.02,
        "high": -0.004,
    },
    f"no edge shown for llama over volatility_20 at h=1:"
    f" CRPS skill +0.00% [+0.00%, +0.00%], p = 1.000; {TAIL}; {SEEN}": {
        "p": 1.0,
        "crps_skill": -1e-9,
        "low": -1e-9,
        "high": 0.0,
    },
    f"too few dates to judge llama against volatility_20 at h=1: CRPS skill +1.20%, {DATES}": {
        "p": math.nan
    },
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_verdicts_are_plain_sentences(sentence: str) -> None:
    assert verdict(found(**SENTENCES[sentence])) == sentence


def test_losses_that_remember_are_tested_with_lags(monkeypatch: pytest.MonkeyPatch) -> None:
    """At h = 1 score differences have memory too. Planted: no lags, which rejects too often."""

    def rejected(draws: int = 300, n: int = 500) -> float:
        rng, count = np.random.default_rng(5), 0
        for _ in range(draws):
            noise = rng.standard_normal(n + 50)
            d = np.asarray(signal.lfilter([1.0], [1.0, -0.4], noise))[50:]
            count += diebold_mariano(d, np.zeros(n), 1)[2] < 0.05
        return count / draws

    assert rejected() <= 0.09
    monkeypatch.setattr(mean_tests, "hac_lags", lambda *_: 0)
    assert rejected() > 0.12


def test_a_reference_that_is_never_wrong_crashes_nothing() -> None:
    values = np.zeros(len(SCORES))
    at = SCORES.column_names.index("crps")
    perfect = SCORES.set_column(at, SCORES.schema.field("crps"), pa.array(values))
    assert skill(perfect, "true", "wide", 1).crps_skill == 0.0


def test_what_is_detectable_is_found_four_times_in_five() -> None:
    """Planted: half of it, which is found less than one time in three."""
    rng, found = np.random.default_rng(3), {0.5: 0, 1.0: 0}
    for _ in range(200):
        a, b = overlapping_losses(rng, 400, 5)
        least = detectable(a, b, 5)
        for share in found:
            found[share] += diebold_mariano(a + share * least, b, 5)[2] < 0.05
    assert 0.7 <= found[1.0] / 200 <= 0.9
    assert found[0.5] / 200 < 0.4
    a, b = overlapping_losses(rng, 400, 5)
    mean, statistic, _ = diebold_mariano(a, b, 5)
    two = stats.t.ppf([0.975, 0.8], 399).sum()
    assert detectable(a, b, 5) == pytest.approx(two * abs(mean / statistic))


def test_few_dates_give_no_verdict_and_no_error() -> None:
    few = skill(run(n=25), "true", "wide", 1)
    assert math.isnan(few.p)
    assert "too few dates" in verdict(few)
    assert "n = 25 dates" in verdict(few)


def test_models_on_different_rows_are_not_compared() -> None:
    rows = SCORES.slice(1)
    with pytest.raises(DataError, match=r"scored on different rows \(copy 1199"):
        skill(rows, "true", "wide", 1)
