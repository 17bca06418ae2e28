"""The explorer: what its controls show is what the run holds, and nothing that is hidden."""

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient
from panels import garch_panel
from scipy.stats import norm
from test_report import CONFIG, HOSTILE, Learnt, ran, spoil

from forecaster import training
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.baselines.volatility import EwmaStudentT
from forecaster.boundary import Terminated
from forecaster.cli import run as command
from forecaster.config import LearnerConfig, RunConfig
from forecaster.errors import UsageError
from forecaster.explorer import app as explorer
from forecaster.explorer import attending, callbacks, charts, controls
from forecaster.explorer.bar_words import Reader, coded, fold_of, said, token_table
from forecaster.explorer.controls import Place, choice_of
from forecaster.explorer.heads import Head, Network, attention_chart, open_network
from forecaster.explorer.interpolated import density
from forecaster.explorer.subject import Choice, Subject, read_subject
from forecaster.explorer.versus import comparison_tables
from forecaster.frames import QUANTILES
from forecaster.runs import RunFolder
from forecaster.side_by_side import compare
from forecaster.tokens.fitting import fit_tokenizer

PANEL = garch_panel(1100, 2)
SMALL = LearnerConfig(
    steps=3, seeds=2, d_model=16, n_layers=2, context=32, batch=4, variance_tokens=False
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backtests that differ in a setting and a model, and a training."""
    root = tmp_path_factory.mktemp("explored")
    learner = Learnt(EwmaStudentT(), "copycat")
    ran(root / "runs/one", (RandomWalk(), WindowVolatility(20), EwmaStudentT(), learner))
    other = CONFIG.model_copy(update={"refit_every": 300, "presets": ("rival",)})
    ran(root / "runs/two", (RandomWalk(), Learnt(WindowVolatility(20), "rival")), other)
    config = RunConfig(horizons=(1, 5), presets=("dint_v1",), learner=SMALL)
    trained = RunFolder.create(root / "runs/net", "train", config)
    plan = training.plan_training(config, PANEL, "2001-06-01")
    training.run_training(plan, trained, lambda *_: None, resume=False)
    trained.write_json("data.json", {"until": "2001-06-01", "digest": "0" * 64, "symbols": {}})
    return root


@pytest.fixture(scope="module")
def subject(place: Path) -> Subject:
    return read_subject([RunFolder(place / "runs/one")], PANEL)


@pytest.fixture(scope="module")
def both(place: Path) -> Subject:
    return read_subject([RunFolder(place / "runs" / name) for name in ("one", "two")], PANEL)


@pytest.fixture(scope="module")
def network(place: Path) -> Network:
    return open_network(RunFolder(place / "runs/net"), PANEL, "")


def choice(subject: Subject, *, revealed: bool = False, h: int = 5) -> Choice:
    return choice_of(
        subject, Place(symbol="GARCH-1", position=100), h, list(subject.models), revealed
    )


def seen(chart: Any) -> set[str]:
    """Labels of the bars that are drawn as candles."""
    return {x for trace in chart.traces if trace["type"] == "candlestick" for x in trace["x"]}


@pytest.mark.parametrize("revealed", [False, True])
def test_what_came_is_shown_on_demand_alone(subject: Subject, revealed: bool):
    asked = choice(subject, revealed=revealed)
    day = subject.day(asked.cutoff)
    fan, scores = charts.fan_chart(subject, asked), charts.scores_chart(subject, asked)
    shape = charts.density_chart(subject, asked)
    assert (max(seen(fan)) > day) == revealed
    assert fan.numbers is not None
    assert any(row[-1] for row in fan.numbers.rows) == revealed
    assert (len(shape.marks) == 2) == revealed
    assert (scores.numbers is not None) == revealed
    known = subject.rows("scores", "copycat", "GARCH-1")
    known = known[(known["h"] == 5) & (known["ds"] <= asked.cutoff)]
    last = max(x for trace in scores.traces for x in trace["x"])
    assert (last <= f"{known['cutoff'].max():%Y-%m-%d}") != revealed


def test_a_fan_begins_at_the_close_and_goes_through_the_stored_quantiles(subject: Subject):
    asked = choice(subject)
    chart = charts.fan_chart(subject, asked)
    bars = subject.bars("GARCH-1")
    assert bars is not None
    close = bars.close[np.searchsorted(bars.opened_at, np.datetime64(asked.cutoff, "us"))]
    assert asked.models[0] == "copycat"  # learners first: its bands are filled
    median = next(t for t in chart.traces if t.get("name") == "copycat, median")
    stored = subject.rows("predictions", "copycat", "GARCH-1")
    stored = stored[stored["cutoff"] == asked.cutoff].sort_values("h")
    assert median["y"] == pytest.approx([close, *close * np.exp(stored["0.5"])], rel=1e-5)
    assert median["x"][0] == chart.marks[0]["x0"] == subject.day(asked.cutoff)


def test_without_bars_a_fan_is_of_multiples(place: Path, tmp_path: Path):
    subject = read_subject([RunFolder(place / "runs/one")], tmp_path)
    hidden = charts.fan_chart(subject, choice(subject))
    assert "No candles: GARCH-0 at interval 1d is not in the store" in hidden.note
    shown = charts.fan_chart(subject, choice(subject, revealed=True))
    assert len(shown.traces) == len(hidden.traces) + 1
    assert shown.y["title"]["text"] == "multiple of the close"
    assert "not in the store" in token_table(Reader(subject), choice(subject)).note


def test_a_density_meets_every_quantile_and_a_normal_comes_out_exact():
    levels = np.array(QUANTILES)
    found = density(norm.ppf(levels, 0.3, 2.0))
    assert found is not None
    assert found[1] == pytest.approx(norm.pdf(found[0], 0.3, 2.0), rel=1e-9)
    skewed = np.exp(norm.ppf(levels))
    found = density(skewed)
    assert found is not None
    x, y = found
    for i in (0, 5, 11):
        fine = np.linspace(skewed[i], skewed[i + 1], 500)
        mass = np.trapezoid(np.interp(fine, x, y), fine)
        assert mass == pytest.approx(levels[i + 1] - levels[i], rel=0.03)
    assert density(np.array([0.0] * 11 + [0.1, 0.2])) is None


def test_tokens_are_those_of_the_folds_own_learners(subject: Subject):
    reader, asked = Reader(subject), choice(subject)
    fold = fold_of(subject, asked)
    edges = reader.edges_of(fold)
    history = reader.folds[fold].history(PANEL)
    learner = subject.first.config.learner
    assert edges == fit_tokenizer(history, (1, 5), learner).field_edges
    later = PANEL.members[0].closed_at[-1]
    assert edges != fit_tokenizer(PANEL.until(later), (1, 5), learner).field_edges
    shown = token_table(reader, asked)
    assert [row[0] for row in shown.rows] == [
        *("close_return", "gap", "upper_wick", "lower_wick", "activity"),
    ]
    assert all("of 0-15" in str(row[2]) for row in shown.rows)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("close_return", 0.5, "closed 0.50 % above the close before (+0.50 scales)"),
        ("gap", -2.0, "opened 1.98 % below the close before (-2.00 scales)"),
        ("lower_wick", 1.0, "went 1.00 % below its body (+1.00 scales)"),
        ("activity", np.log(2), "traded 2.00 times its mean value of 66 bars"),
        ("upper_wick", np.nan, "not known"),
    ],
)
def test_a_field_is_told_in_words(name: str, value: float, words: str):
    assert said(name, value, 0.01) == words


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    edges = (-1.0, 0.0, 1.0)
    assert coded(-3.0, edges) == ("0 of 0-3", "below -1.00")
    assert coded(0.0, edges) == ("2 of 0-3", "+0.00 to +1.00")
    assert coded(1.0, edges) == ("3 of 0-3", "+1.00 or more")
    assert coded(float("nan"), edges) == ("missing", "")


def test_controls_move_and_what_is_no_place_moves_nothing(subject: Subject):
    kept = {"symbol": "GARCH-1", "position": 100}
    cutoffs = subject.cutoffs("GARCH-1")

    def to(trigger: str, value: Any = None) -> dict[str, Any]:
        return callbacks.moved(subject, kept, trigger, value)[0]

    assert to("later") == {"symbol": "GARCH-1", "position": 101}
    assert to("earlier") == {"symbol": "GARCH-1", "position": 99}
    assert to("position", 10**9)["position"] == len(cutoffs) - 1
    assert to("day", f"{cutoffs[7]:%Y-%m-%d}")["position"] == 7
    assert to("day", "1990-01-01")["position"] == 0
    assert to("symbol", "GARCH-0") == {"symbol": "GARCH-0", "position": 100}
    pick = subject.picks[1]
    assert to("pick", 1)["symbol"] == pick.symbol
    assert cutoffs[to("pick", 1)["position"]] == pick.cutoff
    for trigger, value in [("symbol", HOSTILE), ("day", "soon"), ("day", "NaT"), ("pick", 99)]:
        assert to(trigger, value) == kept
    assert to("position", None) == kept
    begun = controls.begin(subject)
    assert controls.place_of(subject, {"symbol": HOSTILE, "position": 3}) == begun
    asked = choice_of(subject, begun, "x", ["copycat", HOSTILE, 3, {}], False)
    assert (asked.h, asked.models) == (1, ("copycat",))


def test_every_control_gives_every_part(both: Subject):
    client = explorer.build_app(both).server.test_client()
    ids = set(find_ids(answered(client, "layout")))
    wanted = answered(client, "dependencies")
    assert len(wanted) == 4
    for each in wanted:
        for asked in (*each["inputs"], *each["state"]):
            assert asked["id"] in ids
        assert {part.split(".")[0] for part in each["output"].strip(".").split("...")} <= ids
    begun = controls.begin(both)
    assert len(callbacks.fan_shown(Reader(both), begun, None, revealed=True)) == 7
    assert len(callbacks.horizon_shown(both, begun, 1, None, revealed=True)) == 9


def answered(client: FlaskClient, what: str) -> Any:
    return json.loads(client.get(f"/_dash-{what}", base_url="http://127.0.0.1").get_data())


def find_ids(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        own = [tree["props"]["id"]] if "id" in tree.get("props", {}) else []
        return own + [found for value in tree.values() for found in find_ids(value)]
    if isinstance(tree, list):
        return [found for value in tree for found in find_ids(value)]
    return []


@pytest.mark.parametrize("name", ["GARCH-0", "copycat"])
def test_a_hostile_name_is_text_wherever_it_stands(place: Path, tmp_path: Path, name: str):
    run = RunFolder(Path(shutil.copytree(place / "runs/one", tmp_path / "copy")))
    spoil(run, name, HOSTILE)
    subject = read_subject([run], tmp_path)
    assert HOSTILE in (*subject.symbols, *subject.models)
    client = explorer.build_app(subject).server.test_client()
    page = client.get("/", base_url="http://127.0.0.1").get_data(as_text=True)
    assert "onerror" not in page  # names come as JSON, and React makes text of them
    start = controls.begin(subject)
    asked = choice_of(subject, start, 1, list(subject.models), True)
    drawn = [charts.fan_chart(subject, asked), charts.density_chart(subject, asked)]
    drawn.append(charts.scores_chart(subject, asked))
    names = [trace.get("name", "") for chart in drawn for trace in chart.traces]
    assert not any("<" in each for each in names)  # plotly reads tags in text
    assert any("&lt;img" in each for each in names) == (name == "copycat")


def test_nothing_is_asked_of_another_place_and_strangers_are_refused(subject: Subject):
    client = explorer.build_app(subject).server.test_client()
    answer = client.get("/", base_url="http://127.0.0.1:8050")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for address in ("http://evil.example:8050", "http://127.0.0.1.evil.example:8050"):
        assert client.get("/", base_url=address).status_code == 400
    assert client.get("/", base_url="http://localhost:8050").status_code == 200


def test_two_runs_are_compared_on_their_common_forecasts(both: Subject, place: Path):
    record = both.comparison
    assert [each["key"] for each in record["settings"]] == ["refit_every", "presets"]
    rows = {(*row["models"], row["h"]): row for row in record["scores"]}
    assert set(rows) == {("random_walk", "random_walk", h) for h in (1, 5)}
    same = compare(*[RunFolder(place / "runs/one")] * 2)
    assert same["settings"] == []
    assert {row["gain"] for row in same["scores"]} == {0.0}
    assert {row["p"] for row in same["scores"]} == {1.0}
    assert "rival (two)" in both.models
    chart = charts.fan_chart(both, choice(both))
    assert "rival (two), 90 %" in {trace.get("name") for trace in chart.traces}
    scores, settings = comparison_tables(record, 5)
    assert [row[0] for row in scores.rows] == ["random_walk"]
    assert settings.rows[0] == ("refit_every", "400", "300")


def test_a_gain_is_b_less_a_over_dates(place: Path):
    """The runs' learners have other names: they are compared all the same."""
    one, two = (RunFolder(place / "runs" / name) for name in ("one", "two"))
    config = one.read_json("config.resolved.json")
    one.write_json("config.resolved.json", config | {"presets": ["copycat"]})
    try:
        found = compare(one, two)["scores"]
    finally:
        one.write_json("config.resolved.json", config)
    row = next(row for row in found if row["models"] == ["copycat", "rival"] and row["h"] == 1)
    tables = [pd.read_parquet(run.path / "scores.parquet") for run in (one, two)]
    means = [
        table[(table["model"] == name) & (table["h"] == 1)].groupby("cutoff")["log_score"].mean()
        for table, name in zip(tables, ("copycat", "rival"), strict=True)
    ]
    assert row["gain"] == pytest.approx((means[1] - means[0]).mean(), abs=1e-12)
    assert row["gain"] < 0  # an EWMA under a t beats a window's normal on GARCH


def test_a_comparison_is_a_command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(place)
    assert command(["runs", "compare", "one", "two"]) == 0
    shown = capsys.readouterr().out
    assert "the same bars" in shown
    assert "refit_every: 400 | 300" in shown
    assert "the same scores in both: random_walk" in shown
    assert "only in B: rival" in shown
    assert command(["runs", "compare", "one", "two", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "backtest"
    assert command(["runs", "compare", "one", "net"]) == 2
    assert "compare two of a kind" in capsys.readouterr().err
    assert command(["runs", "compare", "net", "net"]) == 0
    assert "the same settings" in capsys.readouterr().out


def test_a_dry_run_serves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(place)
    assert command(["explore", "one", "--against", "two", "--dry-run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["symbols"] == ["GARCH-0", "GARCH-1"]
    assert record["models"][0] == "copycat"
    assert "rival (two)" in record["models"]
    assert record["origins"] > 1000


def test_rows_of_a_map_are_what_the_laws_say(subject: Subject, network: Network):
    layers = network.sample
    assert len(layers) == 2
    for layer in layers:
        assert layer.read == "sum"
        assert layer.lam is not None
        for name, map_ in layer.maps.items():
            wanted = 1 - layer.lam if name == "difference" else np.ones(map_.shape[:2])
            assert np.allclose(map_.sum(axis=-1), wanted, atol=1e-5), name
            assert np.abs(np.triu(map_, 1)).max() == 0
    parts = attending.attended(
        subject, network, {"symbol": "GARCH-1", "position": 9}, (1, 1, 1, "sum")
    )
    assert parts[1] == "dint_v1: difference and integral, layer 2, head 2"
    assert "it has seen" not in parts[3]
    early = {"symbol": "GARCH-1", "position": -1}
    wrong = attending.attended(subject, network, early, (9, None, "x", HOSTILE))
    assert wrong[1] == "dint_v1: difference and integral, layer 1, head 1"


def test_a_network_that_has_seen_the_outcome_is_told(subject: Subject, network: Network):
    network.until = pd.Timestamp("2030-01-01")
    kept = {"symbol": "GARCH-1", "position": 9}
    assert "it has seen what came after" in attending.attended(subject, network, kept, (0,) * 4)[3]


def test_a_window_that_is_too_short_has_no_map(network: Network):
    asked = Choice(symbol="GARCH-1", cutoff=pd.Timestamp("2000-01-20"), h=1, models=())
    chart = attention_chart(network, asked, Head(network=0, layer=0, head=0, name="sum"))
    assert chart.note.startswith("No map: origin at bar 17")


def test_other_runs_are_refused_in_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(place)

    def refused(*words: str) -> str:
        capsys.readouterr()
        assert command(["explore", *words]) in {2, 6}
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "is a train, not a backtest" in refused("net")
    assert "is a backtest, not a train" in refused("one", "--learner", "two")
    assert "not found; did you mean 'one'?" in refused("onne")
    monkeypatch.setitem(sys.modules, "dash", None)
    for name in [n for n in sys.modules if n.startswith("forecaster.explorer")]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'forecaster-lab[ui]'" in refused("one")


def test_a_taken_port_is_refused_and_port_0_is_any(subject: Subject):
    app = explorer.build_app(subject)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {number}: address already in use"):
            explorer.server(app, number)
    made = explorer.server(app, 0)
    assert made.host == "127.0.0.1"
    assert made.port > 0
    made.server_close()


def test_ctrl_c_is_the_end_and_sigterm_is_what_it_is(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []

    def stopped_by(kind: type[BaseException]) -> None:
        def stop(_: object) -> None:
            raise kind

        monkeypatch.setattr(explorer.BaseServer, "serve_forever", stop)
        explorer.serve(explorer.server(explorer.build_app(subject), 0), opened.append)

    stopped_by(KeyboardInterrupt)
    with pytest.raises(Terminated):
        stopped_by(Terminated)
    assert all(url.startswith("http://127.0.0.1:") for url in opened)
    assert len(opened) == 2


def test_a_callback_answers_over_http(subject: Subject):
    client = explorer.build_app(subject).server.test_client()
    wanted = answered(client, "dependencies")
    show = next(each for each in wanted if "fan.figure" in each["output"])
    values = [{"symbol": "GARCH-1", "position": 5}, ["copycat"], 1]
    asked = [each | {"value": value} for each, value in zip(show["inputs"], values, strict=True)]
    outputs = [
        dict(zip(("id", "property"), part.rsplit(".", 1), strict=True))
        for part in show["output"].strip(".").split("...")
    ]
    answer = client.post(
        "/_dash-update-component",
        base_url="http://127.0.0.1",
        json={"output": show["output"], "outputs": outputs, "inputs": asked, "state": []}
        | {"changedPropIds": ["place.data"]},
    )
    assert answer.status_code == 200
    found = json.loads(answer.get_data())["response"]
    assert found["fan-title"]["children"].startswith("GARCH-1 from")
    assert found["reveal"]["children"] == "hide what came"
