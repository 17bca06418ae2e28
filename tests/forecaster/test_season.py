"""The season of bars within a day: from labels alone, of the right hour, in every scale model."""

from dataclasses import replace

import numpy as np
import pytest
from hourly import HOUR, MONDAY, busy_hours, seasonal_bars, session_labels, week_labels
from panels import garch_panel, rewritten_after

from forecaster.bars import Bars, Floats, Panel
from forecaster.baselines import BASELINES
from forecaster.config import LearnerConfig
from forecaster.econometrics import memo
from forecaster.econometrics import regressors as regressor_module
from forecaster.econometrics import season as season_module
from forecaster.econometrics.harx import RHO, fit_harx, fit_horizons
from forecaster.econometrics.memo import forget
from forecaster.econometrics.regressors import REGRESSORS, regressors
from forecaster.econometrics.sample import Sample
from forecaster.econometrics.season import SEASON, SessionClock, season_width, session_clock
from forecaster.econometrics.variance import fit_log_variance
from forecaster.features import cumulative_return
from forecaster.protocol import Origins
from forecaster.tokens import fit_tokenizer

FIRST, LAST = len(SEASON) - 2, len(SEASON) - 1


def euro(weeks: int = 20, seed: int = 0) -> Bars:
    labels = week_labels(weeks)
    return seasonal_bars("EURUSD=X", labels, busy_hours(labels), seed)


def share(days: int = 200) -> Bars:
    labels = session_labels(days)
    factor = np.where(np.diff(labels, prepend=MONDAY - 9 * HOUR) > HOUR, 3.0, 1.0)
    return seasonal_bars("AAPL", labels, factor)


# ----- what the clock says


def test_hours_run_from_the_opening_in_summer_and_winter():
    clock = session_clock(share())
    assert (clock.since[7:] == np.tile(np.arange(7.0), 199)).all()
    assert (clock.count[7:] == np.tile(np.arange(1, 8), 199)).all()
    assert np.isinf(clock.longest[:14]).all()  # the first session may have begun before its bars
    assert (clock.longest[14:] == 7).all()
    columns = clock.columns
    assert (columns[14::7, FIRST] == 1).all()
    assert (columns[20::7, LAST] == 1).all()
    assert columns[14:].sum() == len(columns[14:]) + 2 * 198


def test_a_week_of_currencies_is_one_session_of_five_circles():
    columns = session_clock(euro()).columns[120:]
    hours = columns[:, :24].reshape(-1, 24, 24)
    assert (hours == np.eye(24)).all()
    assert columns[:, FIRST].sum() == 19


def test_a_market_that_never_rests_runs_from_midnight():
    labels = MONDAY + 5 * HOUR + np.arange(300) * HOUR
    clock = session_clock(seasonal_bars("BTC-USD", labels, np.ones(300)))
    assert (clock.since % 24 == (5 + np.arange(300)) % 24).all()
    assert not clock.columns[:, FIRST:].any()


def test_minutes_lie_between_full_hours():
    clock = SessionClock(np.array([0.25, 23.5]), np.array([0, 0]), np.full(2, np.inf))
    assert clock.columns[0, :2].tolist() == [0.75, 0.25]
    assert clock.columns[1, [23, 0]].tolist() == [0.5, 0.5]


def test_a_half_day_does_not_shorten_what_is_expected():
    labels = np.concatenate((session_labels(30)[:-4], session_labels(40)[210:]))
    clock = session_clock(seasonal_bars("AAPL", labels, np.ones(len(labels))))
    assert (clock.longest[14:] == 7).all()


def test_the_clock_of_a_path_is_that_of_the_bars_that_come():
    for bars in (share(), euro()):
        clock = session_clock(bars)
        ahead = clock.following("1h").columns[240:-1]
        assert (ahead == clock.columns[241:]).all()


def test_daily_bars_have_none():
    assert [season_width(i) for i in ("1d", "1wk", "1h", "1m")] == [0, 0, len(SEASON), len(SEASON)]
    assert regressors(garch_panel(200, 1).members[0]).shape[1] == len(REGRESSORS)


def test_no_bar_knows_a_later_label():
    """Later bars rewritten, later sessions taken away: what was said stays, byte for byte."""
    for bars in (share(), euro()):
        whole = regressors(bars)
        assert whole.shape[1] == len(REGRESSORS) + len(SEASON)
        for n in (300, 301, 305, 700):
            other = rewritten_after(Panel((bars,)), bars.closed_at[n - 1]).members[0]
            for cut in (bars.head(n), other):
                assert regressors(cut)[:n].tobytes() == whole[:n].tobytes()


def test_a_clock_that_looks_up_the_next_label_is_caught(monkeypatch: pytest.MonkeyPatch):
    def knowing(bars: Bars) -> SessionClock:
        clock = session_clock(bars)
        last = np.append(np.diff(bars.opened_at) > season_module.BREAK, True)
        return SessionClock(clock.since, clock.count, np.where(last, clock.count, np.inf))

    monkeypatch.setattr(regressor_module, "session_clock", knowing)
    with pytest.raises(AssertionError):
        test_no_bar_knows_a_later_label()


# ----- what it is worth


def log_scores(bars: Bars, name: str, fitted_until: int, horizon: int = 1) -> Floats:
    forget()  # the regressors of these bars: the law of a season may be another by now
    fitted = BASELINES[name].fit(Panel((bars.head(fitted_until),)), (horizon,))
    at = np.arange(fitted_until, len(bars) - horizon)
    origins = Origins(np.zeros(len(at), dtype=np.int64), at)
    forecast = fitted.forecast(Panel((bars,)), origins, (horizon,))
    return forecast.logpdf(cumulative_return(bars, horizon)[at, None])[:, 0]


def without_season(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressor_module, "is_intraday", lambda _: False)
    monkeypatch.setattr("forecaster.econometrics.harx.season_width", lambda _: 0)


def an_hour_late(bars: Bars) -> SessionClock:
    clock = session_clock(bars)
    return replace(clock, since=np.repeat(clock.since[::6], 6)[: len(bars)], count=0 * clock.count)


@pytest.mark.parametrize("name", ["harx", "harx_own", "harx_pooled"])
def test_a_season_is_found_and_the_wrong_hour_is_not(name: str, monkeypatch: pytest.MonkeyPatch):
    bars = euro()
    seasonal = log_scores(bars, name, 1200)
    monkeypatch.setattr(regressor_module, "session_clock", an_hour_late)
    wrong = log_scores(bars, name, 1200)
    without_season(monkeypatch)
    plain = log_scores(bars, name, 1200)
    assert seasonal.mean() > plain.mean() + 0.05
    assert seasonal.mean() > wrong.mean() + 0.03


def test_it_comes_near_the_truth():
    """Scales of the next bar are within a tenth of the law's, where a flat one is off by half."""
    bars = euro(40)
    model = fit_horizons(Panel((bars,)), (1,))[0]
    found = model.scale(bars.symbol, regressors(bars))[600:-1]
    truth = 1e-3 * busy_hours(bars.opened_at[601:])
    assert np.abs(np.log(found / truth)).mean() < 0.1


def test_longer_horizons_know_which_hours_they_cover(monkeypatch: pytest.MonkeyPatch):
    bars = euro()
    seasonal = log_scores(bars, "harx", 1200, 5)
    without_season(monkeypatch)
    assert seasonal.mean() > log_scores(bars, "harx", 1200, 5).mean() + 0.05


def test_the_last_bar_of_a_session_expects_the_night():
    bars = share()
    scale = fit_horizons(Panel((bars,)), (1,))[0].scale(bars.symbol, regressors(bars))
    ratio = scale[20::7][20:].mean() / scale[17::7][20:].mean()
    assert ratio == pytest.approx(3.0, rel=0.25)


def test_where_there_is_no_season_none_costs_much(monkeypatch: pytest.MonkeyPatch):
    """Of 1,134 bars its 26 slopes cost what as many parameters do, 0.015 nats."""
    labels = week_labels(20)
    bars = seasonal_bars("FLAT", labels, np.ones(len(labels)))
    seasonal = log_scores(bars, "harx", 1200)
    without_season(monkeypatch)
    assert seasonal.mean() > log_scores(bars, "harx", 1200).mean() - 0.02


def test_a_season_fitted_on_the_future_is_caught(monkeypatch: pytest.MonkeyPatch):
    """The fit hears of bars of the history alone; one that is handed all of them has moved."""
    bars = euro()
    moment = bars.closed_at[1199]
    other = rewritten_after(Panel((bars,)), moment).members[0]

    def fitted(on: Bars) -> Floats:
        return fit_horizons(Panel((on.until(moment),)), (1,))[0].slope

    assert fitted(bars).tobytes() == fitted(other).tobytes()
    monkeypatch.setattr(Bars, "until", lambda self, _: self)
    assert fitted(bars).tobytes() != fitted(other).tobytes()


def test_variance_tokens_have_the_same_season():
    """What one side alone knew would be found in the other's errors, and counted twice."""
    tokenizer = fit_tokenizer(Panel((euro(),)), (1, 5), LearnerConfig())
    width = len(REGRESSORS) + len(SEASON)
    assert tokenizer.variance is not None
    assert {len(level.mean) for level in tokenizer.variance.levels} == {width}
    assert {len(m.mean) for m in vars(tokenizer.prior)["models"]} == {width}


# ----- how it is fitted


def drawn(symbols: int = 2, n: int = 400) -> Sample:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(symbols), n)
    x = rng.normal(size=(symbols * n, 4))
    y = 0.01 * np.exp(x @ np.array([0.3, 0.0, 0.2, -0.2])) * rng.standard_t(6, symbols * n)
    return Sample(tuple("AB"[:symbols]), which, x, y, np.zeros(4), np.ones(4), season=2)


def test_a_season_is_shrunk_to_none_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch):
    data = drawn()
    free = fit_harx(replace(data, season=0), 0.0).slope
    some = fit_harx(data, 0.0).slope
    monkeypatch.setattr("forecaster.econometrics.harx.RHO", 1e7)
    memo.forget()
    none = fit_harx(data, 0.0).slope
    assert (np.abs(some[:, 2:]) < np.abs(free[:, 2:])).all()
    np.testing.assert_allclose(some[:, 2:], free[:, 2:], rtol=0.6)
    assert np.abs(none[:, 2:]).max() < 1e-3
    assert none[:, 0] == pytest.approx(free[:, 0], abs=0.1)
    assert RHO == 400


def test_least_squares_shrinks_it_likewise():
    data = replace(drawn(1), r=drawn(1).x @ np.array([0.3, 0.0, 0.2, -0.2]))
    exact = fit_log_variance(replace(data, season=0))[1][0]
    np.testing.assert_allclose(exact, [0.3, 0.0, 0.2, -0.2], atol=1e-10)
    x = data.x - data.x.mean(axis=0)
    pull = 100.0 * np.diag([0, 0, 1, 1])
    own = np.linalg.inv(x.T @ x + 100 * np.eye(4)) @ x.T
    assert np.abs(fit_log_variance(data)[1][0][2:]).max() < 0.2
    b = np.linalg.solve(
        x.T @ x @ (np.eye(4) - own @ x) + pull, (np.eye(4) - (own @ x).T) @ x.T @ (x @ exact)
    )
    np.testing.assert_allclose(fit_log_variance(data)[1][0], b + own @ x @ (exact - b), atol=1e-8)
