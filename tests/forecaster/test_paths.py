"""Sampled paths: legal, causal, and distributed as the densities that they are drawn from."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hourly import HOUR, MONDAY, busy_hours, seasonal_bars, session_labels, week_labels
from panels import rewritten_after
from scipy.stats import kstest
from scoringrules import crps_ensemble

from forecaster import frames, scores
from forecaster.bars import Bars, Panel
from forecaster.candle import Candles
from forecaster.config import LearnerConfig
from forecaster.econometrics.season import SessionClock
from forecaster.errors import DivergedError, UsageError
from forecaster.features import features
from forecaster.learner import BackboneForecaster, FittedLearner, Keep, fit_fields, require_paths
from forecaster.learner.fields import FieldHeads, frequencies, lessons
from forecaster.learner.walking import NetworkLaw
from forecaster.learner.windows import TrainingWindows, tokenise
from forecaster.path_source import BLOCK, PathSource, Walk, Walker, blocks
from forecaster.paths import memory as memory_module
from forecaster.paths import remembered as remembered_module
from forecaster.paths.memory import PathMemory
from forecaster.paths.randomness import LEVELS, levels
from forecaster.paths.remembered import remember_all
from forecaster.paths.shapes import BarShapes, Bootstrap, Drawn, fit_shapes
from forecaster.paths.simulate import next_bar
from forecaster.paths.table import CANDLE, PathBlock, block_table, parquet_chunks
from forecaster.protocol import Origins
from forecaster.sampling import last_origins
from forecaster.sources.synthetic import Garch, simulate
from forecaster.tokens import fit_tokenizer

HORIZONS = (1, 5)
TINY = LearnerConfig(
    context=32, d_model=16, n_layers=1, n_heads=2, steps=30, seeds=2, batch=8, skip=8, lr=3e-3
)
HISTORY = 500  # bars that everything is fitted on
AT = (500, 600)


def without_volume(bars: Bars) -> Bars:
    return replace(bars, volume=np.full(len(bars), np.nan))


def closes_only(bars: Bars) -> Bars:
    return replace(bars, **{n: np.full(len(bars), np.nan) for n in ("open", "high", "low")})


def half_filled(bars: Bars) -> Bars:
    """Every second open is the close before, as index providers print it."""
    before = np.concatenate((bars.open[:1], bars.close[:-1]))
    opened = np.where(np.arange(len(bars)) % 2 == 0, before, bars.open)
    high, low = np.maximum(bars.high, opened), np.minimum(bars.low, opened)
    return replace(bars, open=opened, high=high, low=low)


@pytest.fixture(scope="module")
def panel() -> Panel:
    made = [simulate(Garch(), seed, 700, f"GARCH-{seed}") for seed in range(4)]
    changes = (lambda bars: bars, without_volume, closes_only, half_filled)
    return Panel(tuple(change(bars) for change, bars in zip(changes, made, strict=True)))


def walker_of(
    panel: Panel, config: LearnerConfig, n: int, horizons: tuple[int, ...] = HORIZONS
) -> Walker:
    history = Panel(tuple(bars.head(n) for bars in panel))
    fitted = BackboneForecaster("llama", config).fit(history, horizons)
    heads = tuple(each.heads for each in fit_fields(fitted, history, 0, Keep()))
    return Walker("llama", fitted, heads, fit_shapes(history, fitted.tokenizer))


@pytest.fixture(scope="module")
def walker(panel: Panel) -> Walker:
    return walker_of(panel, TINY, HISTORY)


def origins_of(members: int, at: tuple[int, ...] = AT) -> Origins:
    member, bar = np.array([(m, t) for m in range(members) for t in at]).T
    return Origins(member, bar)


def candles_of(parts: Iterator[PathBlock]) -> np.ndarray:
    """[N, K, 5] of all blocks."""
    return np.concatenate([block.candles for block in parts])


# ----- what is remembered is what the whole series would give


def walk_along(walker: Walker, panel: Panel, count: int = 40) -> PathMemory:
    """A memory fed with the bars that came, one a member."""
    tokenizer = walker.fitted.tokenizer
    member, bar = np.arange(len(panel)), np.full(len(panel), HISTORY)
    memory = PathMemory(remember_all(panel, tokenizer), tokenizer, member, bar)
    known = None
    for t in range(HISTORY + 1, HISTORY + 1 + count):
        now = {n: np.array([getattr(bars, n)[t] for bars in panel]) for n in CANDLE}
        candle = Candles(memory.close, now["open"], now["high"], now["low"], now["close"])
        known = memory.append(candle, now["volume"])
    assert known is not None
    for i, bars in enumerate(panel):
        whole, t = features(bars), HISTORY + count
        wanted = tokenizer.scales(bars, whole)[t]
        np.testing.assert_allclose(memory.scales[i], wanted, rtol=1e-9)
        np.testing.assert_allclose(known.geometry[i], whole.geometry[t], rtol=1e-7, atol=1e-9)
        inputs = tokenizer.inputs_at(known, memory.scales)[i]
        np.testing.assert_allclose(inputs, tokenizer.inputs(bars, whole)[t], atol=1e-6)
    return memory


@pytest.mark.parametrize("tokens", ["prior", "scaled"])
def test_bar_by_bar_is_the_whole_series(panel: Panel, walker: Walker, tokens: str):
    config = TINY.model_copy(update={"tokens": tokens})
    history = Panel(tuple(bars.head(HISTORY) for bars in panel))
    tokenizer = fit_tokenizer(history, HORIZONS, config)
    fitted = FittedLearner(config, tokenizer, walker.fitted.networks)
    walk_along(replace(walker, fitted=fitted), panel)


def test_bar_by_bar_is_the_whole_series_within_a_day():
    """Sessions, a week of currencies and a market that never rests: paths know the hour."""
    labels = (session_labels(120), week_labels(6), MONDAY + np.arange(700) * HOUR)
    panel = Panel(
        tuple(
            seasonal_bars(f"S-{i}", each[:700], busy_hours(each[:700]))
            for i, each in enumerate(labels)
        )
    )
    walk_along(walker_of(panel, TINY, HISTORY), panel)


def test_a_path_whose_clock_stands_still_is_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SessionClock, "following", lambda self, _: self)
    with pytest.raises(AssertionError):
        test_bar_by_bar_is_the_whole_series_within_a_day()


def test_a_decay_that_is_off_is_caught(
    panel: Panel, walker: Walker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory_module, "DECAYS", memory_module.DECAYS - 0.001)
    with pytest.raises(AssertionError):
        walk_along(walker, panel)


# ----- candles


def test_a_hundred_thousand_bars_are_legal(panel: Panel, walker: Walker):
    source = PathSource(walker, panel, origins_of(4))
    for block in (source.from_prior(Walk(1300, 5, 0)), source.from_learner(Walk(1300, 5, 0))):
        candles = candles_of(block)
        assert candles.shape == (8 * 1300, 5, 5)
        opened, high, low, close, volume = np.moveaxis(candles, -1, 0)
        member = np.repeat([0, 1, 2, 3], 2 * 1300)
        assert (close > 0).all()
        assert np.isfinite(close).all()
        ranged, traded = member != 2, member != 1
        assert np.isnan(opened[~ranged]).all()
        assert np.isnan(volume[~traded]).all()
        body = np.stack((opened, close))[:, ranged]
        assert (low[ranged] > 0).all()
        assert (volume[traded] > 0).all()
        assert (low[ranged] <= body.min(axis=0)).all()
        assert (high[ranged] >= body.max(axis=0)).all()
        before = np.concatenate(
            (np.repeat([panel.members[3].close[t] for t in AT], 1300)[:, None], close[member == 3]),
            axis=1,
        )[:, :-1]
        assert (opened[member == 3] == before).mean() == pytest.approx(0.5, abs=0.05)


def test_an_illegal_candle_is_refused(panel: Panel):
    asked = origins_of(1, (600,))
    keys = scores.question(panel, asked, (1, 2))
    good = np.tile([10.0, 11.0, 9.0, 10.5, 100.0], (1, 2, 1))
    provenance = frames.Provenance("run", 0, "1d")
    for place, value in ((1, 10.2), (2, 10.1), (3, np.inf), (3, 0.0), (4, 0.0)):
        bad = good.copy()
        bad[0, 1, place] = value
        block = PathBlock("harx", np.array([0]), np.array([0]), bad)
        with pytest.raises(DivergedError, match="GARCH-0: a path left the legal bars at step 2"):
            block_table(block, keys, np.ones(1), provenance)
    block = PathBlock("harx", np.array([0]), np.array([3]), good)
    table = block_table(block, keys, np.array([2.0]), provenance)
    assert table["close"].to_pylist() == [21.0, 21.0]
    assert table["volume"].to_pylist() == [50, 50]


# ----- distributions


def one_bar_levels(walker: Walker, panel: Panel, stretch: float = 1.0) -> float:
    """The smallest KS p over origins of 4,000 first bars under the learner's own density."""
    asked = origins_of(2, (600,))
    source = PathSource(walker, panel, asked)
    close = candles_of(source.from_learner(Walk(4000, 1, 3)))[:, 0, 3].reshape(2, 4000)
    start = np.array([panel.members[m].close[600] for m in range(2)])
    r = stretch * np.log(close / start[:, None])
    density = walker.fitted.forecast(panel, asked, HORIZONS)
    pit = np.stack([density.cdf(np.stack((x, x), axis=1))[:, 0] for x in r.T], axis=1)
    return min(kstest(row, "uniform").pvalue for row in pit)


def test_first_bars_are_of_the_direct_density(panel: Panel, walker: Walker):
    assert one_bar_levels(walker, panel) > 1e-3


def test_returns_that_are_too_wide_are_caught(panel: Panel, walker: Walker):
    assert one_bar_levels(walker, panel, stretch=1.2) < 1e-3


def true_futures(bars: Bars, t: int, n: int, steps: int) -> np.ndarray:
    """[n, steps] cumulative log returns after bar t, by the law that made the bars."""
    law, rng = Garch(), np.random.default_rng(t)
    r = np.log(bars.close / np.concatenate(([100.0], bars.close[:-1])))
    std = law.moments(r[: t + 1])[1][-1]
    variance = np.full(n, law.omega + law.alpha * r[t] ** 2 + law.beta * std**2)
    out = np.empty((n, steps))
    for k in range(steps):
        out[:, k] = np.sqrt(variance) * rng.standard_normal(n)
        variance = law.omega + law.alpha * out[:, k] ** 2 + law.beta * variance
    return out.cumsum(axis=1)


def coverage(walker: Walker, panel: Panel, asked: Origins, steps: int, paths: int) -> np.ndarray:
    """[2, steps] share of true futures in the 90 % bands of paths: prior, learner."""
    source, found = PathSource(walker, panel, asked), []
    pairs = list(zip(asked.member, asked.bar, strict=True))
    start = np.array([panel.members[m].close[t] for m, t in pairs])
    truth = np.stack([true_futures(panel.members[m], t, 1000, steps) for m, t in pairs])
    for way in (source.from_prior, source.from_learner):
        close = candles_of(way(Walk(paths, steps, 1)))[..., 3].reshape(len(asked), paths, steps)
        cumulative = np.log(close / start[:, None, None])
        low, high = np.quantile(cumulative, [0.05, 0.95], axis=1, method="weibull")
        inside = (truth >= low[:, None]) & (truth <= high[:, None])
        found.append(inside.mean(axis=(0, 1)))
    return np.array(found)


@pytest.fixture(scope="module")
def garch() -> tuple[Walker, Panel]:
    panel = Panel(tuple(simulate(Garch(), seed, 2600, f"GARCH-{seed}") for seed in range(3)))
    gentle = TINY.model_copy(update={"lr": 1e-3})
    return walker_of(panel, gentle, 2000, (1,)), panel


GARCH_ORIGINS = origins_of(3, tuple(range(2050, 2600, 100)))


@pytest.mark.slow
def test_bands_cover_what_garch_does(garch: tuple[Walker, Panel]):
    found = coverage(*garch, GARCH_ORIGINS, 20, 300)
    assert (np.abs(found[:, [0, 4, 19]] - 0.9) < 0.02).all(), found


@pytest.mark.slow
def test_bands_that_are_too_narrow_are_caught(
    garch: tuple[Walker, Panel], monkeypatch: pytest.MonkeyPatch
):
    scale = PathMemory.next_scale.fget
    assert scale is not None
    monkeypatch.setattr(PathMemory, "next_scale", property(lambda self: 0.85 * scale(self)))
    assert (coverage(*garch, GARCH_ORIGINS, 5, 300)[:, 4] < 0.88).all()


def fair_crps(walker: Walker, panel: Panel, asked: Origins, paths: int) -> np.ndarray:
    """[3, H] mean CRPS of the learner's density, its paths, the prior's paths (fair)."""
    horizons = walker.fitted.tokenizer.horizons
    y = scores.truth(panel, asked, horizons)[0]
    direct = walker.fitted.forecast(panel, asked, horizons).crps(y)
    assert direct is not None
    found = [direct]
    source = PathSource(walker, panel, asked)
    pairs = zip(asked.member, asked.bar, strict=True)
    start = np.array([panel.members[m].close[t] for m, t in pairs])
    for way in (source.from_learner, source.from_prior):
        close = candles_of(way(Walk(paths, max(horizons), 2)))[..., 3]
        close = close.reshape(len(asked), paths, -1)[:, :, np.array(horizons) - 1]
        r = np.log(close / start[:, None, None]).swapaxes(1, 2)
        found.append(np.asarray(crps_ensemble(y, r, estimator="fair")))
    return np.array([each.mean(axis=0) for each in found])


@pytest.mark.slow
def test_at_full_size_bands_cover_and_crps_is_near_the_direct_density():
    panel = Panel(tuple(simulate(Garch(), seed, 4500, f"GARCH-{seed}") for seed in range(4)))
    config = LearnerConfig(seeds=2)
    walker = walker_of(panel, config, 4000, (1, 5, 20))
    asked = origins_of(4, tuple(range(4000, 4480, 12)))
    found = coverage(walker, panel, asked, 20, 400)
    assert (np.abs(found[:, [0, 4, 19]] - 0.9) < 0.02).all(), found
    direct, *sampled = fair_crps(walker, panel, asked, 400)
    assert (np.array(sampled) / direct < 1.03).all(), np.array(sampled) / direct


# ----- nothing but the past, the seed, the symbol and the origin


def test_the_future_moves_no_path(panel: Panel, walker: Walker):
    assert paths_move(walker, panel) == [False, False]


def paths_move(walker: Walker, panel: Panel) -> list[bool]:
    """Whether rewriting the bars after the last origin moves the paths of either model."""
    asked, moved = origins_of(4), []
    other = rewritten_after(panel, panel.members[0].closed_at[AT[-1]])
    for name in ("from_prior", "from_learner"):
        ways = [getattr(PathSource(walker, each, asked), name) for each in (panel, other)]
        first, second = (candles_of(way(Walk(3, 20, 0))).tobytes() for way in ways)
        moved.append(first != second)
    return moved


def test_a_memory_of_tomorrow_is_caught(
    panel: Panel, walker: Walker, monkeypatch: pytest.MonkeyPatch
):
    now = remembered_module.window_of
    monkeypatch.setattr(memory_module, "window_of", lambda member, t: now(member, t + 1))
    assert paths_move(walker, panel) == [True, True]


@pytest.mark.parametrize("name", ["from_prior", "from_learner"])
def test_company_changes_no_byte(panel: Panel, walker: Walker, name: str):
    """Alone or with other origins, symbols, paths, steps, in whatever block."""
    asked = origins_of(4, (*range(500, 520), 600))

    def sampled(panel: Panel, asked: Origins, walk: Walk) -> np.ndarray:
        found = candles_of(getattr(PathSource(walker, panel, asked), name)(walk))
        return found.reshape(len(asked), walk.paths, walk.steps, 5)

    every = sampled(panel, asked, Walk(30, 6, 0))
    assert len(asked) * 30 > BLOCK
    at = int(np.flatnonzero((asked.member == 3) & (asked.bar == 600))[0])
    only = Panel((panel.members[3],))
    alone = sampled(only, Origins(np.array([0]), np.array([600])), Walk(7, 4, 0))
    assert alone.tobytes() == every[at, :7, :4].tobytes()
    assert sampled(panel, asked, Walk(1, 6, 0)).tobytes() == every[:, :1].tobytes()
    assert not np.array_equal(sampled(panel, asked, Walk(1, 1, 1)), every[:, :1, :1])


def test_levels_belong_to_their_place():
    every = levels(0, ("A", "2020-01-01"), 3, range(100))
    assert every.shape == (100, LEVELS)
    assert ((every >= 0) & (every < 1)).all()
    np.testing.assert_array_equal(levels(0, ("A", "2020-01-01"), 3, range(40, 60)), every[40:60])
    others = [(1, ("A", "2020-01-01"), 3), (0, ("B", "2020-01-01"), 3), (0, ("A", "2020-01-02"), 3)]
    for seed, origin, step in [*others, (0, ("A", "2020-01-01"), 4)]:
        assert not np.isclose(levels(seed, origin, step, range(100)), every).any()


# ----- the network along a path


def law_after(walker: Walker, panel: Panel, steps: int) -> NetworkLaw:
    """A law that has heard `steps` bars on three paths."""
    source = PathSource(walker, panel, origins_of(1, (600,)))
    law = source.law(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64))
    memory = PathMemory(
        source.remembered, walker.fitted.tokenizer, np.zeros(3, dtype=np.int64), np.full(3, 600)
    )
    for k in range(steps):
        next_bar(memory, law, levels(0, ("GARCH-0", "x"), k, range(3)))
    return law


@pytest.mark.parametrize("steps", [1, 15, 16, 17, 40])
@torch.no_grad()
def test_cached_is_uncached(panel: Panel, walker: Walker, steps: int):
    """Before the context is full, when it is, and after its later half was read anew."""
    (reader,) = law_after(walker, panel, steps).readers
    length = reader.caches[0].length
    assert 16 <= length <= 32
    assert len(reader.recent) <= 32
    bars = zip(*list(reader.recent)[-length:], strict=True)
    tokens, inputs = (torch.stack(each, dim=1) for each in bars)
    hidden = reader.network.hidden(tokens, inputs)[:, -1]
    torch.testing.assert_close(reader.hidden, hidden, atol=1e-5, rtol=1e-4)
    other = reader.network.hidden(tokens[:, :-1], inputs[:, :-1])[:, -1]
    assert (reader.hidden - other).abs().max() > 1e-3  # a bar that went missing would be seen


def test_heads_start_as_frequencies_and_learn_without_touching_forecasts(
    panel: Panel, walker: Walker
):
    history, fitted = Panel(tuple(bars.head(HISTORY) for bars in panel)), walker.fitted
    asked = origins_of(4)
    before = fitted.forecast(panel, asked, HORIZONS).logpdf(np.full((8, 2), 0.01)).tobytes()
    taught = fit_fields(fitted, history, 0, Keep())
    after = fitted.forecast(panel, asked, HORIZONS).logpdf(np.full((8, 2), 0.01)).tobytes()
    assert before == after
    assert all(each.taught < each.untaught for each in taught)
    members = tokenise(history, fitted.tokenizer)
    base = frequencies([members[0].window(66, HISTORY).tokens], fitted.tokenizer)
    heads = FieldHeads(16, fitted.tokenizer, base)
    windows = TrainingWindows(members, 32, 8, 0)
    hidden, tokens = lessons(fitted.networks[0], windows.draw(0))
    logits = heads.logits(1, heads.prepared(hidden), tokens[..., :2])
    torch.testing.assert_close(logits, base[1][tokens[..., 0]])
    assert hidden.shape[1] == tokens.shape[1] == 15
    assert torch.equal(tokens, windows.draw(0).tokens[:, 17:])


def test_what_cannot_draw_bars_says_why(walker: Walker, panel: Panel):
    history = Panel(tuple(bars.head(HISTORY) for bars in panel))
    one = TINY.model_copy(update={"seeds": 1, "steps": 2, "variance_tokens": False})
    cases = [
        (
            "llama",
            one,
            (5,),
            r"horizons \(5,\) were learnt: paths go bar by bar and need horizon 1",
        ),
        ("llama", one.model_copy(update={"tokens": "levels"}), (1,), "tokens levels have no scale"),
        ("llama", one.model_copy(update={"head": "student_t"}), (1,), "head=student_t has no bins"),
        ("mlp", one, (1,), "a control without memory of order draws no paths"),
    ]
    for name, config, horizons, message in cases:
        fitted = BackboneForecaster(name, config).fit(history, horizons)
        with pytest.raises(UsageError, match=message):
            require_paths(fitted)
    require_paths(walker.fitted)


# ----- bars of the past, and the file


def test_shapes_come_back_and_are_drawn_near_their_return(walker: Walker):
    shapes = walker.shapes
    assert BarShapes.model_validate_json(shapes.model_dump_json()) == shapes
    table = shapes.table("real")
    assert (np.diff(table[:, 0]) >= 0).all()
    assert len(shapes.filled) > 100
    bootstrap, n = Bootstrap(shapes), 500
    z = np.linspace(-3, 3, n)
    how = Drawn(np.random.default_rng(0).random(n), np.arange(n) % 2 == 0)
    drawn = bootstrap.draw(z, np.ones(n), np.zeros(n), how)
    assert (drawn.gap[::2] == 0).all()
    assert np.isin(drawn.gap[1::2], table[:, 2]).all()
    assert np.corrcoef(z[1::2], drawn.gap[1::2])[0, 1] > 0.05
    nothing = Bootstrap(BarShapes(real=(), filled=(), persistence=0.0))
    assert (nothing.draw(z, np.ones(n), np.zeros(n), how).upper == 0).all()


def test_blocks_are_every_path_once_in_order():
    parts = list(blocks(7, 1000))
    assert max(len(origin) for origin, _ in parts) == BLOCK
    pairs = np.concatenate([np.stack(part, axis=1) for part in parts])
    np.testing.assert_array_equal(pairs, [(i, j) for i in range(7) for j in range(1000)])


def test_a_file_is_the_same_bytes_again(panel: Panel, walker: Walker):
    def made() -> bytes:
        source = PathSource(walker, panel, last_origins(panel))
        keys = scores.question(panel, source.origins, (1, 2, 3))
        provenance = frames.Provenance("run", 0, "1d")
        parts = source.from_learner(Walk(5, 3, 0))
        tables = (block_table(part, keys, np.ones(4), provenance) for part in parts)
        return b"".join(parquet_chunks(tables, {"paths": 5}))

    assert made() == made()
