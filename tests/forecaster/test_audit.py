"""The audit of a run: the honest pipeline passes, planted leaks are named by stage and date."""

import json
from dataclasses import replace
from pathlib import Path

import company_leaks  # noqa: F401 it registers leaks
import numpy as np
import pytest
from audited import CONFIG, first_leak, laws, market, reading, stored, subject
from leaks import LEAKS, everywhere

import forecaster.features as feature_module
from forecaster import backtest, vault, workflows
from forecaster.audit import placebos, recalibration, run
from forecaster.audit.emitted import Emitted, Finding, first_difference
from forecaster.audit.laws import Law, tried
from forecaster.audit.poison import FUTURES, poisoned
from forecaster.audit.subject import Subject, reduced
from forecaster.bars import Bars
from forecaster.cli import run as command
from forecaster.learner import BackboneForecaster
from forecaster.provenance import Provenance
from forecaster.runs import RunFolder
from forecaster.store import Store

QUICK = (
    "last_partial_bar_kept",
    "unknown_volume_filled_backwards",
    "factor_of_the_next_bar",
    "adjusted_by_adding",
    "factor_drawn_towards_todays",
    "outliers_of_the_full_sample_mended",
    "centred_rolling_scale",
    "cache_that_does_not_look_at_the_bars",
    "tokens_are_ranks_over_all_bars",
    "label_shifted_by_a_bar",
    "a_price_level_among_the_inputs",
    "no_purge",
    "companions_are_read_a_moment_late",
    "symbols_dropped_that_die_later",
)


def assert_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    each = LEAKS[name]
    each.plant(monkeypatch)
    found = first_leak(config=reading(each.together))
    assert found is not None, "not caught"
    assert found[0] == each.stage, found[1]


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_leak_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    assert_caught(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(LEAKS) - set(QUICK)))
def test_every_planted_leak_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    assert_caught(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("together", sorted({e.together for e in LEAKS.values()}, key=str))
def test_the_honest_pipeline_passes_every_law(together: int | None):
    assert first_leak(config=reading(together)) is None


def test_there_are_enough_leaks_and_all_stages_have_one():
    assert len(LEAKS) >= 25
    stages = {law.stage for law in laws(subject(), 11)}
    assert {each.stage for each in LEAKS.values()} <= stages


@pytest.fixture(scope="module")
def honest() -> Subject:
    return subject()


def test_the_models_of_whole_cells_do_not_hang_on_a_clock(honest: Subject):
    assert [each.name for each in honest.through_cells] == ["random_walk", "drift", "llama"]


def test_the_honest_pipeline_passes_with_few_examples(honest: Subject):
    dear = ("placebo", "append")  # all of them hold in the slow test above
    cheap = [law for law in laws(honest, 2) if not law.stage.startswith(dear)]
    for law in cheap:
        assert tried(law, honest).finding is None, law


@pytest.mark.parametrize("kind", FUTURES)
def test_a_poisoned_panel_keeps_its_past_and_has_another_future(kind: str):
    panel = market()
    cut = panel.clock[600]
    other = poisoned(panel, cut, kind, 0)
    same = []
    for bars, poison in zip(panel, other, strict=True):
        n = len(bars.until(cut))
        for name in ("opened_at", "open", "high", "low", "close", "volume"):
            a, b = (getattr(each, name) for each in (bars, poison))
            assert a[:n].tobytes() == b[:n].tobytes()
            same.append(a[n:].tobytes() == b[n:].tobytes())
            assert name == "opened_at" or not np.isinf(b).any()
    assert not all(same)


def minus_nothing(account: list[Emitted], part: float) -> list[Emitted]:
    return [replace(each, values=each.values * (1 - part)) for each in account]


def test_differences_are_found_to_the_last_bit_and_the_earliest_is_named():
    days = np.datetime64("2020-01-01", "us") + np.arange(4) * np.timedelta64(1, "D")
    x = np.arange(4.0)
    one = [Emitted("x", "A", days, x), Emitted("x", "B", days, x)]
    assert first_difference(one, one, days[3]) is None
    later = np.where(x == 2, np.nextafter(2.0, 3.0), x)
    other = [Emitted("x", "A", days, later), Emitted("x", "B", days, np.where(x == 1, -1, x))]
    found = first_difference(one, other, days[3])
    assert found == Finding("x changes from 1 to -1", "B", "2020-01-02")
    assert first_difference(one, other, days[0]) is None
    assert first_difference(one, minus_nothing(one, 1e-12), days[3], 1e-9) is None
    assert first_difference(one, minus_nothing(one, 1e-6), days[3], 1e-9) is not None
    nothing_of_b = first_difference(one, one[:1], days[3])
    assert nothing_of_b is not None
    assert (nothing_of_b.symbol, nothing_of_b.date) == (
        "B",
        "2020-01-01",
    )
    minus = [Emitted("x", "A", days, x), Emitted("x", "B", days, np.where(x == 0, -0.0, x))]
    assert first_difference(one, minus, days[3]) is not None


def test_recalibration_learns_a_fixed_shape_and_nothing_more():
    rng = np.random.default_rng(0)
    flat = recalibration.Recalibration.of(rng.random(20_000))
    assert np.abs(flat.log_density(np.linspace(0.01, 0.99, 50))).max() < 0.1
    bent = recalibration.Recalibration.of(rng.beta(2, 2, 20_000))
    u = np.linspace(0.05, 0.95, 50)
    assert np.abs(bent.log_density(u) - np.log(6 * u * (1 - u))).max() < 0.2
    grid = np.linspace(0, 1, 20_001)
    assert np.exp(bent.log_density(grid)).mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["shuffled", "walk"])
def test_a_placebo_is_legal_bars_with_the_same_dates(kind: str, honest: Subject):
    panel, fold = placebos.market_of(kind, honest, 0)
    whole = {bars.symbol: bars for bars in honest.whole.panel}
    for bars in panel:
        assert np.array_equal(bars.opened_at, whole[bars.symbol].opened_at[-len(bars) :])
        if kind == "shuffled":
            ours, theirs = (np.sort(np.diff(np.log(b.close))) for b in (bars, whole[bars.symbol]))
            assert np.allclose(ours, theirs)
    assert fold.train_until < fold.test_from


def next_return_among_the_inputs(patch: pytest.MonkeyPatch) -> None:
    original = feature_module.features

    def features(bars: Bars) -> feature_module.Features:
        known = original(bars)
        inputs = known.inputs.copy()
        inputs[:, 5] = np.append(known.geometry[1:, 0], 0.0)
        return replace(known, inputs=inputs)

    everywhere(patch, original, features)


EAGER = CONFIG.learner.model_copy(update={"lr": 3e-3, "shrink": 1.0})
MARKETS = 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shuffled", "walk"])
def test_placebos_rarely_accuse_the_innocent_and_always_who_knows_the_future(
    kind: str, honest: Subject, monkeypatch: pytest.MonkeyPatch
):
    learner = BackboneForecaster("llama", EAGER)
    found = placebos.gains(learner, kind, honest, MARKETS)
    assert placebos.accused(found).sum() <= 1
    next_return_among_the_inputs(monkeypatch)
    assert placebos.accused(placebos.gains(learner, kind, honest, 3)).all()


def test_a_placebo_that_accuses_more_often_than_chance_is_a_finding(
    honest: Subject, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []

    def outcome(accusing: int, markets: int) -> Finding | None:
        found = np.tile([0.0, 0.5], (markets, 1))
        found[:accusing] = 0.02, 5.0
        monkeypatch.setattr(placebos, "gains", lambda *_: found)
        return placebos.placebo_check("walk", said.append, honest, markets)

    assert outcome(0, 1) is outcome(2, 40) is None
    assert said[1].startswith("placebo walk: 2 of 40 markets accuse (1.4% to 16.5%); in the worst")
    once, often = outcome(1, 1), outcome(6, 40)
    assert once is not None
    assert often is not None
    assert str(once).startswith("llama gains +0.0200 nats (t = 5.0) where nothing can be known")
    assert str(often).endswith("in 6 of 40 such markets")
    assert not placebos.accused(np.array([[0.02, 1.0], [0.0005, 9.0]])).any()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the market and a run folder that asks for it."""
    monkeypatch.chdir(tmp_path)
    origin = Provenance(
        source="test",
        package="none",
        version="1",
        sha256="",
        fetched_at="2026-01-01T00:00:00+00:00",
    )
    for bars in stored():
        Store(tmp_path / "data").put(bars, origin)
    RunFolder.create(tmp_path / "mine", "backtest", CONFIG).finish("done")
    kept = run.laws_of
    monkeypatch.setattr(run, "laws_of", lambda *given: kept(*given)[:3])
    return tmp_path


@pytest.mark.usefixtures("workplace")
def test_the_command_passes_an_honest_run(capsys: pytest.CaptureFixture[str]):
    assert command(["audit", "mine", "-q", "--examples", "2"]) == 0
    printed = capsys.readouterr().out
    assert "nothing found; the audit can see" in printed
    assert "reduced" in printed
    assert "clock" in printed
    assert command(["audit", "mine", "-q", "--examples", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["leaks"] == []
    assert record["cpu_seconds"] >= 0
    assert [check["holds"] for check in record["checks"]] == [True] * 3


@pytest.mark.usefixtures("workplace")
def test_the_command_ends_with_11_and_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    LEAKS["centred_rolling_scale"].plant(monkeypatch)
    assert command(["audit", "mine", "-q", "--json"]) == 11
    out, err = capsys.readouterr()
    found = json.loads(out)["checks"][2]
    assert (found["stage"], found["holds"]) == ("features", False)
    assert found["date"].startswith("200")
    assert found["symbol"].startswith("GARCH")
    assert err.count("\n") == 1
    assert "audit of mine: features: " in err
    assert " changes from " in err


@pytest.mark.usefixtures("workplace")
def test_the_command_names_a_leak_inside_the_adjustment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    LEAKS["factor_of_the_next_bar"].plant(monkeypatch)
    assert command(["audit", "mine", "-q", "--json"]) == 11
    out, err = capsys.readouterr()
    found = json.loads(out)["checks"][0]
    assert (found["stage"], found["holds"]) == ("adjusted", False)
    assert found["symbol"].startswith("GARCH")
    # The factor of the first bar after the cut shows in the last one before it.
    assert f"when the bars after {found['date']} become: noise" in found["finding"]
    assert "audit of mine: adjusted: " in err


@pytest.mark.usefixtures("workplace")
def test_history_may_be_rescaled_by_a_constant_that_today_decides(
    monkeypatch: pytest.MonkeyPatch,
):
    original = Bars.adjusted

    def adjusted(self: Bars) -> Bars:
        return original(replace(self, adjustment=self.adjustment / self.adjustment[-1]))

    monkeypatch.setattr(Bars, "adjusted", adjusted)
    assert command(["audit", "mine", "-q"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere"], 2, "nowhere is no predictions file, and run runs/nowhere not found"),
        (["mine", "--against", "x.parquet"], 2, "--against is for predictions files"),
        (["mine/status.json"], 5, "not a parquet file"),
        (["mine/status.json", "--source", "bundled"], 2, "name them with --symbols"),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_what_cannot_be_audited_is_refused(
    words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
):
    assert command(["audit", *words, "-q"]) == code
    assert says in capsys.readouterr().err


def test_a_law_is_a_row(honest: Subject):
    law = Law("stage", "P0", "nothing", 1, lambda _, __: Finding("broken", "A", "2020-01-01"))
    row = tried(law, honest).as_json()
    assert row["finding"] == "broken, first at A 2020-01-01"
    assert (row["holds"], row["symbol"], row["date"]) == (False, "A", "2020-01-01")


@pytest.mark.parametrize("ends", [{"test_until": "2001-08-30"}, {"vault": "locked"}])
def test_a_plan_that_ends_before_the_store_is_audited_as_far(
    ends: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Stored bars go on where a vault or the config ends the plan: once an error of shapes."""
    monkeypatch.setattr(vault, "FEWEST", 50)  # of 680
    config = CONFIG.model_copy(update=ends)
    plan = backtest.plan(config, market(), workflows.forecasters(config), "ends")
    subject, _ = reduced(plan, stored())
    assert [len(bars) for bars in subject.stored] == [len(bars) for bars in subject.panel]
