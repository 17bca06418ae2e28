"""Maximum likelihood of arch's models: its recursion, starts and bounds, our gradients.

arch's own search takes differences of the likelihood by each parameter and of each constraint,
which is most of its time. Here the same search has both exactly, and goes on until the log
likelihood is within 1e-8. Where it reports no success arch searches after all; where variances move
so little that the likelihood has several tops, both do and the higher is taken.
n returns, K parameters: mean, recursion, law.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from arch.univariate import EGARCH, GARCH, ConstantMean, SkewStudent, StudentsT
from scipy.optimize import minimize

from forecaster.bars import Floats
from forecaster.econometrics.arch_laws import (
    Backwards,
    Law,
    egarch_backwards,
    garch_backwards,
    skewed_t,
    student_t,
)

TOLERANCE = 1e-8  # nats
ITERATIONS = 200
# Nats over a variance that stands still. Independent draws have tops of fewer, one beside another;
# a daily return has a hundred.
ONE_TOP = 20.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters [K] in arch's order, and residuals over their deviation [n]."""

    parameters: Floats
    shocks: Floats
    converged: bool
    log_likelihood: float  # nats
    gain: float  # nats over a variance that stands still at the mean of the found ones


def most_likely(r: Floats, volatility: GARCH | EGARCH, law: StudentsT | SkewStudent) -> Fit:
    """A constant mean, `volatility` and `law` on returns r [n] in per cent."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the flag says it, and the guards read the flag
        found = Search(r, volatility, law).run()
        if found.converged and found.gain > ONE_TOP:
            return found
        other = _by_arch(r, volatility, law)
        better = not found.converged or other.log_likelihood > found.log_likelihood
        return other if better and (other.converged or not found.converged) else found


class Search:
    """What a trial step needs; all that depends on the returns alone is found once."""

    def __init__(self, r: Floats, volatility: GARCH | EGARCH, law: StudentsT | SkewStudent) -> None:
        self._r, self._volatility = np.ascontiguousarray(r), volatility
        self._law: Law = student_t if isinstance(law, StudentsT) else skewed_t
        exponential = isinstance(volatility, EGARCH)
        self._backwards: Backwards = egarch_backwards if exponential else garch_backwards
        e = r - r.mean()
        self._first = float(volatility.backcast(e))
        self._limits = volatility.variance_bounds(e)
        self._variance = np.zeros(len(r))
        recursion = volatility.starting_values(e)
        volatility.compute_variance(recursion, e, self._variance, self._first, self._limits)
        z = e / np.sqrt(self._variance)
        self.start = np.concatenate(([r.mean()], recursion, law.starting_values(z)))
        self._bounds = [(-np.inf, np.inf), *volatility.bounds(e), *law.bounds(z)]
        self.inner = slice(1, 1 + len(recursion))  # the recursion's, of the parameters

    def run(self) -> Fit:
        """By sequential quadratic programming, as arch."""
        rows, least = self._volatility.constraints()
        rows = np.pad(rows, ((0, 0), (1, len(self.start) - 1 - rows.shape[1])))
        keep = {"type": "ineq", "fun": lambda x: rows @ x - least, "jac": lambda _: rows}
        best = minimize(
            self.loss,
            self.start,
            jac=True,
            method="SLSQP",
            bounds=self._bounds,
            constraints=[keep],
            options={"ftol": TOLERANCE, "maxiter": ITERATIONS},
        )
        loss, _ = self.loss(best.x)
        shocks = (self._r - best.x[0]) / np.sqrt(self._variance)
        level = float(np.exp(np.log(self._variance).mean()))
        total, _, _ = self._law(best.x[self.inner.stop :], (self._r - best.x[0]) / level**0.5)
        still = 0.5 * len(shocks) * np.log(level) - total
        sound = bool(best.status == 0 and np.isfinite(loss))
        return Fit(best.x, shocks, sound, -loss, still - loss)

    def loss(self, x: Floats) -> tuple[float, Floats]:
        """Negative log likelihood [nats] of parameters [K], and its gradient [K]."""
        recursion, v = np.ascontiguousarray(x[self.inner]), self._variance
        e = self._r - x[0]
        self._volatility.compute_variance(recursion, e, v, self._first, self._limits)
        deviation = np.sqrt(v)
        z = e / deviation
        total, slope, by_law = self._law(x[self.inner.stop :], z)
        by_h = -0.5 * (1 + z * slope)
        by_inner, by_residual = self._backwards(recursion, e, v, self._first, by_h)
        by_mean = -float((slope / deviation + by_residual).sum())
        gradient = np.concatenate(([by_mean], by_inner, by_law))
        return 0.5 * float(np.log(v).sum()) - total, -gradient


def _by_arch(r: Floats, volatility: GARCH | EGARCH, law: StudentsT | SkewStudent) -> Fit:
    """arch's own search."""
    model = ConstantMean(r, volatility=volatility, distribution=law, rescale=False)
    found = model.fit(disp="off", show_warning=False)
    sound = found.convergence_flag == 0
    parameters, shocks = np.array(found.params), np.asarray(found.std_resid)
    return Fit(parameters, shocks, sound, found.loglikelihood, np.nan)
