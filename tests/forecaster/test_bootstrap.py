"""Sets hold the best and drop the worse, tests reject at the nominal rate, overlap or not."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import SPA

from forecaster.inference import Losses, bootstrap, compare, confidence_set, intervals, superior
from forecaster.inference.bootstrap import block_length


def equal_models(rng: np.random.Generator, n: int, h: int, k: int = 4) -> pd.DataFrame:
    """Squared errors of k equally good forecasts of sums that share h - 1 bars."""
    noise = np.cumsum(rng.standard_normal((k + 1, n + h)), axis=1)
    outcome, *rest = noise[:, h:] - noise[:, :-h]
    return pd.DataFrame({f"m{i}": (outcome - 0.3 * x) ** 2 for i, x in enumerate(rest)})


def spread_models(n: int = 500) -> pd.DataFrame:
    """The best, its copy, one a little worse, one much worse."""
    rng = np.random.default_rng(1)
    common = rng.random(n)
    own = 0.1 * rng.standard_normal((n, 3))
    best = common + own[:, 0]
    return pd.DataFrame(
        {
            "bad": common + 0.5 + own[:, 1],
            "best": best,
            "copy": best * (1 + 1e-13),
            "near": common + 0.003 + own[:, 2],
        }
    )


@pytest.fixture(params=[(1, 200), (20, 400)], ids=["h=1", "h=20"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """(h, a generator of 60 seeded draws of equal models), with few resamples."""
    monkeypatch.setattr(bootstrap, "REPS", 150)
    h, n = request.param
    rng = np.random.default_rng(2)

    def draws() -> Iterator[pd.DataFrame]:
        for _ in range(60):
            yield equal_models(rng, n, h)

    return h, draws()


def test_equal_models_are_rarely_rejected(many: tuple[int, Iterator[pd.DataFrame]]) -> None:
    """Of 60 draws, 5 % are 3; 9 or more have a chance of one in 300."""
    h, draws = many
    assert sum((superior(losses, "m0", h) or 0) < 0.05 for losses in draws) <= 8


def test_equal_models_stay_in_the_set(many: tuple[int, Iterator[pd.DataFrame]]) -> None:
    """Each holds with at least 90 %."""
    h, draws = many
    held = [found for losses in draws if (found := confidence_set(losses, h))]
    assert len(held) == 60
    assert sum("m0" in found.kept for found in held) >= 50


def test_planted_blocks_of_one_date_reject_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistake 12: h = 20, resampled as if dates were independent."""
    monkeypatch.setattr(bootstrap, "REPS", 150)
    monkeypatch.setattr(bootstrap, "block_length", lambda *_: 1)
    rng = np.random.default_rng(2)
    runs = [superior(equal_models(rng, 400, 20), "m0", 20) for _ in range(30)]
    assert sum((p or 0) < 0.05 for p in runs) >= 10


def test_the_set_keeps_the_best_and_its_copy_and_drops_the_bad() -> None:
    found = confidence_set(spread_models(), 1)
    assert found is not None
    assert found.kept == ("best", "copy", "near")
    assert found.p["best"] == found.p["copy"]
    assert found.p["bad"] < 0.01
    assert confidence_set(spread_models(), 1) == found  # seeded


def test_a_better_rival_is_found() -> None:
    losses = spread_models()
    p, other = superior(losses, "bad", 1), superior(losses, "best", 1)
    assert p is not None
    assert other is not None
    assert p < 0.01
    assert other > 0.2


def test_an_erratic_model_hides_no_other() -> None:
    """Planted: arch's own statistic, which is not divided by its standard error."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((400, 3))
    losses = pd.DataFrame(
        {"b": base[:, 0], "good": base[:, 0] - 0.1 + 0.3 * base[:, 1], "wild": 30 * base[:, 2]}
    )
    ours = superior(losses, "b", 1)
    assert ours is not None
    assert ours < 0.01
    plain = SPA(losses["b"], losses[["good", "wild"]], 2, 500, seed=0)
    plain.compute()
    assert plain.pvalues["consistent"] > 0.2


def test_blocks_see_the_overlap_and_leave_enough_of_them() -> None:
    rng = np.random.default_rng(4)
    assert block_length(equal_models(rng, 2000, 20), 20) >= 40
    assert block_length(equal_models(rng, 160, 20), 20) == 20  # an eighth of the dates
    assert block_length(spread_models()[["best"]], 1) == 2


def test_grouping_rows_changes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,500 dates in 1,000 rows: the same means, nearly the same answers."""
    losses = equal_models(np.random.default_rng(6), 2500, 5)
    losses["m1"] += 0.12
    values, block = bootstrap.grouped(losses.to_numpy(), 11)
    assert values.shape == (1000, 4)
    assert block == 5
    assert values.mean(axis=0) == pytest.approx(losses.mean().to_numpy())
    grouped = superior(losses, "m1", 5), confidence_set(losses, 5)
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 10**6)
    whole = superior(losses, "m1", 5), confidence_set(losses, 5)
    assert grouped[0] == pytest.approx(whole[0], abs=0.05)
    assert grouped[1] is not None
    assert whole[1] is not None
    assert grouped[1].p == pytest.approx(whole[1].p, abs=0.1)


def test_intervals_are_near_those_of_the_hac_test() -> None:
    frame = spread_models() + 2
    losses = Losses(1, frame.set_index(pd.date_range("2020", periods=500)), frame)
    found, skill = intervals(losses, "near", "bad"), compare(losses, "near", "bad")
    assert found is not None
    width = skill.high - skill.low
    assert found.crps_skill == pytest.approx((skill.low, skill.high), abs=0.2 * width)
    assert found.log_score_gain[0] < skill.log_score_gain < found.log_score_gain[1]
    assert found == intervals(losses, "near", "bad")
    assert intervals(losses, "best", "copy") is not None
    assert intervals(losses, "best", "copy").crps_skill == (0.0, 0.0)  # type: ignore[union-attr]


def test_few_dates_are_not_resampled() -> None:
    few = spread_models(25)
    losses = Losses(1, few, few)
    assert confidence_set(few, 1) is None
    assert superior(few, "bad", 1) is None
    assert intervals(losses, "best", "bad") is None
    assert superior(spread_models()[["best", "copy"]], "best", 1) is None
