"""GARCH(1,1)-t by the arch package, guarded: a fit that explodes is refused.

variance[t+1] = omega + alpha (r[t] - mu)^2 + beta variance[t]         Bollerslev (1986, 1987)
"""

import warnings
from dataclasses import dataclass

import numpy as np
from arch import arch_model
from scipy.signal import lfilter

from forecaster.bars import Floats

PER_CENT = 100.0  # arch asks for returns of this size; parameters below are back in log returns
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

    @property
    def persistence(self) -> float:
        """alpha + beta, below one."""
        return self.alpha + self.beta

    def next_variance(self, log_return: Floats) -> Floats:
        """[T] variance of the bar after each; NaN returns count as the mean. Causal."""
        shock = np.where(np.isfinite(log_return), (log_return - self.mu) ** 2, self.start)
        drive = self.omega + self.alpha * shock
        first = np.array([self.beta * self.start])
        variance, _ = lfilter([1.0], [1.0, -self.beta], drive, zi=first)
        return np.asarray(variance)

    def cumulative_variance(self, next_variance: Floats, horizon: int) -> Floats:
        """Sum of the expected variances of the next `horizon` bars, in closed form."""
        level = self.omega / (1 - self.persistence)
        reach = (1 - self.persistence**horizon) / (1 - self.persistence)
        return horizon * level + (next_variance - level) * reach


def fit_garch(log_return: Floats) -> Garch | None:
    """Fit to log returns [n], then to clipped ones; None where neither passes the guard."""
    r = log_return[np.isfinite(log_return)]
    spread = float(np.median(np.abs(r - np.median(r)))) / 0.6745 if len(r) else 0.0
    if len(r) < 100 or spread == 0.0:
        return None
    for data in (r, np.clip(r, -CLIP * spread, CLIP * spread)):
        fitted = _fit_once(data)
        if fitted is not None:
            return fitted
    return None


def _fit_once(r: Floats) -> Garch | None:
    """One call of arch, and the guard."""
    model = arch_model(
        PER_CENT * r, mean="Constant", vol="GARCH", p=1, q=1, dist="t", rescale=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flag says it, and the guard reads the flag
        result = model.fit(disp="off", show_warning=False)
    mu, omega, alpha, beta = (float(x) for x in result.params.iloc[:4])
    fitted = Garch(mu / PER_CENT, omega / PER_CENT**2, alpha, beta, float(np.var(r)))
    sound = (
        result.convergence_flag == 0
        and np.isfinite([mu, omega, alpha, beta]).all()
        and abs(fitted.mu) <= LARGEST_MEAN
        and fitted.omega > 0
        and fitted.persistence <= LARGEST_PERSISTENCE
    )
    return fitted if sound else None
