"""What a learner gains over a fixed shape: its own prior, recalibrated once.

The rival is the learner's prior, its density f with mass F, times

    g(u) = exp(sum over j of theta[j] P_j(2u - 1)) / Z        u = F(y), P_j Legendre

fitted by maximum likelihood to the u of the training part. A network can learn that much without
knowing anything, so only what goes beyond it counts. N origins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.optimize import minimize

from forecaster.bars import Floats, Panel
from forecaster.distributions import Distribution
from forecaster.folds import Fold
from forecaster.inference import date_means, diebold_mariano
from forecaster.learner import BackboneForecaster
from forecaster.learner.windows import tokenise
from forecaster.protocol import Origins
from forecaster.scores import truth
from forecaster.tokens import BarTokenizer

TERMS = 10  # theta
NODES = 200  # of the quadrature of Z
HORIZON = (1,)


@dataclass(frozen=True)
class Recalibration:
    """theta of g."""

    theta: Floats

    @classmethod
    def of(cls, u: Floats) -> "Recalibration":
        """The most likely theta for u [n] in (0, 1); the likelihood is concave."""
        mean = _terms(u).mean(axis=0)

        def loss(theta: Floats) -> tuple[float, Floats]:
            log_z, slope = _normaliser(theta)
            return log_z - float(theta @ mean), slope - mean

        return cls(minimize(loss, np.zeros(TERMS), jac=True, method="BFGS").x)

    def log_density(self, u: Floats) -> Floats:
        """ln g(u) [n], nats."""
        return np.asarray(_terms(u) @ self.theta - _normaliser(self.theta)[0])


def _terms(u: Floats) -> Floats:
    """[n, TERMS] P_1 .. of 2u - 1."""
    return np.asarray(legendre.legvander(2 * u - 1, TERMS)[:, 1:], dtype=np.float64)


def _normaliser(theta: Floats) -> tuple[float, Floats]:
    """ln Z and its slope."""
    x, w = legendre.leggauss(NODES)
    terms = legendre.legvander(x, TERMS)[:, 1:]
    height = 0.5 * w * np.exp(terms @ theta)
    z = height.sum()
    return float(np.log(z)), height @ terms / z


def gain(forecaster: BackboneForecaster, panel: Panel, fold: Fold) -> tuple[float, float]:
    """(nats a forecast, t) one bar ahead, over dates, against the better of prior and g times it.

    Ten parameters cost something too, and the learner must not be praised for that.
    """
    history, past, origins = fold.history(panel), fold.past(panel), fold.origins(panel)
    fitted = forecaster.fit(history, HORIZON)
    seen = _origins_within(history, fold.fewest_past)
    u = _prior(fitted.tokenizer, history, seen).cdf(truth(history, seen, HORIZON)[0])[:, 0]
    shape = Recalibration.of(u[np.isfinite(u)])
    y = truth(panel, origins, HORIZON)[0]
    prior = _prior(fitted.tokenizer, past, origins)
    plain = prior.logpdf(y)[:, 0]
    bent = plain + shape.log_density(np.nan_to_num(prior.cdf(y)[:, 0], nan=0.5))
    ours = fitted.forecast(past, origins, HORIZON).logpdf(y)[:, 0]
    known = np.isfinite(ours)
    losses = date_means(origins.labels(past)[known], *(-x[known] for x in (ours, plain, bent)))
    mean, statistic, _ = diebold_mariano(losses[0], min(losses[1:], key=np.mean), 1)
    return -mean, -statistic


def _prior(tokenizer: BarTokenizer, past: Panel, origins: Origins) -> Distribution:
    """What an untaught learner forecasts, without its network."""
    members = tokenise(past, tokenizer)
    scales = np.stack(
        [members[i].scales[t] for i, t in zip(origins.member, origins.bar, strict=True)]
    )
    masses = tokenizer.bin_masses()
    return tokenizer.density(scales, np.broadcast_to(masses, (len(scales), *masses.shape)))


def _origins_within(panel: Panel, fewest: int) -> Origins:
    """Every bar with enough past."""
    counts = [max(len(bars) - fewest, 0) for bars in panel]
    member = np.repeat(np.arange(len(counts)), counts)
    return Origins(member, np.concatenate([fewest + np.arange(n) for n in counts]))
