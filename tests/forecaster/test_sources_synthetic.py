"""Synthetic bars obey their stated laws, and each test of a law fails on another law."""

import numpy as np
import pytest
from market import COLUMNS, day

from forecaster.bars import Bars, duration
from forecaster.errors import DataError
from forecaster.sources.synthetic import (
    FIRST_CLOSE,
    LAWS,
    STEPS,
    AutoRegression,
    Garch,
    Law,
    Synthetic,
    Walk,
    opening_times,
    simulate,
)
from forecaster.symbols import Symbol

N = 20_000


def returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(np.concatenate(([FIRST_CLOSE], bars.close))))


def autocorrelation(x: np.ndarray, lag: int = 1) -> float:
    x = x - x.mean()
    return float((x[lag:] * x[:-lag]).mean() / (x * x).mean())


def shocks(law: Law, bars: Bars) -> np.ndarray:
    """What is left of the returns once the law's mean and std are taken out."""
    mean, std = law.moments(returns(bars))
    return (returns(bars) - mean) / std


def is_standard_normal_noise(z: np.ndarray) -> bool:
    """Mean, variance, kurtosis and memory (of values and of squares) within 4 standard errors."""
    root = np.sqrt(len(z))
    return bool(
        abs(z.mean()) * root < 4
        and abs((z**2).mean() - 1) * root / np.sqrt(2) < 4
        and abs((z**4).mean() - 3) * root / np.sqrt(96) < 4
        and all(abs(autocorrelation(z, lag)) * root < 4 for lag in (1, 2, 5))
        and all(abs(autocorrelation(z**2, lag)) * root < 4 for lag in (1, 2, 5))
    )


@pytest.mark.parametrize("name", LAWS)
def test_law_leaves_standard_normal_noise_and_the_others_do_not(name: str) -> None:
    """Planted mistake: standardising by any other law is seen."""
    bars = simulate(LAWS[name], 11, N)
    assert is_standard_normal_noise(shocks(LAWS[name], bars))
    for other in LAWS:
        if other != name:
            assert not is_standard_normal_noise(shocks(LAWS[other], bars)), other
    assert not is_standard_normal_noise(1.05 * shocks(LAWS[name], bars))


def test_signatures_of_the_laws() -> None:
    walk, ar, garch = (returns(simulate(law, 5, N)) for law in (Walk(), AutoRegression(), Garch()))
    error = 4 / np.sqrt(N)
    assert abs(autocorrelation(walk)) < error
    assert abs(autocorrelation(walk**2)) < error
    assert abs(autocorrelation(ar) - 0.3) < error
    assert abs(autocorrelation(garch)) < 3 * error  # heavy tails widen its error
    assert autocorrelation(garch**2) > 0.15
    assert walk.std() == pytest.approx(0.01, rel=0.02)
    assert ar.std() == pytest.approx(0.01 / np.sqrt(1 - 0.09), rel=0.02)
    assert garch.std() == pytest.approx(0.01, rel=0.1)


def test_moments_use_the_past_only() -> None:
    """Planted mistake: moments that see the return itself change when it does."""
    x = returns(simulate(Garch(), 3, 200))
    other = np.concatenate((x[:120], -3 * x[120:]))
    for law in LAWS.values():
        for a, b in zip(law.moments(x), law.moments(other), strict=True):
            assert a[:121].tobytes() == b[:121].tobytes()
    leaky = [np.convolve(each, [0.3], "same") for each in (x, other)]
    assert leaky[0][:121].tobytes() != leaky[1][:121].tobytes()


def test_inside_of_a_bar_is_one_path() -> None:
    bars = simulate(Walk(), 1, N)
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    gap = np.log(bars.open[1:] / bars.close[:-1])
    assert gap.std() == pytest.approx(0.01 / np.sqrt(STEPS + 1), rel=0.03)
    # E[(log range)^2] = 4 ln 2 variance for a continuous path (Parkinson 1980), less for 32 steps.
    share = (np.log(bars.high / bars.low) ** 2).mean() / (4 * np.log(2) * 0.01**2)
    assert 0.75 < share < 0.95
    volume = np.diff(np.log(bars.volume))
    assert abs(np.corrcoef(volume, np.abs(returns(bars))[1:])[0, 1]) < 4 / np.sqrt(N)


@pytest.mark.parametrize("name", LAWS)
def test_same_seed_same_bytes_and_longer_begins_with_shorter(name: str) -> None:
    long = simulate(LAWS[name], 4, 300)
    for n in (1, 2, 7, 64, 77, 299):
        short = simulate(LAWS[name], 4, n)
        for column in COLUMNS:
            assert getattr(long, column)[:n].tobytes() == getattr(short, column).tobytes()
    assert simulate(LAWS[name], 5, 77).close.tobytes() != long.close[:77].tobytes()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_smallest_lengths(n: int) -> None:
    for law in LAWS.values():
        assert len(simulate(law, 1, n)) == n


@pytest.mark.parametrize("interval", ["1m", "1h", "1d", "1wk"])
def test_times(interval: str) -> None:
    times = opening_times(11, interval)
    assert times[0] == np.datetime64("2000-01-03")
    if interval == "1d":
        assert np.is_busday(times.astype("datetime64[D]")).all()
        assert times[10] == np.datetime64("2000-01-17")
    else:
        assert (np.diff(times) == duration(interval)).all()


def test_source() -> None:
    source = Synthetic()
    assert source.symbols() == ("WALK-1", "AR1-1", "GARCH-1")
    got = source.fetch(Symbol("GARCH-7"))
    assert (len(got.bars), got.bars.label(0)) == (5000, "2000-01-03")
    assert got.provenance.notes == (f"simulated by {Garch()}, seed 7",)
    later = source.fetch(Symbol("GARCH-7"), "1d", day("2000-01-04"), day("2020-12-31")).bars
    assert (later.label(0), later.label(-1)) == ("2000-01-04", "2020-12-31")
    assert later.close[:4999].tobytes() == got.bars.close[1:].tobytes()
    hourly = source.fetch(Symbol("WALK-1"), "1h").bars
    assert hourly.interval == "1h"


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("WALK", "; did you mean 'WALK-1'?"),
        ("WALK-X", "; did you mean 'WALK-1'?"),
        ("ARCH-1", "; did you mean 'GARCH-1'?"),
        ("AAPL", "; known: WALK-1, AR1-1, GARCH-1"),
    ],
)
def test_unknown_symbol(symbol: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        Synthetic().fetch(Symbol(symbol))
    assert str(caught.value) == (
        f"{symbol}: not a synthetic symbol{hint}"
        " (a law of WALK AR1 GARCH, a hyphen and a seed: WALK-1)"
    )
