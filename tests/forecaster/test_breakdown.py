"""Where a difference comes from: groups add up, terciles know no future, subsamples no overlap."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from panels import garch_panel, rewritten_after

from forecaster.bars import Panel
from forecaster.inference import (
    Losses,
    after_trials,
    holm,
    losses_of,
    parts,
    subsamples,
    volatility_terciles,
)


def rows(n: int = 400, h: int = 1) -> pd.DataFrame:
    """Two models on two symbols, the second of which ends halfway; `model` wins on S0 alone."""
    rng = np.random.default_rng(1)
    found = []
    for symbol, length, edge in (("S0", n, 0.05), ("S1", n // 2, -0.05)):
        base = rng.random(length)
        cutoff = np.datetime64("2020-01-01", "us") + np.arange(length) * np.timedelta64(1, "D")
        for model, shift in (("base", 0.0), ("model", edge)):
            noise = 0.01 * rng.standard_normal(length) if model == "model" else 0.0
            columns = {"crps": base + 1 - shift + noise, "log_score": shift - base + noise}
            found.append(
                pd.DataFrame(
                    columns | {"cutoff": cutoff, "model": model, "unique_id": symbol, "h": h}
                )
            )
    frame = pd.concat(found, ignore_index=True)
    return frame.assign(year=frame["cutoff"].dt.year)


def test_groups_are_the_differences_of_their_own_rows() -> None:
    frame = rows()
    found = {part.group: part for part in parts(frame, 1, "unique_id", [("model", "base")])}
    assert found["S0"].log_score_gain == pytest.approx(0.05, abs=0.005)
    assert found["S1"].log_score_gain == pytest.approx(-0.05, abs=0.005)
    assert (found["S0"].dates, found["S1"].dates) == (400, 200)
    assert found["S0"].crps_skill > 0 > found["S1"].crps_skill
    assert found["S0"].log_score_p == pytest.approx(0, abs=1e-6)


def test_years_average_to_the_whole() -> None:
    frame = rows()
    found = list(parts(frame, 1, "year", [("model", "base")]))
    assert [part.group for part in found] == ["2020", "2021"]
    gains = np.average([p.log_score_gain for p in found], weights=[p.dates for p in found])
    losses = losses_of(frame, 1)
    whole = (losses.log_loss["base"] - losses.log_loss["model"]).mean()
    assert gains == pytest.approx(whole)
    few = next(parts(frame[frame["cutoff"] < "2020-01-20"], 1, "year", [("model", "base")]))
    assert few.log_score_p is None


def origins_of(panel: Panel) -> pd.DataFrame:
    symbol = np.concatenate([np.full(len(b) - 300, str(b.symbol)) for b in panel])
    cutoff = np.concatenate([b.opened_at[300:] for b in panel])
    return pd.DataFrame({"unique_id": symbol, "cutoff": cutoff})


def test_a_tercile_knows_no_future() -> None:
    """Planted: terciles of the whole sample, which move when later bars do."""
    panel = garch_panel(900, 2)
    moment = panel.clock[700]
    other = rewritten_after(panel, moment)
    frame = origins_of(panel)
    before = (frame["cutoff"] < moment - np.timedelta64(1, "D")).to_numpy()
    a, b = (volatility_terciles(frame, p).to_numpy() for p in (panel, other))
    assert (a[before] == b[before]).all()
    assert (a[~before] != b[~before]).any()
    assert set(a) == {"calm", "middle", "wild"}

    def whole_sample(p: Panel) -> np.ndarray:
        moves = [np.abs(np.diff(np.log(m.close), prepend=0.0)) for m in p]
        return np.concatenate([(x > np.quantile(x, 2 / 3))[300:] for x in moves])

    assert (whole_sample(panel)[before] != whole_sample(other)[before]).any()


def test_a_calm_start_is_no_reason_to_call_a_calm_day_wild() -> None:
    """Ranks are among the symbol's own past: a tenth of the volatility is calm."""
    panel = garch_panel(900, 1)
    bars = panel.members[0]
    shrunk = bars.close.copy()
    shrunk[600:] = shrunk[599] * (shrunk[600:] / shrunk[599]) ** 0.1
    closes = dict.fromkeys(("open", "high", "low", "close"), shrunk)
    calm = Panel((replace(bars, **closes),))
    found = volatility_terciles(origins_of(calm), calm).to_numpy()
    assert (found[-200:] == "calm").all()


def overlapping(n: int, h: int, edge: float, seed: int) -> Losses:
    noise = np.cumsum(np.random.default_rng(seed).standard_normal((3, n + h)), axis=1)
    outcome, a, b = noise[:, h:] - noise[:, :-h]
    frame = pd.DataFrame({"m": (outcome - 0.3 * a) ** 2 - edge, "r": (outcome - 0.3 * b) ** 2})
    return Losses(h, frame, frame)


def test_subsamples_do_not_overlap_and_use_every_date() -> None:
    found = subsamples(overlapping(1000, 5, 1.5, 0), "m", "r")
    assert found is not None
    assert found.dates == 200
    assert found.ahead == 5
    assert found.rejected >= 4
    equal = [subsamples(overlapping(1000, 5, 0.0, seed), "m", "r") for seed in range(1, 21)]
    assert sum(each.rejected for each in equal if each) <= 15  # of 100, dependent
    assert subsamples(overlapping(1000, 1, 0.0, 0), "m", "r") is None
    assert subsamples(overlapping(400, 20, 0.0, 0), "m", "r") is None  # 20 dates each


def test_holm_by_hand_and_trials() -> None:
    """0.01 x 3, 0.02 x 2, 0.04 x 1; a test that was not made counts not."""
    assert holm([0.04, float("nan"), 0.01, 0.02]) == pytest.approx(
        [0.04, float("nan"), 0.03, 0.04], nan_ok=True
    )
    assert np.isnan(holm([float("nan")])).all()
    assert holm([]) == []
    assert after_trials(0.01, 3) == pytest.approx(0.03)
    assert after_trials(0.4, 3) == 1.0
