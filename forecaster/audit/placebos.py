"""Markets in which nothing can be known beyond a fixed shape: a learner that gains there cheats."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from forecaster.audit.emitted import Finding
from forecaster.audit.laws import Law
from forecaster.audit.recalibration import gain
from forecaster.audit.subject import Subject
from forecaster.bars import PRICES, Bars, Floats, Panel
from forecaster.folds import Fold
from forecaster.learner import BackboneForecaster
from forecaster.sources.synthetic import Walk, simulate

SYMBOLS, BARS, TEST_SHARE = 3, 2400, 0.35  # the longest symbols, their last bars
STEPS = 60  # of one seed
MOST_GAIN, MOST_T = 0.001, 2.0  # nats a forecast; a market accuses where both are passed
MOST_ACCUSED = 0.05  # share of markets in which an innocent learner may be accused


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


def gains(learner: BackboneForecaster, kind: str, subject: Subject, markets: int) -> Floats:
    """[markets, 2] nats a forecast and t in each market, of STEPS steps of one seed."""
    few = learner.config.model_copy(update={"steps": STEPS, "seeds": 1})
    return np.array(
        [
            gain(replace(learner, config=few), *market_of(kind, subject, seed))
            for seed in range(markets)
        ]
    )


def accused(found: Floats) -> NDArray[np.bool_]:
    """[markets] in which a gain [markets, 2] is more than MOST_GAIN and MOST_T deviations."""
    return np.asarray((found > (MOST_GAIN, MOST_T)).all(axis=1))


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson (1927)."""
    interval = binomtest(count, of).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def placebo_check(
    kind: str, say: Callable[[str], None], subject: Subject, markets: int
) -> Finding | None:
    """Markets accuse the learner no more often than innocence explains; `say` hears how often."""
    if not subject.learners:
        return None
    learner = subject.learners[0]
    found = gains(learner, kind, subject, markets)
    count = int(accused(found).sum())
    low, high = wilson(count, markets)
    guilty = found[accused(found)] if count else found
    nats, t = guilty[guilty[:, 1].argmax()]
    most = f"{learner.name} gains {nats:+.4f} nats (t = {t:.1f})"
    say(
        f"placebo {kind}: {count} of {markets} markets accuse ({low:.1%} to {high:.1%});"
        f" in the worst of them {most}"
    )
    if low <= MOST_ACCUSED:
        return None
    return Finding(f"{most} where nothing can be known, and in {count} of {markets} such markets")


def placebo_laws(markets: int, say: Callable[[str], None]) -> list[Law]:
    """Both kinds of market."""
    limits = (
        f"gain over the recalibrated prior at most {MOST_GAIN} nats, or t below {MOST_T:g},"
        f" but for {MOST_ACCUSED:.0%} of markets"
    )
    return [
        Law(f"placebo: {kind}", "null", limits, markets, partial(placebo_check, kind, say))
        for kind in ("shuffled", "walk")
    ]
