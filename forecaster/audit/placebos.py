"""Markets in which nothing can be known beyond a fixed shape: a learner that gains there cheats.

The rival is the learner's own prior, recalibrated once: its density f, with mass F, times

    g(u) = exp(sum over j of theta[j] P_j(2u - 1)) / Z        u = F(y), P_j Legendre

fitted by maximum likelihood to the u of the training part. A network can learn that much without
knowing anything, so only what goes beyond it counts.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import legendre
from scipy.optimize import minimize

from forecaster.audit.emitted import Finding
from forecaster.audit.laws import Law
from forecaster.audit.poison import PRICES
from forecaster.audit.subject import Subject
from forecaster.bars import Bars, Floats, Panel, Times
from forecaster.distributions import Distribution
from forecaster.folds import Fold
from forecaster.inference import diebold_mariano
from forecaster.learner import BackboneForecaster
from forecaster.learner.windows import tokenise
from forecaster.protocol import Origins
from forecaster.scores import truth
from forecaster.sources.synthetic import Walk, simulate
from forecaster.tokens import BarTokenizer

SYMBOLS, BARS, TEST_SHARE = 3, 2400, 0.35  # the longest symbols, their last bars
STEPS = 60  # of one seed
TERMS = 10  # theta
NODES = 200  # of the quadrature of Z
HORIZON = (1,)
MOST_GAIN, MOST_T = 0.001, 2.0  # nats a forecast; both must be passed to accuse


def shuffled(bars: Bars, rng: np.random.Generator) -> Bars:
    """The same bars relative to the close before them, in another order, on the same dates."""
    before = np.concatenate((bars.close[:1], bars.close[:-1]))
    order = np.concatenate(([0], 1 + rng.permutation(len(bars) - 1)))
    ratios = {name: (getattr(bars, name) / before)[order] for name in PRICES}
    close = bars.close[0] * np.cumprod(ratios["close"] / ratios["close"][0])
    start = np.concatenate((close[:1], close[:-1]))
    prices = {name: start * ratio for name, ratio in ratios.items()} | {"close": close}
    return replace(bars, **_enveloped(prices), volume=bars.volume[order])


def _enveloped(prices: dict[str, Floats]) -> dict[str, Floats]:
    """Products round: the envelope is drawn again around open and close."""
    top = np.fmax(prices["high"], np.fmax(prices["open"], prices["close"]))
    low = np.fmin(prices["low"], np.fmin(prices["open"], prices["close"]))
    unknown = np.isnan(prices["open"])
    return prices | {
        "high": np.where(unknown, np.nan, top),
        "low": np.where(unknown, np.nan, low),
    }


def walked(bars: Bars, rng: np.random.Generator) -> Bars:
    """A normal random walk on the same dates."""
    drawn = simulate(Walk(), int(rng.integers(2**31)), len(bars), str(bars.symbol), bars.interval)
    return replace(drawn, opened_at=bars.opened_at)


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
    _, day = np.unique(_dates(past, origins)[known], return_inverse=True)
    count = np.bincount(day)
    losses = [np.bincount(day, -x[known]) / count for x in (ours, plain, bent)]
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


def _dates(panel: Panel, origins: Origins) -> Times:
    """[N] labels of the origins' bars."""
    out = np.empty(len(origins), dtype="datetime64[us]")
    for i, bars in enumerate(panel):
        rows = origins.member == i
        out[rows] = bars.opened_at[origins.bar[rows]]
    return out


def _origins_within(panel: Panel, fewest: int) -> Origins:
    """Every bar with enough past."""
    counts = [max(len(bars) - fewest, 0) for bars in panel]
    member = np.repeat(np.arange(len(counts)), counts)
    return Origins(member, np.concatenate([fewest + np.arange(n) for n in counts]))


def market_of(kind: str, subject: Subject, seed: int) -> tuple[Panel, Fold]:
    """The placebo's bars, and one fold of them."""
    longest = sorted(subject.whole.panel, key=lambda bars: (-len(bars), str(bars.symbol)))
    members = []
    for i, bars in enumerate(longest[:SYMBOLS]):
        rng = np.random.default_rng((seed, i))
        last = bars.select(slice(-BARS, None))
        members.append(shuffled(last, rng) if kind == "shuffled" else walked(last, rng))
    panel = Panel(tuple(members))
    clock = panel.clock
    at = int((1 - TEST_SHARE) * len(clock))
    return panel, Fold(0, clock[at - 1], clock[at], clock[-1], subject.fold.fewest_past)


def placebo_check(kind: str, subject: Subject, examples: int) -> Finding | None:
    """The learner gains nothing that is both more than MOST_GAIN and MOST_T deviations."""
    if not subject.learners:
        return None
    config = subject.whole.config.learner.model_copy(update={"steps": STEPS, "seeds": 1})
    learner = replace(subject.learners[0], config=config)
    for seed in range(examples):
        panel, fold = market_of(kind, subject, seed)
        nats, t = gain(learner, panel, fold)
        if nats > MOST_GAIN and t > MOST_T:
            what = f"{learner.name} gains {nats:+.4f} nats (t = {t:.1f}) where nothing can be known"
            return Finding(what)
    return None


def placebo_laws() -> list[Law]:
    """Both markets."""

    def law(kind: str, states: str) -> Law:
        return Law(f"placebo: {kind}", "null", states, 1, lambda s, n: placebo_check(kind, s, n))

    limits = f"gain over the recalibrated prior at most {MOST_GAIN} nats, or t below {MOST_T:g}"
    return [law("shuffled", limits), law("walk", limits)]
