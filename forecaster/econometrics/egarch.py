"""EGARCH(1,1) with a leverage term, by the arch package, guarded; its forecasts in closed form.

    ln v[t+1] = omega + alpha (|e[t]| - sqrt(2 / pi)) + gamma e[t] + beta ln v[t]
    e[t] = (r[t] - mu) / sqrt(v[t])

Source: Nelson, Conditional Heteroskedasticity in Asset Returns (Econometrica 1991). With
independent e, the expected variance k bars on is a product of means of exp(beta^j g(e)).
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from arch import arch_model

from forecaster.bars import Floats
from forecaster.econometrics.garch import (
    KEPT,
    LARGEST_MEAN,
    LARGEST_PERSISTENCE,
    PER_CENT,
    returns_to_fit,
)
from forecaster.econometrics.memo import remembered

CENTRE = math.sqrt(2 / math.pi)
# e is cut here in the recursion: the response is exponential, and a day of 20 deviations would
# multiply the variance by 50.
LARGEST_SHOCK = 10.0


@dataclass(frozen=True, eq=False)
class Egarch:
    """Parameters in log-return units; `shocks` are the residuals that expectations are taken of."""

    mu: float
    omega: float
    alpha: float
    gamma: float  # less than zero: losses raise the variance more
    beta: float
    start: float  # variance
    shocks: Floats  # [n]

    def next_variance(self, log_return: Floats) -> Floats:
        """[T] variance of the bar after each; a NaN return has no shock. Causal."""
        out, log_variance = np.empty(len(log_return)), math.log(self.start)
        for t, r in enumerate(log_return.tolist()):
            e = (r - self.mu) * math.exp(-0.5 * log_variance)
            e = max(-LARGEST_SHOCK, min(e, LARGEST_SHOCK))
            news = 0.0 if math.isnan(r) else self.alpha * (abs(e) - CENTRE) + self.gamma * e
            log_variance = self.omega + news + self.beta * log_variance
            out[t] = log_variance
        return np.exp(out)

    def cumulative_variance(self, next_variance: Floats, horizon: int) -> Floats:
        """Sum of the expected variances of the next `horizon` bars."""
        level = self.omega / (1 - self.beta)
        news = self.alpha * (np.abs(self.shocks) - CENTRE) + self.gamma * self.shocks
        excess = np.log(next_variance) - level  # of ln v over its own mean
        total, log_gain, power = np.zeros_like(next_variance), 0.0, 1.0
        for _ in range(horizon):
            total = total + np.exp(level + power * excess + log_gain)
            log_gain += math.log(np.exp(power * news).mean())
            power *= self.beta
        return total


@remembered(KEPT)
def fit_egarch(log_return: Floats) -> Egarch | None:
    """Fit to log returns [n] under a skewed t, then to clipped ones; None where no fit is sound."""
    for data in returns_to_fit(log_return):
        fitted = _fit_once(data)
        if fitted is not None:
            return fitted
    return None


def _fit_once(r: Floats) -> Egarch | None:
    """One call of arch, and the guard."""
    model = arch_model(PER_CENT * r, vol="EGARCH", p=1, o=1, q=1, dist="skewt", rescale=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flag says it, and the guard reads the flag
        result = model.fit(disp="off", show_warning=False)
    mu, omega, alpha, gamma, beta = (float(x) for x in result.params.iloc[:5])
    # ln of a variance in per cent squared: the unit moves the constant.
    omega -= (1 - beta) * 2 * math.log(PER_CENT)
    shocks = np.asarray(result.std_resid)
    known = np.isfinite([mu, omega, alpha, gamma, beta]).all() and np.isfinite(shocks).all()
    sound = (
        result.convergence_flag == 0
        and known
        and abs(mu / PER_CENT) <= LARGEST_MEAN
        and abs(beta) <= LARGEST_PERSISTENCE
    )
    if not sound:
        return None
    shocks = np.clip(shocks, -LARGEST_SHOCK, LARGEST_SHOCK)
    return Egarch(mu / PER_CENT, omega, alpha, gamma, beta, float(np.var(r)), shocks)
