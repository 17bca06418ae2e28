"""Symbols that are read together: each bar beside all that had closed by then, none later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audited import CONFIG, market
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import bars_from_returns, garch_panel

from backbones.presets import PRESETS
from backbones.train import StepReport
from forecaster import backtest, training
from forecaster.audit.company_stages import sequences_of_the_history
from forecaster.audit.laws import tried
from forecaster.audit.model_stages import model_laws
from forecaster.audit.network_stages import network_laws
from forecaster.audit.poison import FUTURES, poisoned
from forecaster.audit.subject import answers, reduced
from forecaster.bars import Bars, Panel
from forecaster.config import LearnerConfig, RunConfig
from forecaster.errors import CheckpointError, DataError, UsageError
from forecaster.features import WARM_UP
from forecaster.learner import (
    BackboneForecaster,
    FittedLearner,
    Keep,
    load_learner,
    probe,
    require_paths,
    tokenise,
)
from forecaster.learner.company import PanelWindows, taught, training_windows
from forecaster.learner.market import UNKNOWN, Market
from forecaster.learner.windows import UNSCORED, Batch, Company
from forecaster.predicting import predict
from forecaster.protocol import Origins
from forecaster.runs import RunFolder
from forecaster.symbols import Symbol
from forecaster.tokens import fit_tokenizer

HORIZONS = (1, 3)
TINY = LearnerConfig(
    tokens="scaled",
    variance_tokens=False,
    context=12,
    panel=3,
    d_model=16,
    n_layers=1,
    n_heads=4,
    steps=3,
    seeds=1,
    batch=4,
    skip=3,
    return_bins=12,
    field_bins=4,
)
WITHOUT_CONV = [name for name, config in PRESETS.items() if config.short_conv is None]
FIXED = {"derandomize": True, "database": None, "deadline": None}


def tiny_with(**changed: Any) -> LearnerConfig:
    return LearnerConfig.model_validate(TINY.model_dump() | changed)


def ragged(seed: int, symbols: int = 3, bars: int = 150) -> Panel:
    """Hours of markets that begin at :00 or :30, start and end apart, and miss some."""
    rng = np.random.default_rng(seed)
    members = []
    for i, member in enumerate(garch_panel(bars, symbols, seed).members):
        hours = np.sort(rng.choice(int(1.3 * bars), bars, replace=False))
        start = np.datetime64("2020-01-01") + np.timedelta64(30 * int(rng.integers(2)), "m")
        member = replace(member, interval="1h", opened_at=start + hours * np.timedelta64(1, "h"))
        first, last = int(rng.integers(0, 20)), int(rng.integers(bars - 20, bars + 1))
        members.append(replace(member.select(slice(first, last)), symbol=Symbol(f"S{i}")))
    return Panel(tuple(members))


def speaking(panel: Panel, learner: LearnerConfig = TINY, name: str = "llama") -> FittedLearner:
    """An untaught network whose head says something."""
    tokenizer = fit_tokenizer(panel, HORIZONS, learner)
    symbols = taught(panel, learner)
    network = BackboneForecaster(name, learner).network(tokenizer, 0, symbols).eval()
    with torch.no_grad():
        for weight in network.head.parameters():
            weight.normal_(std=probe.HEAD_DEVIATION)
    return FittedLearner(learner, tokenizer, (network,), symbols=symbols)


def all_origins(panel: Panel, until: np.datetime64 | None = None) -> Origins:
    """Every bar that may be asked about and has closed."""
    member, bar = [], []
    for m, bars in enumerate(panel):
        known = len(bars) if until is None else len(bars.until(until))
        for t in range(WARM_UP, known):
            member.append(m)
            bar.append(t)
    return Origins(np.array(member, dtype=np.int64), np.array(bar, dtype=np.int64))


def said(fitted: FittedLearner, panel: Panel, origins: Origins) -> np.ndarray:
    return answers(fitted.forecast(panel, origins, HORIZONS))


def at(panel: Panel, name: str, bar: int) -> Origins:
    return Origins(np.array([panel.symbols.index(Symbol(name))]), np.array([bar]))


# a bar stands where it closed


def of_market(panel: Panel, learner: LearnerConfig = TINY) -> Market:
    tokenizer = fit_tokenizer(panel, HORIZONS, learner)
    return Market(panel, tokenise(panel, tokenizer), learner, taught(panel, learner))


def positions_see_what_had_closed(panel: Panel, *ends: int) -> None:
    for end in ends:
        a_position_sees_what_had_closed(panel, end)


def a_position_sees_what_had_closed(panel: Panel, end: int) -> None:
    """By the bars' own closing times, pair by pair; all that closed in the context is there."""
    found = of_market(panel)
    present = found.present(end)[:3]
    if not present:
        return
    batch = found.batch([(end, present)])
    assert batch.company is not None
    index, moments = found.sequence(end, present)[0], batch.company.moments[0].numpy()
    real = index != found.padding
    assert ((moments >= 0) == real).all()
    closes = np.concatenate([bars.closed_at for bars in panel])[index[real]]
    sees = moments[real][None] <= moments[real][:, None]
    assert (sees == (closes[None] <= closes[:, None])).all()
    clock = panel.clock
    assert (closes <= clock[end]).all()
    for m in present:
        ages = end - np.searchsorted(clock, panel.members[m].closed_at)[WARM_UP:]
        wanted = int(((ages >= 0) & (ages < TINY.context)).sum())
        rows = index[(index >= found.first_row[m]) & (index < found.first_row[m + 1])]
        assert len(rows) == wanted
        assert (np.diff(rows) == 1).all()


@settings(max_examples=25, **FIXED)
@given(st.integers(0, 10_000), st.floats(0.5, 1))
def test_a_position_sees_what_had_closed(seed: int, where: float):
    panel = ragged(seed)
    a_position_sees_what_had_closed(panel, int(where * (len(panel.clock) - 1)))


def ticks_are(patch: pytest.MonkeyPatch, ticks: Callable[[Bars, np.ndarray], np.ndarray]) -> None:
    """Plant another moment for bars."""
    original = Market.__init__

    def planted(self: Market, panel: Panel, *rest: Any) -> None:
        original(self, panel, *rest)
        self.ticks = [ticks(bars, panel.clock) for bars in panel]
        self.tick = np.append(np.concatenate(self.ticks), -1)

    patch.setattr(Market, "__init__", planted)


def by_index(bars: Bars, _: np.ndarray) -> np.ndarray:
    return np.arange(len(bars))


def by_opening(bars: Bars, clock: np.ndarray) -> np.ndarray:
    """Others at the first close that is not before their opening: an hour before they are known."""
    return np.searchsorted(clock, bars.closed_at if bars.symbol == "S0" else bars.opened_at)


@pytest.mark.parametrize("ticks", [by_index, by_opening])
def test_planted_other_moments_see_otherwise(
    ticks: Callable[[Bars, np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    ticks_are(monkeypatch, ticks)
    panel = ragged(3)
    with pytest.raises(AssertionError):
        positions_see_what_had_closed(panel, *range(130, 150))


# the future, and company


@pytest.fixture(scope="module")
def panel():
    return ragged(3)


@pytest.fixture(scope="module")
def fitted(panel: Panel):
    return speaking(panel)


def no_future_moves_any_past(fitted: FittedLearner, panel: Panel) -> None:
    for cut in range(len(panel.clock) - 90, len(panel.clock) - 60):
        no_future_moves_the_past(fitted, panel, cut, "noise")


def no_future_moves_the_past(fitted: FittedLearner, panel: Panel, cut: int, kind: str) -> None:
    moment = panel.clock[cut]
    origins = all_origins(panel, moment)
    if len(origins):
        before = said(fitted, panel, origins)
        after = said(fitted, poisoned(panel, moment, kind, 5), origins)
        assert before.tobytes() == after.tobytes()


@settings(max_examples=15, **FIXED)
@given(st.integers(0, 10_000), st.sampled_from(FUTURES), st.floats(0.6, 0.99))
def test_no_future_moves_the_past(seed: int, kind: str, where: float):
    panel = ragged(seed % 7)
    cut = int(where * (len(panel.clock) - 2))
    no_future_moves_the_past(speaking(panel), panel, cut, kind)


@pytest.mark.parametrize("name", WITHOUT_CONV)
def test_no_future_moves_the_past_of_any_preset(name: str, panel: Panel):
    no_future_moves_the_past(speaking(panel, TINY, name), panel, len(panel.clock) - 30, "noise")


@pytest.mark.parametrize("ticks", [by_index, by_opening])
def test_planted_moments_that_know_the_future(
    ticks: Callable[[Bars, np.ndarray], np.ndarray],
    panel: Panel,
    fitted: FittedLearner,
    monkeypatch: pytest.MonkeyPatch,
):
    """A clock for each symbol, and a bar that is seen from its opening on."""
    ticks_are(monkeypatch, ticks)
    with pytest.raises(AssertionError):
        no_future_moves_any_past(fitted, panel)


def test_planted_a_bar_too_many(
    panel: Panel, fitted: FittedLearner, monkeypatch: pytest.MonkeyPatch
):
    span = Market.span

    def longer(self: Market, member: int, end: int) -> tuple[int, int]:
        start, stop = span(self, member, end)
        return start, min(stop + 1, len(self.ticks[member]))

    monkeypatch.setattr(Market, "span", longer)
    with pytest.raises(AssertionError):
        no_future_moves_the_past(fitted, panel, len(panel.clock) - 30, "noise")


def test_company_moves_a_forecast_by_its_past_and_not_by_its_future(
    panel: Panel, fitted: FittedLearner
):
    own, moment = panel.members[0], panel.members[0].closed_at[110]
    asked = at(panel, "S0", 110)
    before = said(fitted, panel, asked)
    for member in (1, 2):
        known = len(panel.members[member].until(moment))
        for bar, moves in ((known - 1, True), (known, False)):
            other = panel.members[member]
            volume = other.volume.copy()
            volume[bar] *= 50
            changed = replace(other, volume=volume)
            members = [own, *(changed if i == member else panel.members[i] for i in (1, 2))]
            assert (said(fitted, Panel(tuple(members)), asked) != before).any() == moves


def test_whoever_is_asked_and_in_which_order(panel: Panel, fitted: FittedLearner):
    origins = all_origins(panel)
    whole = said(fitted, panel, origins)
    assert len(np.unique(whole.round(9), axis=0)) > 0.95 * len(whole)
    order = np.random.default_rng(0).permutation(len(origins))[:17]
    some = Origins(origins.member[order], origins.bar[order])
    assert said(fitted, panel, some).tobytes() == whole[order].tobytes()
    again = said(fitted, Panel(panel.members[::-1]), origins)
    assert again.tobytes() == whole.tobytes()


def test_a_symbol_that_begins_later_and_one_that_has_ended(panel: Panel, fitted: FittedLearner):
    """Before its first bars, and a context after its last one, nobody knows of it."""
    asked = at(panel, "S0", 110)
    moment = panel.members[0].closed_at[110]
    both = Panel(panel.members[:2])
    without = said(fitted, both, asked)
    late = replace(panel.members[2], opened_at=panel.members[2].opened_at + np.timedelta64(60, "D"))
    assert said(fitted, Panel((*both, late)), asked).tobytes() == without.tobytes()
    end = int(np.searchsorted(both.clock, moment)) - TINY.context
    ended = panel.members[2].until(both.clock[end])
    ended = ended.select(np.isin(ended.closed_at, both.clock))  # the context counts closes
    assert len(ended) > WARM_UP
    assert said(fitted, Panel((*both, ended)), asked).tobytes() == without.tobytes()
    assert said(fitted, panel, asked).tobytes() != without.tobytes()


def test_more_symbols_than_are_read_together_are_read_in_companies():
    """In order of names, whoever is asked: of one calendar, as if there were no others."""
    five = garch_panel(200, 5)
    fitted = speaking(five, tiny_with(panel=2))
    together = said(fitted, five, all_origins(five))
    for names in ((0, 1), (2, 3), (4,)):
        company = Panel(tuple(five.members[m] for m in names))
        rows = np.isin(all_origins(five).member, names)
        assert said(fitted, company, all_origins(company)).tobytes() == together[rows].tobytes()


def test_a_symbol_that_was_not_taught_is_unknown_and_that_is_taught(
    panel: Panel, fitted: FittedLearner
):
    renamed = Panel((*panel.members[:2], replace(panel.members[2], symbol=Symbol("S8"))))
    other = Panel((*panel.members[:2], replace(panel.members[2], symbol=Symbol("S9"))))
    stranger = said(fitted, renamed, at(renamed, "S8", 110))
    assert stranger.tobytes() == said(fitted, other, at(other, "S9", 110)).tobytes()
    assert stranger.tobytes() != said(fitted, panel, at(panel, "S2", 110)).tobytes()
    learnt = BackboneForecaster("llama", TINY).fit(panel, HORIZONS).networks[0].symbols
    untaught = BackboneForecaster("llama", TINY).network(fitted.tokenizer, 0, "012").symbols
    assert learnt is not None
    assert untaught is not None
    assert (learnt.weight != untaught.weight).any(dim=1).all()
    assert fitted.symbols == ("S0", "S1", "S2")


# what networks are taught


def windows_of(panel: Panel, learner: LearnerConfig = TINY, seed: int = 0) -> PanelWindows:
    tokenizer = fit_tokenizer(panel, HORIZONS, learner)
    drawn = training_windows(panel, tokenise(panel, tokenizer), learner, seed, shuffle=False)
    assert isinstance(drawn, PanelWindows)
    return drawn


def company_of(batch: Batch) -> Company:
    assert batch.company is not None
    return batch.company


def test_batches_are_of_seed_and_number_and_always_have_a_target():
    panel = ragged(5, symbols=4)
    drawn, again = windows_of(panel), windows_of(panel)
    hidden, count = 0, 0
    for k in range(60):
        batch, same = drawn.draw(k), again.draw(k)
        assert torch.equal(batch.tokens, same.tokens)
        moments, names = company_of(batch).moments, company_of(batch).symbols
        assert ((batch.targets != UNSCORED).any(dim=-1) & (moments >= 0)).any(dim=1).all()
        assert (batch.targets[moments < TINY.skip] == UNSCORED).all()
        real = moments >= 0
        hidden, count = hidden + int((names[real] == UNKNOWN).sum()), count + int(real.sum())
        assert moments.shape[1] == TINY.context * 3
        assert (moments[:, -1] >= TINY.skip).all()
    assert 0.1 < hidden / count < 0.3
    assert not torch.equal(drawn.draw(0).inputs, drawn.draw(1).inputs)


def test_no_bar_is_much_rarer_than_another():
    """Two symbols at first, four later; three are read together."""
    early, late = garch_panel(400, 4).members[:2], garch_panel(400, 4).members[2:]
    shorter = (replace(b.head(250), opened_at=b.opened_at[150:]) for b in late)
    panel = Panel((*early, *shorter))
    drawn = windows_of(panel)
    rows = drawn.market.rows.inputs[:-1]
    where = {row.tobytes(): i for i, row in enumerate(rows)}
    seen = np.zeros(len(rows))
    for k in range(700):
        batch = drawn.draw(k)
        scored = (batch.targets != UNSCORED).any(dim=-1)
        for row in batch.inputs[scored].numpy():
            seen[where[row.tobytes()]] += 1
    alone, crowd = seen[120:180].mean(), seen[250:380].mean()
    assert 0.8 < alone / crowd < 1.25


def test_sequences_are_of_the_history(panel: Panel, fitted: FittedLearner):
    assert sequences_of_the_history(fitted, panel, 10) is None


def test_planted_sequences_are_not(
    panel: Panel, fitted: FittedLearner, monkeypatch: pytest.MonkeyPatch
):
    ticks_are(monkeypatch, by_index)
    found = sequences_of_the_history(fitted, panel, 10)
    assert found is not None
    assert "moments other than those of their closes" in found.what
    monkeypatch.undo()
    draw = PanelWindows.draw

    def off_by_one(self: PanelWindows, k: int) -> Batch:
        batch = draw(self, k)
        return replace(batch, targets=batch.targets.roll(-1, dims=1))

    monkeypatch.setattr(PanelWindows, "draw", off_by_one)
    found = sequences_of_the_history(fitted, panel, 10)
    assert found is not None
    assert "targets of a training sequence" in found.what


# as any learner


class CutOffError(Exception):
    """Power is gone."""


def test_a_training_goes_on_and_is_loaded_to_the_same_bytes(panel: Panel, tmp_path: Path):
    forecaster = BackboneForecaster("llama", tiny_with(seeds=2), seed=3)
    whole = said(forecaster.fit(panel, HORIZONS), panel, all_origins(panel))

    def cut(seed: int, report: StepReport) -> None:
        if (seed, report.step) == (1, 1):
            raise CutOffError

    with pytest.raises(CutOffError):
        forecaster.fit(panel, HORIZONS, Keep(path=tmp_path, on_step=cut))
    resumed = forecaster.fit(panel, HORIZONS, Keep(path=tmp_path, resume=True))
    assert said(resumed, panel, all_origins(panel)).tobytes() == whole.tobytes()
    loaded = load_learner(forecaster, tmp_path, resumed.tokenizer, resumed.symbols)
    assert said(loaded, panel, all_origins(panel)).tobytes() == whole.tobytes()


def test_train_and_predict(panel: Panel, tmp_path: Path):
    config = RunConfig(symbols=panel.symbols, interval="1h", horizons=HORIZONS, learner=TINY)
    plan = training.plan_training(config, panel, None)
    assert training.describe(plan)["windows"] == 3 * 2
    run = RunFolder.create(tmp_path / "run", "train", config)
    record = training.run_training(plan, run, lambda *_: None, resume=False)
    assert record["loss_nats"][0] == pytest.approx(record["untaught_loss_nats"], abs=0.3)
    stranger = replace(panel.members[0], symbol=Symbol("NEW"))
    table, _ = predict(run, Panel((*panel, stranger)), None)
    assert table.num_rows == 4 * len(HORIZONS)
    assert np.isfinite(table["predictions"].to_numpy()).all()
    with pytest.raises(UsageError, match="panel=3: symbols that are read together would have to"):
        require_paths(training.load(run))
    run.write_json(training.SYMBOLS, {"taught": sorted(panel.symbols, reverse=True)})
    with pytest.raises(CheckpointError, match=r"symbols\.json is missing or damaged"):
        training.load(run)  # each would be read as another


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("llama_conv", "llama_conv has a short convolution, which goes by the order of a sequence"),
        ("mlp", "mlp has no attention: panel needs another preset"),
        ("llama-shuffled", "llama-shuffled hides when a bar was"),
    ],
)
def test_bodies_that_cannot_are_refused(name: str, why: str):
    with pytest.raises(UsageError, match=why):
        BackboneForecaster(name, TINY)


def test_refusals_name_their_numbers(panel: Panel, fitted: FittedLearner):
    with pytest.raises(ValueError, match="panel=100 symbols of context=64 moments are 6400 posi"):
        LearnerConfig(panel=100)
    with pytest.raises(ValueError, match="tokens=levels codes a bar by its window"):
        tiny_with(tokens="levels")
    with pytest.raises(DataError, match="origin at bar 60 of member 0: 61 bars, 67 are needed"):
        said(fitted, panel, at(panel, "S0", 60))
    with pytest.raises(DataError, match="a window needs 126"):
        windows_of(Panel(tuple(bars.head(100) for bars in panel)), tiny_with(context=60))


def test_the_default_reads_each_symbol_alone():
    assert LearnerConfig().panel is None


# audits, and power


def audited(**changed: Any) -> Any:
    learner = CONFIG.learner.model_copy(update={"panel": 2} | changed)
    config = CONFIG.model_copy(update={"learner": learner, "baselines": ("naive",)})
    models = (BackboneForecaster("llama", learner),)
    subject = reduced(backtest.plan(config, market(), models, "audited"), market())[0]
    return replace(subject, forecasters=models)


def test_what_networks_are_fed_knows_no_future(panel: Panel, fitted: FittedLearner):
    """Each origin's own sequence; targets are not among what is fed."""
    moment = panel.clock[-40]
    asked = all_origins(panel, moment)
    before = probe.question_arrays(fitted, panel, asked)
    after = probe.question_arrays(fitted, poisoned(panel, moment, "noise", 1), asked)
    assert set(before) == {"tokens", "inputs", "moments", "symbols", "last"}
    for name, values in before.items():
        assert len(values) == len(asked)
        assert values.tobytes() == after[name].tobytes()


@pytest.mark.slow
def test_an_audit_passes_its_networks():
    subject = audited()
    for law in network_laws(4):
        assert tried(law, subject).finding is None, law


@pytest.mark.slow
def test_an_audit_passes_its_forecasts():
    subject = audited()
    for law in model_laws(subject.forecasters, 20):
        assert tried(law, subject).finding is None, law


def led(n: int, seed: int) -> Panel:
    """Each day the follower moves by what the leader did the day before; the leader by chance."""
    rng = np.random.default_rng(seed)
    scale = 0.004 * np.exp(1.2 * rng.normal(size=n + 1))
    leader = scale * rng.choice([-1.0, 1.0], n + 1)
    follower = scale[:-1] * rng.normal(size=n)
    return Panel(
        (
            bars_from_returns("LEADER", leader[1:], seed),
            bars_from_returns("FOLLOWER", follower, seed + 1),
        )
    )


@pytest.mark.slow
def test_what_only_company_tells_is_learnt():
    """The follower's next size stands in the leader's last bar: together that is seen."""
    panel = led(3000, 1)
    size = {"d_model": 32, "steps": 400, "batch": 16, "context": 16, "lr": 3e-3, "return_bins": 40}
    learner = tiny_with(panel=2, shrink=1.0, **size)
    gains = {}
    origins = at(panel, "FOLLOWER", 0)
    test = np.arange(2200, 2990)
    origins = Origins(np.full(len(test), origins.member[0]), test)
    y = np.log(panel.members[0].close[test + 1] / panel.members[0].close[test])[:, None]
    history = panel.until(panel.clock[2150])
    for name, config in (
        ("together", learner),
        ("alone", tiny_with(panel=None, shrink=1.0, **size)),
    ):
        fit = BackboneForecaster("llama", config).fit(history, (1,))
        gains[name] = fit.forecast(panel, origins, (1,)).logpdf(y).mean()
    assert gains["together"] > gains["alone"] + 0.05
