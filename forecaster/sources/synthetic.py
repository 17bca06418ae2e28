"""Bars whose law is known exactly: controls that a forecaster must fail on (the null) or gain on.

T bars, K steps inside a bar. Let r[t] be the log return from close t-1 to close t, F[t-1] all that
happened before. Every law has r[t] | F[t-1] ~ Normal(mean[t], std[t]^2), and says what they are:

WALK    mean 0, std S                                       nothing can be forecast but the spread
AR1     mean PHI r[t-1], std S, with r[-1] = 0              the sign of the next return, a little
GARCH   mean 0, std^2[t] = W + A r[t-1]^2 + B std^2[t-1],   the spread
        std^2[0] = W / (1 - A - B)

Inside a bar the log price goes from close t-1 to close t in K + 1 independent normal steps of equal
mean and variance. The first is the gap to the open; high and low are the extremes of the open and
the K points after it, so a range is a little narrower than that of a continuous path. The first bar
starts from 100. Volume is log-normal, independent of everything: it tells nothing. Adjustment is 1.
The bar's length changes the times, not the law. Bars depend on law and seed only: a longer series
begins with the shorter one. A symbol is law and seed: WALK-1, AR1-7, GARCH-42.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from typing import Protocol

import numpy as np

from forecaster.bars import Bars, Floats, Times, duration
from forecaster.errors import DataError, suggestion
from forecaster.provenance import Provenance
from forecaster.sources.protocol import Delivery, clip, now_utc
from forecaster.symbols import Symbol

STEPS = 32  # K
FIRST_CLOSE = 100.0
EPOCH = np.datetime64("2000-01-03", "us")  # a Monday
MEDIAN_VOLUME = 1e6
VOLUME_LOG_STD = 0.3
N_BARS = 5000  # as many as the bundled indices have
MOST_BARS = 100_000  # where an end date asks for more


class Law(Protocol):
    """How the next log return is distributed, given the log returns before it."""

    def returns(self, shocks: Floats) -> Floats:
        """Log returns [T] that standard normal shocks [T] make."""
        ...

    def moments(self, log_returns: Floats) -> tuple[Floats, Floats]:
        """Mean and std [T] of log_returns[t] given those before t: no forecast can beat it."""
        ...


@dataclass(frozen=True)
class Walk:
    """The null: returns are independent and equally distributed."""

    std: float = 0.01

    def returns(self, shocks: Floats) -> Floats:
        """S z[t]."""
        return self.std * shocks

    def moments(self, log_returns: Floats) -> tuple[Floats, Floats]:
        """0 and S."""
        return np.zeros_like(log_returns), np.full_like(log_returns, self.std)


@dataclass(frozen=True)
class AutoRegression:
    """A positive control for the mean: R^2 of the best forecast is PHI^2."""

    phi: float = 0.3
    std: float = 0.01

    def returns(self, shocks: Floats) -> Floats:
        """PHI r[t-1] + S z[t]."""
        out, last = np.empty_like(shocks), 0.0
        for t, shock in enumerate(shocks):
            out[t] = last = self.phi * last + self.std * shock
        return out

    def moments(self, log_returns: Floats) -> tuple[Floats, Floats]:
        """PHI r[t-1] and S."""
        before = np.concatenate(([0.0], log_returns[:-1]))[: len(log_returns)]
        return self.phi * before, np.full_like(log_returns, self.std)


@dataclass(frozen=True)
class Garch:
    """A positive control for the spread: long-run std 1 % a bar, persistence 0.97."""

    omega: float = 3e-6
    alpha: float = 0.12
    beta: float = 0.85

    def returns(self, shocks: Floats) -> Floats:
        """std[t] z[t]."""
        out, variance = np.empty_like(shocks), self.omega / (1 - self.alpha - self.beta)
        for t, shock in enumerate(shocks):
            out[t] = np.sqrt(variance) * shock
            variance = self.omega + self.alpha * out[t] ** 2 + self.beta * variance
        return out

    def moments(self, log_returns: Floats) -> tuple[Floats, Floats]:
        """0 and std[t]."""
        variance = np.full_like(log_returns, self.omega / (1 - self.alpha - self.beta))
        for t in range(1, len(log_returns)):
            variance[t] = (
                self.omega + self.alpha * log_returns[t - 1] ** 2 + self.beta * variance[t - 1]
            )
        return np.zeros_like(log_returns), np.sqrt(variance)


LAWS: dict[str, Law] = {"WALK": Walk(), "AR1": AutoRegression(), "GARCH": Garch()}


class Synthetic:
    """The laws above as a source; a symbol is law and seed."""

    name = "synthetic"

    def symbols(self) -> tuple[Symbol, ...]:
        """One series of each law."""
        return tuple(Symbol(f"{law}-1") for law in LAWS)

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        """5000 bars from 2000-01-03, or as many as there are to `end`."""
        law, _, seed = symbol.partition("-")
        if law not in LAWS or not seed.isdecimal():
            raise DataError(
                f"{symbol}: not a synthetic symbol{suggestion(symbol, self.symbols())}"
                f" (a law of {' '.join(LAWS)}, a hyphen and a seed: WALK-1)"
            )
        n_bars = N_BARS
        if end is not None:
            after = np.datetime64(end + timedelta(days=1))
            n_bars = int(np.searchsorted(opening_times(MOST_BARS, interval), after))
        bars = simulate(LAWS[law], int(seed), max(n_bars, 1), symbol, interval)
        provenance = Provenance(
            source=self.name,
            package="forecaster-lab",
            version=version("forecaster-lab"),
            sha256="",
            fetched_at=now_utc(),
            notes=(f"simulated by {LAWS[law]}, seed {seed}",),
        )
        return Delivery(clip(bars, start, end), provenance)


def simulate(law: Law, seed: int, n_bars: int, symbol: str = "TEST", interval: str = "1d") -> Bars:
    """`n_bars` bars of `law`: the same for a seed, and a prefix of any longer series of it."""
    path_seed, volume_seed = np.random.SeedSequence(seed).spawn(2)
    steps = np.random.default_rng(path_seed).standard_normal((n_bars, STEPS + 1))
    log_return = law.returns(steps.sum(axis=1) / np.sqrt(STEPS + 1))
    mean, std = law.moments(log_return)
    steps = mean[:, None] / (STEPS + 1) + std[:, None] / np.sqrt(STEPS + 1) * steps
    before = np.log(FIRST_CLOSE) + np.cumsum(log_return) - log_return
    path = np.exp(before[:, None] + np.cumsum(steps, axis=1))  # [T, K + 1]; its last is the close
    normal = np.random.default_rng(volume_seed).standard_normal(n_bars)
    return Bars(
        symbol=Symbol(symbol),
        interval=interval,
        opened_at=opening_times(n_bars, interval),
        open=path[:, 0],
        high=path.max(axis=1),
        low=path.min(axis=1),
        close=path[:, -1],
        volume=np.rint(MEDIAN_VOLUME * np.exp(VOLUME_LOG_STD * normal)),
        adjustment=np.ones(n_bars),
    )


def opening_times(n_bars: int, interval: str) -> Times:
    """[T] labels: every weekday for daily bars, every `interval` day and night for others."""
    index = np.arange(n_bars)
    if interval == "1d":
        return EPOCH + (index // 5 * 7 + index % 5).astype("timedelta64[D]")
    return EPOCH + index * duration(interval)
