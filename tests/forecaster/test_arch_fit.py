"""The search over arch's models: arch's likelihood, its gradient, and an optimum no lower."""

from typing import Any

import numpy as np
import pytest
from arch.univariate import EGARCH, GARCH, ConstantMean, SkewStudent, StudentsT
from panels import garch_returns
from scipy.optimize import approx_fprime

from forecaster.econometrics import arch_fit
from forecaster.econometrics.arch_fit import most_likely
from forecaster.econometrics.arch_laws import egarch_backwards
from forecaster.econometrics.egarch import CENTRE, LARGEST_SHOCK, Egarch

MODELS = {
    "garch-t": (lambda: GARCH(1, 0, 1), StudentsT),
    "gjr-skew-t": (lambda: GARCH(1, 1, 1), SkewStudent),
    "egarch-skew-t": (lambda: EGARCH(1, 1, 1), SkewStudent),
}


def series() -> list[np.ndarray]:
    """Returns in per cent: calm, wild, few, with a crash, still for weeks."""
    found = [100 * garch_returns(n, seed) for n, seed in ((2000, 1), (600, 2), (150, 3))]
    found += [100 * garch_returns(1500, 4, alpha=0.3, beta=0.6), 3 * found[0], 0.2 * found[1]]
    crash, still = found[0].copy(), found[1].copy()
    crash[900], still[200:230] = -52.0, 0.0
    noise = [np.random.default_rng(seed).standard_t(2.5, 1200) for seed in (5, 6)]
    return [*found, crash, still, *noise]


def arch_model(r: np.ndarray, name: str) -> ConstantMean:
    make, law = MODELS[name]
    return ConstantMean(r, volatility=make(), distribution=law(), rescale=False)


@pytest.mark.parametrize("name", MODELS)
def test_the_likelihood_is_archs_and_the_gradient_its_slope(name: str):
    make, law = MODELS[name]
    for r in series()[:4]:
        search = arch_fit.Search(r, make(), law())
        for nudge in (0.0, 0.01):
            x = search.start * (1 - nudge) + nudge / 3
            model = arch_model(r, name)
            e = r - r.mean()
            first, ends = model.volatility.backcast(e), model.volatility.variance_bounds(e)
            e, inner, v = r - x[0], x[search.inner].copy(), np.zeros(len(r))
            model.volatility.compute_variance(inner, e, v, first, ends)
            theirs = -model.distribution.loglikelihood(x[search.inner.stop :], e, v)
            loss, gradient = search.loss(x)
            assert loss == pytest.approx(theirs, rel=1e-12, abs=1e-8)
            slope = np.array(approx_fprime(x, lambda x, search=search: search.loss(x)[0], 1e-7))
            np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=2e-3 * len(r) ** 0.5)


def behind(r: np.ndarray, name: str) -> float:
    """Nats that arch's own search finds beyond ours, where both say that they arrived."""
    theirs = arch_model(r, name).fit(disp="off", show_warning=False)
    ours = most_likely(r, MODELS[name][0](), MODELS[name][1]())
    if theirs.convergence_flag != 0:
        return 0.0
    assert ours.converged
    return theirs.loglikelihood - ours.log_likelihood


@pytest.mark.parametrize("name", MODELS)
def test_no_optimum_is_lower_than_archs(name: str):
    for i, r in enumerate(series()):
        assert behind(r, name) < 1e-4, i


def test_planted_a_gradient_without_the_news_is_caught(monkeypatch: pytest.MonkeyPatch):
    def planted(*args: Any) -> tuple[np.ndarray, np.ndarray]:
        by, push = egarch_backwards(*args)
        return np.array([by[0], 0 * by[1], *by[2:]]), push

    monkeypatch.setattr(arch_fit, "egarch_backwards", planted)
    assert max(behind(r, "egarch-skew-t") for r in series()[:2]) > 1e-3


def test_planted_one_search_on_noise_is_caught(monkeypatch: pytest.MonkeyPatch):
    """A likelihood without clusters has several tops."""
    monkeypatch.setattr(arch_fit, "ONE_TOP", -np.inf)
    assert behind(series()[8], "egarch-skew-t") > 1


def test_where_the_search_does_not_arrive_arch_searches(monkeypatch: pytest.MonkeyPatch):
    r = series()[1]
    monkeypatch.setattr(arch_fit, "ITERATIONS", 1)
    found = most_likely(r, GARCH(1, 0, 1), StudentsT())
    theirs = arch_model(r, "garch-t").fit(disp="off")
    assert found.converged
    assert found.parameters.tolist() == theirs.params.tolist()
    assert found.log_likelihood == theirs.loglikelihood
    np.testing.assert_array_equal(found.shocks, theirs.std_resid)


def test_the_compiled_egarch_recursion_is_the_written_one():
    """Also where it has no rule; and a later bar changes no bit. Planted: no cut of shocks."""
    model = Egarch(4e-4, -0.2, 0.15, -0.08, 0.977, 1.6e-4, np.zeros(3))
    r = np.concatenate(([np.nan], garch_returns(1200, 6)))
    odd = r.copy()
    odd[700], odd[900], odd[901:950] = 0.9, np.nan, 0.003

    def written(log_return: np.ndarray, largest: float) -> np.ndarray:
        out, h = [], np.log(model.start)
        for x in log_return:
            e = np.clip((x - model.mu) * np.exp(-0.5 * h), -largest, largest)
            news = 0.0 if np.isnan(x) else model.alpha * (abs(e) - CENTRE) + model.gamma * e
            h = model.omega + news + model.beta * h
            out.append(np.exp(h))
        return np.array(out)

    for each in (r, odd, r[1:], r[:1], r[:2], r[:0]):
        ours = model.next_variance(each)
        np.testing.assert_allclose(ours, written(each, LARGEST_SHOCK), rtol=1e-12)
    assert (model.next_variance(odd)[:700] == model.next_variance(r)[:700]).all()
    assert abs(written(odd, np.inf)[701] / model.next_variance(odd)[701] - 1) > 0.1
