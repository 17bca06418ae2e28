"""The causal scale and the shape of bars."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from panels import bars_from_returns, rewritten_after, times_four, walk_panel

from forecaster.bars import Bars, Panel
from forecaster.features import (
    SCALE_FLOOR,
    causal_mean,
    causal_scale,
    cumulative_return,
    features,
    open_is_real,
    range_variance,
)


def assert_causal(make: Callable[[Bars], np.ndarray], bars: Bars) -> None:
    """Rewriting every bar after a moment leaves the rows up to it byte-equal."""
    for at in (80, 200, len(bars) - 2):
        moment = bars.closed_at[at]
        other = rewritten_after(Panel((bars,)), moment).members[0]
        before, after = make(bars)[: at + 1], make(other)[: at + 1]
        assert before.tobytes() == after.tobytes()


ARRAYS = {
    "scale": lambda b: features(b).scale,
    "log_return": lambda b: features(b).log_return,
    "geometry": lambda b: features(b).geometry,
    "inputs": lambda b: features(b).inputs,
}


@pytest.fixture
def bars() -> Bars:
    return walk_panel(300, 1).members[0]


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_the_future_moves_no_feature(name: str, bars: Bars):
    assert_causal(ARRAYS[name], bars)


def test_a_centred_window_fails_the_law(bars: Bars):
    def centred(b: Bars) -> np.ndarray:
        return np.convolve(np.log(b.close), np.ones(5) / 5, mode="same")

    with pytest.raises(AssertionError):
        assert_causal(centred, bars)


def test_a_scale_of_the_whole_sample_fails_the_law(bars: Bars):
    with pytest.raises(AssertionError):
        assert_causal(lambda b: features(b).scale / np.nanstd(features(b).log_return), bars)


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_prices_times_four_change_no_bit(name: str, bars: Bars):
    scaled = times_four(Panel((bars,))).members[0]
    assert ARRAYS[name](scaled).tobytes() == ARRAYS[name](bars).tobytes()


def test_the_scale_by_hand_on_four_bars():
    x = np.array([np.nan, 1.0, 4.0, 9.0])
    mean = causal_mean(x, 0.5)
    assert np.isnan(mean[0])
    assert mean[1:].tolist() == [1.0, (4 + 0.5 * 1) / 1.5, (9 + 0.5 * 4 + 0.25 * 1) / 1.75]


def test_the_scale_of_a_walk_is_its_deviation():
    bars = walk_panel(5000, 1, sigma=0.02).members[0]
    scale = causal_scale(features(bars).log_return ** 2, 1 - 1 / 2000)
    assert scale[-1] == pytest.approx(0.02, rel=0.05)


def test_a_constant_price_has_the_floor_and_finite_features(bars: Bars):
    flat = np.full(len(bars), 12345.67)
    still = replace(bars, open=flat, high=flat, low=flat, close=flat)
    known = features(still)
    assert (known.scale[1:] == SCALE_FLOOR).all()
    assert np.isfinite(known.inputs[10:, :-1]).all()
    assert (known.geometry[2:, 0] == 0).all()


def test_an_open_that_is_the_previous_close_is_no_open(bars: Bars):
    open_ = bars.open.copy()
    open_[1:] = bars.close[:-1]
    low = np.minimum(bars.low, open_)
    filled = replace(bars, open=open_, high=np.maximum(bars.high, open_), low=low)
    assert not open_is_real(filled)[1:].any()
    assert np.isnan(features(filled).geometry[1:, 1:4]).all()


def test_close_only_bars_fall_back_to_squared_returns(bars: Bars):
    nothing = np.full(len(bars), np.nan)
    closes = replace(bars, open=nothing, high=nothing, low=nothing, volume=nothing)
    variance = range_variance(closes)
    np.testing.assert_allclose(variance[1:], features(closes).log_return[1:] ** 2)
    assert np.isfinite(features(closes).scale[1:]).all()


def test_range_variance_is_unbiased_for_a_fine_walk():
    """Garman-Klass plus the squared gap estimates the variance of the bar's return."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 0.01 / np.sqrt(3000), (1500, 3000))
    path = steps.cumsum(axis=1)
    start = np.concatenate(([0.0], path[:, -1].cumsum()[:-1]))
    level = np.exp(start[:, None] + path)
    bars = bars_from_returns("WALK-0", np.zeros(1500), 0)
    shift = np.exp(rng.normal(0, 1e-6, 1500))  # an open that never equals the close before
    ohlc = {
        "open": level[:, 0] * shift,
        "high": np.maximum(level.max(axis=1), level[:, 0] * shift),
        "low": np.minimum(level.min(axis=1), level[:, 0] * shift),
        "close": level[:, -1],
    }
    found = np.nanmean(range_variance(replace(bars, **ohlc)))
    assert found == pytest.approx(1e-4, rel=0.06)  # the discrete path misses a little of the range


def test_a_bar_that_closes_where_its_range_ends_moved(bars: Bars):
    """Planted: Rogers-Satchell, which is zero for it."""
    close = bars.open * 1.02
    trend = replace(bars, high=close, low=bars.open, close=close)
    up = np.log(trend.high / trend.open)
    planted = up * (up - np.log(trend.close / trend.open))
    gap = np.log(trend.open[1:] / trend.close[:-1])
    assert (range_variance(trend)[1:] > 0.11 * np.log(1.02) ** 2 + gap**2).all()
    assert (planted == 0).all()


def test_a_target_ends_inside_the_bars(bars: Bars):
    returns = cumulative_return(bars, 5)
    assert np.isnan(returns[-5:]).all()
    assert returns[10] == np.log(bars.close[15] / bars.close[10])
    assert np.isnan(cumulative_return(bars.head(5), 5)).all()
