"""EGARCH(1,1) with a leverage term, by the arch package, guarded; its forecasts in closed form.

    ln v[t+1] = omega + alpha (|e[t]| - sqrt(2 / pi)) + gamma e[t] + beta ln v[t]
    e[t] = (r[t] - mu) / sqrt(v[t])

Source: Nelson, Conditional Heteroskedasticity in Asset Returns (Econometrica 1991). With
independent e, the expected variance k bars on is a product of means of exp(beta^j g(e)).
"""

import math
from dataclasses import dataclass

import numpy as np
from arch.univariate import EGARCH, SkewStudent

from forecaster.bars import Floats
from forecaster.econometrics.arch_fit import most_likely
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
        """[T] variance of the bar after each; a NaN return has no shock. Causal.

        By arch's compiled recursion up to the first return that it knows no rule for, the first of
        all excepted: one that is unknown or beyond LARGEST_SHOCK.
        """
        out = self._plain(log_return)
        done = len(out)
        out.resize(len(log_return))
        log_variance = float(out[done - 1]) if done else math.log(self.start)
        for t, r in enumerate(log_return[done:].tolist(), done):
            e = (r - self.mu) * math.exp(-0.5 * log_variance)
            e = max(-LARGEST_SHOCK, min(e, LARGEST_SHOCK))
            news = 0.0 if math.isnan(r) else self.alpha * (abs(e) - CENTRE) + self.gamma * e
            log_variance = self.omega + news + self.beta * log_variance
            out[t] = log_variance
        return np.exp(out)

    def _plain(self, log_return: Floats) -> Floats:
        """Log variances after bars 0, 1, ... as long as nothing but bar 0 is odd."""
        if not len(log_return) or math.isfinite(log_return[0]):
            return np.empty(0)
        # A residual counts for the variance after it: the last is not used.
        e = np.append(log_return[1:] - self.mu, 0.0)
        variance, free = np.empty(len(e)), np.tile([1e-300, 1e300], (len(e), 1))
        parameters = np.array([self.omega, self.alpha, self.gamma, self.beta])
        EGARCH(1, 1, 1).compute_variance(parameters, e, variance, math.log(self.start), free)
        with np.errstate(invalid="ignore", divide="ignore"):
            plain = np.abs(e[:-1]) < LARGEST_SHOCK * np.sqrt(variance[:-1])
        odd = np.flatnonzero(~plain)
        return np.log(variance[: odd[0] + 1 if len(odd) else len(e)])

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
    """One search, and the guard."""
    result = most_likely(PER_CENT * r, EGARCH(1, 1, 1), SkewStudent())
    mu, omega, alpha, gamma, beta = result.parameters[:5].tolist()
    # ln of a variance in per cent squared: the unit moves the constant.
    omega -= (1 - beta) * 2 * math.log(PER_CENT)
    shocks = result.shocks
    known = np.isfinite([mu, omega, alpha, gamma, beta]).all() and np.isfinite(shocks).all()
    sound = (
        result.converged
        and known
        and abs(mu / PER_CENT) <= LARGEST_MEAN
        and abs(beta) <= LARGEST_PERSISTENCE
    )
    if not sound:
        return None
    shocks = np.clip(shocks, -LARGEST_SHOCK, LARGEST_SHOCK)
    return Egarch(mu / PER_CENT, omega, alpha, gamma, beta, float(np.var(r)), shocks)
