"""Laws of every distribution. Each is shown to fail on the planted mistake that its test names."""

import time
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from forecaster.distributions import (
    Binned,
    Distribution,
    Empirical,
    Floats,
    Gaussian,
    Mixture,
    OwnSkewT,
    ParetoTailed,
    SkewT,
    StudentT,
    bin_masses,
    empirical,
    inversion,
    student_table,
)
from forecaster.distributions.distribution import bins_of, once_a_run
from forecaster.distributions.student_table import StudentTable

Score = Callable[[Distribution, Floats], Floats]


def one(value: float) -> Floats:
    return np.array([[value]])


def edges_of(base: StudentT | Gaussian, count: int) -> Floats:
    x = np.linspace(-1, 1, count + 1)[1:-1]
    u = 0.5 + 0.5 * np.sign(x) * (1 - (1 - np.abs(x)) ** 1.6)  # finer towards the tails
    return base.quantile(u)[0]


def binned(count: int, df: float = 3.0, scale: float = 0.02, seed: int = 0) -> Binned:
    base = StudentT(one(0.1), one(0.8), one(df))
    p = np.random.default_rng(seed).dirichlet(np.full(count, 0.7))
    return Binned(base, edges_of(base, count), p[None, None], one(scale), one(0.003))


LEVELS = np.linspace(0.05, 0.95, 31)


def pareto_tailed(scale: float = 0.02) -> ParetoTailed:
    knots = scale * stats.norm.ppf(LEVELS)[None, None]
    return ParetoTailed(LEVELS, knots, scale * np.array([[[0.4, 0.5]]]), np.array([[[0.3, 0.1]]]))


def pool(*members: Distribution) -> Mixture:
    weights = np.arange(1.0, 1.0 + len(members))
    return Mixture(members, weights[None] / weights.sum())


CONTINUOUS: dict[str, Distribution] = {
    "gaussian": Gaussian(one(0.001), one(0.02)),
    "t 1.5": StudentT(one(0.001), one(0.02), one(1.5)),
    "t 4": StudentT(one(-0.01), one(0.02), one(4.0)),
    "t 200": StudentT(one(0.001), one(5.0), one(200.0)),
    "skew t": SkewT(one(0.001), one(0.02), one(-0.15), one(6.0)),
    "skew t heavy": SkewT(one(0.0), one(0.02), one(0.6), one(2.5)),
    "binned on a skew t": Binned(
        SkewT(one(0.03), one(1.0), one(-0.2), one(5.0)),
        np.array([[-1.0, 0.0, 1.0]]),
        np.array([[[0.2, 0.1, 0.4, 0.3]]]),
        one(0.01),
    ),
    **{f"binned {k}": binned(k) for k in (2, 3, 40, 128)},
    "pareto tailed": pareto_tailed(),
    "pool of smooth ones": pool(
        Gaussian(one(0.001), one(0.02)), StudentT(one(-0.002), one(0.015), one(4.0))
    ),
    "pool": pool(
        SkewT(one(0.001), one(0.02), one(-0.15), one(6.0)),
        pareto_tailed(0.025),
        Gaussian(one(0.0), one(0.05)),
    ),
    "binned heavy": binned(40, df=1.5),
    "binned with an empty bin": Binned(
        Gaussian(one(0.0), one(1.0)),
        np.array([[-1.0, 0.0, 1.0]]),
        np.array([[[0.5, 0.0, 0.25, 0.25]]]),
        one(0.01),
    ),
}
SAMPLE = Empirical(np.random.default_rng(3).standard_t(4, size=(1, 1, 400)) * 0.01)
EVERY = CONTINUOUS | {"empirical": SAMPLE}
continuous = pytest.mark.parametrize("d", CONTINUOUS.values(), ids=CONTINUOUS.keys())
every = pytest.mark.parametrize("d", EVERY.values(), ids=EVERY.keys())


def rows(d: Distribution, n: int) -> Distribution:
    return d.take(np.zeros(n, dtype=int))


def panels(d: Distribution, cuts: list[float]) -> tuple[Floats, Floats, Floats]:
    """(limits [P+1], y [P, nodes], weights) that cut the line at kinks; outwards to 1e19 scales."""
    unit = float(np.diff(d.quantile([0.25, 0.75]))[0, 0, 0])
    centre = d.quantile([0.5])[0, 0, 0]
    if isinstance(d, Binned):
        cuts = [*cuts, *(d.loc[0] + d.scale[0] * d.edges[0])]
    for part in d.members if isinstance(d, Mixture) else (d,):
        if isinstance(part, SkewT):
            cuts = [*cuts, part.mode[0, 0]]
        if isinstance(part, ParetoTailed):
            cuts = [*cuts, *part.knots[0, 0]]
    if isinstance(d, Binned) and isinstance(d.base, SkewT):
        cuts = [*cuts, d.loc[0, 0] + d.scale[0, 0] * d.base.mode[0, 0]]
    v = np.union1d(np.linspace(-44, 44, 60), np.arcsinh((np.array(cuts) - centre) / unit))
    x, w = np.polynomial.legendre.leggauss(60)
    half = np.diff(v)[:, None] / 2
    nodes = (v[1:] + v[:-1])[:, None] / 2 + half * x
    return (
        centre + unit * np.sinh(v),
        centre + unit * np.sinh(nodes),
        w * half * unit * np.cosh(nodes),
    )


def by_panel(d: Distribution, score: Score, cuts: list[float]) -> Floats:
    """[P] integral of exp(score) over each panel."""
    _, y, weights = panels(d, cuts)
    values = score(rows(d, y.size), y.reshape(-1, 1)).reshape(y.shape)
    return (weights * np.exp(values)).sum(axis=1)


@every
def test_density_integrates_to_one(d: Distribution) -> None:
    """Planted: p / w without 1 / scale."""
    assert by_panel(d, type(d).logpdf, []).sum() == pytest.approx(1, abs=1e-9)
    if isinstance(d, Binned):
        wrong = by_panel(d, lambda d, y: d.logpdf(y) + np.log(0.02), []).sum()
        assert wrong != pytest.approx(1, abs=1e-3)


@continuous
def test_cdf_is_the_integral_of_the_density(d: Distribution) -> None:
    """Planted: the cdf of the base instead of the tilted one."""
    limits, _, _ = panels(d, [])

    def holds(cdf: Score) -> bool:
        climbed = np.diff(cdf(rows(d, len(limits)), limits[:, None])[:, 0])
        return np.allclose(climbed, by_panel(d, type(d).logpdf, []), atol=1e-11, rtol=0)

    assert holds(type(d).cdf)
    if isinstance(d, Binned):
        assert not holds(lambda _, y: d.base.cdf((y - d.loc) / d.scale))


@settings(derandomize=True, deadline=None, database=None, max_examples=60)
@given(level=st.floats(1e-4, 0.9999), name=st.sampled_from(sorted(CONTINUOUS)))
def test_quantile_inverts_cdf(level: float, name: str) -> None:
    """Planted: the quantile of the base at the same level."""
    d = CONTINUOUS[name]
    assert d.cdf(d.quantile([level])[..., 0])[0, 0] == pytest.approx(level, abs=1e-12)
    if isinstance(d, Binned) and name == "binned 40":
        wrong = d.loc + d.scale * d.base.ppf(np.full((1, 1), level))
        assert d.cdf(wrong)[0, 0] != pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize("level", [0.0025, 0.1, 0.3, 0.7, 0.99])
def test_quantile_of_a_sample_is_its_least_point_that_reaches_the_level(level: float) -> None:
    q = SAMPLE.quantile([level])[..., 0]
    assert q[0, 0] in SAMPLE.samples
    assert SAMPLE.cdf(q)[0, 0] >= level - 1e-12
    assert SAMPLE.cdf(np.nextafter(q, -1))[0, 0] < level


def test_a_sample_by_hand() -> None:
    """Planted: the cdf as PIT, which piles ties up on one side."""
    d = Empirical(np.array([[[0.0, 1.0, 0.0, 0.0]]]))
    assert [d.pit(one(y))[0, 0] for y in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [0, 0.375, 0.75, 0.875, 1]
    assert d.cdf(one(0.0))[0, 0] == 0.75
    hundred = Empirical(np.arange(1.0, 101.0)[None, None])
    levels = np.arange(1, 100) / 100
    assert hundred.quantile(levels)[0, 0].tolist() == list(range(1, 100))


@continuous
@pytest.mark.parametrize("level", [0.001, 0.3, 0.97])
def test_crps_is_the_integral_of_the_squared_error_of_the_cdf(
    d: Distribution, level: float
) -> None:
    """Planted: the absolute error of the cdf."""
    y = d.quantile([level])[..., 0]
    limits, x, weights = panels(d, [float(y[0, 0])])
    cdf = rows(d, x.size).cdf(x.reshape(-1, 1)).reshape(x.shape)
    happened = np.arange(len(x)) >= np.abs(limits - y[0, 0]).argmin()
    error = cdf - happened[:, None]
    # Binned's quadrature between y and its bin's edges does not cut at a skewed base's mode.
    kinked = isinstance(d, Binned) and isinstance(d.base, SkewT)
    # Nor does a pool's, which is between members, at theirs.
    rough = isinstance(d, Mixture) and not all(
        isinstance(m, Gaussian | StudentT) for m in d.members
    )
    exact = (weights * error**2).sum()
    assert d.crps(y)[0, 0] == pytest.approx(exact, rel=1e-4 if rough else 1e-7 if kinked else 1e-9)
    assert d.crps(y)[0, 0] != pytest.approx((weights * np.abs(error)).sum(), rel=1e-3)


@every
def test_crps_agrees_with_an_ensemble_of_quantiles(d: Distribution) -> None:
    y = d.quantile([0.8])[..., 0]
    ensemble = d.quantile((np.arange(40_000) + 0.5) / 40_000)
    wanted = np.asarray(scoringrules.crps_ensemble(y, ensemble, estimator="qd", backend="numpy"))
    # An ensemble cuts the tails off, which matters most where the variance is infinite.
    assert d.crps(y)[0, 0] == pytest.approx(wanted[0, 0], rel=2e-3)


def test_crps_of_a_sample_is_the_plain_one() -> None:
    """Planted: the fair estimator, which takes the sample for a draw."""
    y = np.array([[0.004]])
    sample = SAMPLE.samples[0, 0]
    plain = np.abs(sample - 0.004).mean() - np.abs(sample[:, None] - sample).mean() / 2
    fair = np.asarray(scoringrules.crps_ensemble(y, SAMPLE.samples, estimator="pwm"))
    assert SAMPLE.crps(y)[0, 0] == pytest.approx(plain, rel=1e-10)
    assert fair[0, 0] != pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 40, 128])
@pytest.mark.parametrize("df", [1.2, 4.0, 200.0])
def test_uniform_opinion_is_the_base(count: int, df: float) -> None:
    """p = w gives the base to 1e-12 of everything. Planted: one bin tilted by a thousandth."""
    base = StudentT(np.array([[0.0, 0.2]]), np.array([[1.0, 0.7]]), one(df))
    edges = edges_of(base, count)
    w = bin_masses(base, edges)
    scale = np.exp(np.random.default_rng(0).normal(size=(50, 2)))
    tilted = Binned(base, edges, np.broadcast_to(w, (50, 2, count)), scale)
    plain = StudentT(base.loc * scale, base.scale * scale, base.df)
    y = plain.sample(np.random.default_rng(1), 1)[0]
    for name in ("logpdf", "cdf", "crps"):
        wanted = getattr(plain, name)(y)
        assert np.allclose(getattr(tilted, name)(y), wanted, rtol=1e-12, atol=1e-12), name
    assert np.allclose(tilted.mean(), plain.mean(), rtol=1e-12, atol=1e-12)
    levels = [0.01, 0.2, 0.77, 0.99]
    assert np.allclose(tilted.quantile(levels), plain.quantile(levels), rtol=1e-11, atol=1e-11)
    w = w + 1e-3 * (np.arange(count) == 0)
    wrong = Binned(
        base, edges, np.broadcast_to(w / w.sum(-1, keepdims=True), (50, 2, count)), scale
    )
    assert not np.allclose(wrong.crps(y), plain.crps(y), rtol=1e-6)


@every
def test_crash_has_a_finite_score_that_falls_with_its_size(d: Distribution) -> None:
    """Mistake 11. Planted: a density of finite bins."""
    quartiles = d.quantile([0.25, 0.75])[0, 0]
    y = quartiles[0] - np.array([9.0, 12.0, 16.0, 40.0])[:, None] * np.diff(quartiles)
    scores = rows(d, len(y)).logpdf(y)
    assert np.isfinite(scores).all()
    assert (np.diff(scores[:, 0]) < 0).all()
    reach = (quartiles[0] - 5 * np.ptp(quartiles), quartiles[1] + 5 * np.ptp(quartiles))
    draws = d.sample(np.random.default_rng(0), 999)
    counts, limits = np.histogram(draws, bins=40, range=reach, density=True)
    bins = np.searchsorted(limits, y[:, 0]) - 1  # -1, the appended zero, below the first limit
    assert np.append(counts, 0.0)[bins].max() == 0


def test_tail_quantiles_lie_beyond_the_last_edge() -> None:
    d = binned(40, df=4.0)
    assert d.quantile([1e-6])[0, 0, 0] < d.loc[0, 0] + d.scale[0, 0] * d.edges[0, 0]
    assert d.quantile([1 - 1e-6])[0, 0, 0] > d.loc[0, 0] + d.scale[0, 0] * d.edges[0, -1]


@pytest.mark.parametrize("df", [1.5, 4.0, 30.0, 200.0])
@pytest.mark.parametrize("z", [-0.3, 3.0, -12.0, 1e5])
def test_student_t_agrees_with_forty_digits(df: float, z: float) -> None:
    with mpmath.workdps(40):
        v, x = mpmath.mpf(df), mpmath.mpf(z)
        wanted = mpmath.loggamma((v + 1) / 2) - mpmath.loggamma(v / 2)
        wanted -= mpmath.log(v * mpmath.pi) / 2 + (v + 1) / 2 * mpmath.log1p(x * x / v)
        tail = mpmath.betainc(v / 2, 0.5, 0, v / (v + x * x), regularized=True) / 2
    d = StudentT(one(0.0), one(1.0), one(df))
    assert d.logpdf(one(z))[0, 0] == pytest.approx(float(wanted), rel=1e-13)
    if tail > 1e-300:
        assert d.cdf(one(-abs(z)))[0, 0] == pytest.approx(float(tail), rel=1e-12)
        assert d.sf(one(abs(z)))[0, 0] == pytest.approx(float(tail), rel=1e-12)


def test_df_is_capped_and_a_mean_that_does_not_exist_is_refused() -> None:
    free, capped = (StudentT(one(0), one(1), one(df)) for df in (1e7, 200.0))
    assert free.logpdf(one(2.0)) == capped.logpdf(one(2.0))
    heavy = StudentT(one(0), one(1), one(0.9))
    assert np.isfinite(heavy.logpdf(one(5.0)))
    for ask in (heavy.mean, lambda: heavy.crps(one(1.0))):
        with pytest.raises(ValueError, match=r"df\[0, 0\]=0.9 is not above 1"):
            ask()


@every
def test_an_unknown_outcome_has_no_score(d: Distribution) -> None:
    for name in ("logpdf", "cdf", "pit", "crps"):
        assert np.isnan(getattr(d, name)(one(np.nan))), name


@every
def test_samples_follow_the_cdf(d: Distribution) -> None:
    draws = d.sample(np.random.default_rng(5), 2000)
    assert draws.shape == (2000, *d.shape)
    pit = rows(d, 2000).pit(draws[:, 0])[:, 0]
    assert stats.kstest(pit, "uniform").pvalue > 1e-3


def test_an_impossible_bin_is_floored_and_a_void_one_refused() -> None:
    d = CONTINUOUS["binned with an empty bin"]
    assert isinstance(d, Binned)
    floor = d.logpdf(one(-0.005)) - d.base.logpdf(one(-0.5)) + np.log(d.scale)
    assert floor[0, 0] == pytest.approx(np.log(1e-6), abs=1e-5)
    base, void = Gaussian(one(0), one(1)), np.array([[-1.0, 30.0, 31.0]])
    kept = Binned(base, void, np.array([[[0.2, 0.8, 0.0, 0.0]]]), one(1.0))
    y = rows(kept, 3), np.array([[-2.0], [30.5], [33.0]])
    for name in ("logpdf", "cdf", "crps"):
        assert np.isfinite(getattr(y[0], name)(y[1])).all(), name
    assert np.isfinite(kept.quantile([1e-9, 0.5, 1 - 1e-15])).all()
    with pytest.raises(ValueError, match=r"probabilities\[0, 0, 2\]=0.1 is not 0 in a bin without"):
        Binned(base, void, np.array([[[0.2, 0.7, 0.1, 0.0]]]), one(1.0))


def test_a_pareto_tail_is_scipys() -> None:
    """Planted: the tail's scale in place of the distance."""
    d = pareto_tailed()
    x = np.array([0.001, 0.02, 0.5])[:, None]
    theirs = stats.genpareto(0.1, scale=0.02 * 0.5)
    top = d.knots[0, 0, -1]
    ours = rows(d, 3)
    np.testing.assert_allclose(1 - ours.cdf(top + x), 0.05 * theirs.sf(x), rtol=1e-6)
    np.testing.assert_allclose(
        ours.logpdf(top + x),
        np.log(0.05) + stats.genpareto.logpdf(x, 0.1, scale=0.02 * 0.5),
        rtol=1e-12,
    )
    assert ours.cdf(top + x)[0, 0] != pytest.approx(1 - 0.05 * theirs.sf(0.01), rel=1e-4)


def test_a_pool_is_the_mean_of_densities_not_of_quantiles() -> None:
    """Planted: the mean of the members' quantiles, which is too sharp."""
    members = Gaussian(one(-0.02), one(0.01)), Gaussian(one(0.02), one(0.01))
    d = Mixture(members, np.array([[0.5, 0.5]]))
    y = one(0.013)
    assert d.cdf(y) == pytest.approx(np.mean([m.cdf(y) for m in members]))
    assert np.exp(d.logpdf(y)) == pytest.approx(np.mean([np.exp(m.logpdf(y)) for m in members]))
    planted = float(np.mean([m.quantile([0.9]) for m in members]))
    assert d.cdf(one(planted))[0, 0] != pytest.approx(0.9, abs=0.01)
    alone = Mixture(members, np.array([[1.0, 0.0]]))
    assert (alone.crps(y), alone.mean()) == (members[0].crps(y), members[0].mean())


REFUSED = {
    r"scale\[0, 0\]=-1.0 is not positive": lambda: Gaussian(one(0), one(-1)),
    r"loc\[0, 0\]=nan is not finite": lambda: Gaussian(one(np.nan), one(1)),
    r"df\[0, 0\]=0.0 is not positive": lambda: StudentT(one(0), one(1), one(0)),
    r"samples\[0, 0, 1\]=inf is not finite": lambda: Empirical(np.array([[[0.0, np.inf]]])),
    r"samples has 1 point": lambda: Empirical(np.zeros((1, 1, 1))),
    r"level\[1\]=1.0 is not inside": lambda: SAMPLE.quantile([0.5, 1.0]),
    r"sum of probabilities\[0, 0\]=0.9": lambda: Binned(
        Gaussian(one(0), one(1)), one(0), np.array([[[0.4, 0.5]]]), one(1)
    ),
    r"step of edges\[0, 0\]=0.0 is not positive": lambda: Binned(
        Gaussian(one(0), one(1)), np.zeros((1, 2)), np.full((1, 1, 3), 1 / 3), one(1)
    ),
    r"step of knots\[0, 0, 0\]=0.0 is not positive": lambda: ParetoTailed(
        np.array([0.1, 0.9]), np.zeros((1, 1, 2)), np.ones((1, 1, 2)), np.full((1, 1, 2), 0.2)
    ),
    r"xi\[0, 0, 1\]=1.0 is not below 1": lambda: ParetoTailed(
        np.array([0.1, 0.9]), np.array([[[0.0, 1.0]]]), np.ones((1, 1, 2)), np.array([[[0.2, 1.0]]])
    ),
    r"beta ends in shape \(1, 1, 1\): wanted \(1, 1, 2\)": lambda: ParetoTailed(
        np.array([0.1, 0.9]), np.array([[[0.0, 1.0]]]), np.ones((1, 1, 1)), np.full((1, 1, 2), 0.2)
    ),
    r"sum of weights\[0\]=0.9": lambda: Mixture((SAMPLE, SAMPLE), np.array([[0.4, 0.5]])),
    r"weights has shape \(1, 1\): wanted \(1, 2\)": lambda: Mixture((SAMPLE,) * 2, one(1)),
    r"probabilities has shape \(1, 1, 3\): wanted \(1, 1, 2\)": lambda: Binned(
        Gaussian(one(0), one(1)), one(0), np.full((1, 1, 3), 1 / 3), one(1)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_the_value(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


@every
def test_take_keeps_rows_and_answers(d: Distribution) -> None:
    two = rows(d, 2)
    assert two.shape == (2, 1)
    assert two.take(np.array([False, True])).mean() == d.mean()
    with pytest.raises(AttributeError):
        d.__setattr__("scale", one(1))


def test_a_year_of_forecasts_takes_seconds() -> None:
    """Measured on one core: 0.3 s for tokens (N = 1000, H = 3, K = 128), 0.4 s for samples."""
    rng = np.random.default_rng(0)
    base = StudentT(np.zeros((1, 3)), np.ones((1, 3)), np.full((1, 3), 4.0))
    edges = edges_of(base, 128)
    p, y = rng.dirichlet(np.ones(128), size=(1000, 3)), rng.normal(size=(1000, 3)) * 0.01
    start = time.perf_counter()
    tokens = Binned(base, edges, p, np.full((1000, 3), 0.01))
    samples = Empirical(rng.normal(size=(1000, 3, 1000)) * 0.01)
    for d in (tokens, samples):
        assert np.isfinite([d.logpdf(y), d.crps(y), d.pit(y), d.quantile([0.5])[..., 0]]).all()
    assert time.perf_counter() - start < 8


def test_quantiles_of_equal_shapes_are_found_once_and_are_the_same_bits():
    """Runs of origins of one symbol, then the same origins one by one. Planted: a run too long."""
    rng = np.random.default_rng(8)
    df, skew = (np.repeat(rng.uniform(*ends, (3, 2)), 5, axis=0) for ends in ((3, 9), (-0.4, 0.4)))
    loc, scale = rng.normal(size=(15, 2)), rng.uniform(1, 2, (15, 2))
    levels, asked = [0.001, 0.3, 0.9], []
    for law in (StudentT(loc, scale, df), SkewT(loc, scale, skew, df)):
        alone = [law.take(np.array([i])).quantile(levels) for i in range(15)]
        assert (law.quantile(levels) == np.concatenate(alone)).all()
    once_a_run(lambda a, b: asked.append(a.shape) or a + b, df, np.ones((4, 1, 1)))
    assert asked == [(4, 3, 2)]
    df[4, 1] = 2.5  # the last of a run has another shape
    law = StudentT(loc, scale, df)
    assert (law.quantile(levels)[4] == law.take(np.array([4])).quantile(levels)[0]).all()


@every
def test_a_column_and_tables_keep_answers(d: Distribution) -> None:
    y = np.tile(rows(d, 7).quantile([0.001, 0.1, 0.5, 0.9, 0.9999])[0, 0][:, None], (16, 1))
    many = rows(d, len(y))
    quick = many.at(0).tabled()
    assert quick.shape == (len(y), 1)
    np.testing.assert_array_equal(many.at(0).cdf(y), many.cdf(y))
    np.testing.assert_allclose(quick.cdf(y), many.cdf(y), rtol=1e-13)
    np.testing.assert_allclose(quick.logpdf(y), many.logpdf(y), rtol=1e-13)
    some = np.array([3, 1])
    np.testing.assert_array_equal(quick.take(some).cdf(y[some]), quick.cdf(y)[some])


@pytest.mark.parametrize("df", [2.01, 2.5, 4.3, 11.0, 40.0, 200.0])
def test_a_student_table_is_the_cdf(df: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a series of five terms."""
    z = -np.concatenate([np.geomspace(1e-9, 1e6, 20_001), np.linspace(0, 13, 20_001)])[:, None]
    wide = np.full(z.shape, df)
    known = special.stdtr(df, z)
    np.testing.assert_allclose(StudentTable.of(wide).cdf(z), known, rtol=1e-13)
    monkeypatch.setattr(student_table, "ORDER", 5)
    assert np.abs(StudentTable.of(wide).cdf(z) / np.where(known > 0, known, 1) - 1).max() > 1e-13


def test_a_student_table_against_forty_digits() -> None:
    for df, z in ((2.3, -5.1), (5.0, -0.37), (9.7, -2.2), (60.0, -6.5)):
        half = mpmath.mpf(df) / 2
        x = mpmath.mpf(df) / (mpmath.mpf(df) + mpmath.mpf(z) ** 2)
        exact = float(mpmath.betainc(half, 0.5, 0, x, regularized=True) / 2)
        assert StudentTable.of(one(df)).cdf(one(z))[0, 0] == pytest.approx(exact, rel=1e-13)


def test_shapes_of_ones_own_have_no_tables_whoever_is_asked() -> None:
    """With a table of 38 kB an origin a pool of such a head took ten times as long."""
    shape = (64, 1)
    zero, scale, skew = np.zeros(shape), np.full(shape, 0.01), np.full(shape, -0.1)
    own = OwnSkewT(zero, scale, skew, np.linspace(3, 9, 64)[:, None])
    assert own.tabled() is own
    assert isinstance(own.take(np.arange(3)).at(0), OwnSkewT)
    shared = SkewT(zero, scale, skew, np.full(shape, 5.0))
    assert all(type(d.tabled()) is not SkewT for d in (shared, shared.take(np.arange(1))))


@pytest.mark.parametrize("df", [2.1, 5.0, 90.0])
def test_the_ends_of_a_skew_t_are_at_its_ends(df: float) -> None:
    law = SkewT(one(0.0), one(0.01), one(-0.1), one(df))
    ends = law.ppf(np.array([0.0, 1e-300, 0.5, 1.0])[:, None, None])[:, 0, 0]
    assert ends[0] == -np.inf
    assert ends[1] < -0.1
    assert np.isfinite(ends[2])
    assert ends[3] == np.inf


def test_bins_are_counted_by_halving() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 8, 91):
        edges = np.sort(rng.standard_normal((5, 3, count)).round(1), axis=-1)
        y = np.append(rng.standard_normal(29).round(1), np.nan).reshape(2, 5, 3)
        np.testing.assert_array_equal(bins_of(edges, y), (edges <= y[..., None]).sum(axis=-1))


def test_a_pool_of_one_horizon_leaves_out_who_does_not_count() -> None:
    narrow, wide = (SkewT(np.zeros((1, 2)), one(s), one(-0.1), one(5.0)) for s in (0.01, 0.03))
    pooled = Mixture((narrow, wide), np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert [len(pooled.at(h).members) for h in (0, 1)] == [1, 2]
    u, y = np.array([0.01, 0.3, 0.999]), np.full((1, 2), 0.01)
    np.testing.assert_array_equal(pooled.quantile(u)[:, 0], narrow.quantile(u)[:, 0])
    np.testing.assert_array_equal(pooled.crps(y)[:, 0], narrow.crps(y)[:, 0])
    assert (pooled.quantile(u)[:, 1, ::2] != narrow.quantile(u)[:, 1, ::2]).all()


def test_an_inversion_asks_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: Newton's steps alone, which ask four times a level and more."""
    asked: list[int] = []
    original = Mixture.cdf_and_logpdf

    def counted(self: Mixture, y: Floats) -> tuple[Floats, Floats]:
        asked.append(y.size)
        return original(self, y)

    monkeypatch.setattr(Mixture, "cdf_and_logpdf", counted)
    pooled = rows(CONTINUOUS["pool of smooth ones"], 64)
    levels = np.linspace(0.01, 0.99, 25)
    u = pooled.quantile(levels)
    per_level = sum(asked) / u.size
    np.testing.assert_allclose(pooled.cdf(u[..., 3]), levels[3], rtol=1e-12)
    asked.clear()
    monkeypatch.setattr(inversion, "_step", lambda _, miss, slope: -miss * slope)
    np.testing.assert_allclose(pooled.quantile(levels), u, rtol=1e-9)
    assert per_level < 4 < sum(asked) / u.size


def test_a_sample_in_parts_has_the_bits_of_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    d, y = Empirical(rng.standard_t(4, (9, 2, 60))), rng.standard_t(4, (9, 2))
    found = []
    for block in (1, 250, 1 << 30):
        monkeypatch.setattr(empirical, "BLOCK", block)
        found.append((d.logpdf(y), d.crps(y)))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
