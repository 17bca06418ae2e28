"""GARCH(1,1)-t and GJR by the arch package, guarded: a fit that explodes is refused.

variance[t+1] = omega + (alpha + gamma 1{r[t] < mu}) (r[t] - mu)^2 + beta variance[t]

gamma = 0: Bollerslev (1986, 1987); else Glosten, Jagannathan and Runkle (JF 1993).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from arch.univariate import GARCH, SkewStudent, StudentsT
from scipy.signal import lfilter

from forecaster.bars import Floats
from forecaster.econometrics.arch_fit import most_likely
from forecaster.econometrics.memo import remembered

Law = Literal["garch-t", "gjr-skew-t"]
KEPT = 2048  # fits: symbols come by the hundred; of a few hundred bytes, EGARCH of 40 KB
PER_CENT = 100.0  # arch asks for returns of this size; parameters below are back in log returns
FEWEST = 100  # returns
CLIP = 10.0  # robust standard deviations; for the second try only
# A mean beyond 1 % a bar or a persistence of one is not a model of returns but a failed
# optimisation (seen: mu = -9.5e6 for a share that fell 52 % in a day, reported with convergence
# flag 4).
LARGEST_MEAN = 0.01
LARGEST_PERSISTENCE = 0.9999


@dataclass(frozen=True)
class Garch:
    """Parameters in log-return units, and the variance that the recursion starts from."""

    mu: float
    omega: float
    alpha: float
    beta: float
    start: float
    gamma: float = 0.0  # more for losses

    @property
    def persistence(self) -> float:
        """alpha + gamma / 2 + beta, below one: half of the shocks are losses."""
        return self.alpha + self.gamma / 2 + self.beta

    def next_variance(self, log_return: Floats) -> Floats:
        """[T] variance of the bar after each; NaN returns count as the mean. Causal."""
        known = np.isfinite(log_return)
        shock = np.where(known, (log_return - self.mu) ** 2, self.start)
        with np.errstate(invalid="ignore"):
            weight = self.alpha + self.gamma * np.where(known, log_return < self.mu, 0.5)
        drive = self.omega + weight * shock
        first = np.array([self.beta * self.start])
        variance, _ = lfilter([1.0], [1.0, -self.beta], drive, zi=first)
        return np.asarray(variance)

    def cumulative_variance(self, next_variance: Floats, horizon: int) -> Floats:
        """Sum of the expected variances of the next `horizon` bars, in closed form."""
        level = self.omega / (1 - self.persistence)
        reach = (1 - self.persistence**horizon) / (1 - self.persistence)
        return horizon * level + (next_variance - level) * reach


@remembered(KEPT)
def fit_garch(log_return: Floats, law: Law = "garch-t") -> Garch | None:
    """Fit to log returns [n], then to clipped ones; None where neither passes the guard."""
    for data in returns_to_fit(log_return):
        fitted = _fit_once(data, law)
        if fitted is not None:
            return fitted
    return None


def returns_to_fit(log_return: Floats) -> tuple[Floats, ...]:
    """The known returns, then clipped ones for a second try; nothing of few or still ones."""
    r = log_return[np.isfinite(log_return)]
    spread = float(np.median(np.abs(r - np.median(r)))) / 0.6745 if len(r) else 0.0
    if len(r) < FEWEST or spread == 0.0:
        return ()
    return r, np.clip(r, -CLIP * spread, CLIP * spread)


def _fit_once(r: Floats, law: Law) -> Garch | None:
    """One search, and the guard."""
    o, shape = (0, StudentsT()) if law == "garch-t" else (1, SkewStudent())
    result = most_likely(PER_CENT * r, GARCH(1, o, 1), shape)
    mu, omega, alpha, *gamma, beta = result.parameters[: 4 + o].tolist()
    leverage = gamma[0] if gamma else 0.0
    fitted = Garch(mu / PER_CENT, omega / PER_CENT**2, alpha, beta, float(np.var(r)), leverage)
    sound = (
        result.converged
        and np.isfinite([mu, omega, alpha, leverage, beta]).all()
        and abs(fitted.mu) <= LARGEST_MEAN
        and fitted.omega > 0
        and fitted.persistence <= LARGEST_PERSISTENCE
    )
    return fitted if sound else None
