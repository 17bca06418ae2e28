"""The page of a run: whole, harmless, and with the numbers of summary.json and no others."""

import gzip
import json
import os
import shlex
import shutil
import subprocess
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape
from panels import garch_panel
from plotly.offline import get_plotlyjs

from forecaster import backtest, report, workflows
from forecaster.bars import Panel
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.baselines.volatility import EwmaStudentT
from forecaster.config import RunConfig, resolve
from forecaster.engine import Local
from forecaster.errors import CheckpointError, StorageError, UsageError
from forecaster.fetching import FetchRequest, fetch
from forecaster.protocol import Forecaster
from forecaster.report.calibrated import LEVELS, reliability
from forecaster.report.drawing import gauge, thinned
from forecaster.report.facts import command_again
from forecaster.report.fans import fan_charts
from forecaster.report.material import bars_of, read_material
from forecaster.report.origins import chosen
from forecaster.report.over_time import difference, in_words, longest_wait
from forecaster.report.page import page_of
from forecaster.report.words import finding, headlines
from forecaster.runs import RunFolder
from forecaster.store import Store

CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1"), horizons=(1, 5), test_from="2001-06-18", refit_every=400
)
HOSTILE = "<img src=x onerror=alert(1)>&</script><b>"
SECTIONS = [
    *("verdict", "scores", "limits", "gain", "groups", "calibration", "risk", "networks"),
    *("training", "fans", "bars", "folds", "time", "again"),
]
VOID = {"meta", "input", "br", "img", "link", "hr"}


@dataclass(frozen=True)
class Learnt:
    """A baseline under a name that no baseline has: what a summary takes for a learner."""

    inner: Forecaster
    name: str

    def fit(self, history: Panel, horizons: Sequence[int]):
        return self.inner.fit(history, horizons)


@dataclass
class Page(HTMLParser):
    """What stands in a page: elements, text by element id, tables by caption."""

    text: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    unclosed: list[str] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.caption, self.inside = "", ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")
        if tag == "table":
            self.caption, self.rows = "", []

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag
        if tag == "table":
            assert self.caption.strip()
            assert self.caption.strip() not in self.tables
            self.tables[self.caption.strip()] = self.rows[1:]

    def handle_data(self, data: str) -> None:
        if "caption" in self.unclosed:
            self.caption += data
        elif {"th", "td"} & set(self.unclosed):
            self.rows[-1][-1] += data.strip()
        elif self.unclosed and self.unclosed[-1] == "script":
            name = self.elements[-1][1].get("id") or ""
            self.scripts[name] = self.scripts.get(name, "") + data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def ran(place: Path, models: tuple[Forecaster, ...], config: RunConfig = CONFIG) -> RunFolder:
    """A finished backtest on two simulated symbols."""
    plan = backtest.plan(config, garch_panel(1100, 2), models, "0" * 64)
    run = workflows.new_run(plan, "0" * 64, place)
    unheard = workflows.Watch(lambda _: None, lambda *_: None)
    workflows.run_backtest(plan, run, Local(1), unheard, (place.parent, "0" * 64))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two naive models, one econometric, two learners."""
    learners = (Learnt(EwmaStudentT(), "copycat"), Learnt(RandomWalk(), "worse"))
    models = (RandomWalk(), WindowVolatility(20), EwmaStudentT(), *learners)
    return ran(tmp_path_factory.mktemp("report") / "run", models)


@pytest.fixture(scope="module")
def text(run: RunFolder) -> str:
    return page_of(read_material(run, garch_panel(1100, 2)))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The same run, to be spoilt."""
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))


def test_every_section_is_there_and_is_linked(page: Page):
    assert page.unclosed == []
    assert [each.get("id") for each in page.named("section")] == SECTIONS
    linked = [each["href"] for each in page.named("a")]
    assert linked == ["#verdict", *(f"#{name}" for name in SECTIONS)]
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert set(ids.values()) == {1}


def test_tables_have_captions_and_headers_and_are_reached_by_keyboard(page: Page):
    assert len(page.tables) > 20  # each has a caption of its own: the parser refuses others
    heads = page.named("th")
    assert {each.get("scope") for each in heads} == {"row", "col"}
    regions = [each for each in page.named("div") if each.get("role") == "region"]
    assert len(regions) == len(page.tables)
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in regions)


def test_every_chart_is_said_in_words_and_has_its_data(page: Page):
    charts = [each for each in page.named("div") if each.get("class") == "chart"]
    assert len(charts) > 20
    assert all(each["role"] == "img" and len(each["aria-label"] or "") > 40 for each in charts)
    assert {each["id"] for each in charts} == set(json.loads(page.scripts["data"]))
    assert len(page.named("details")) == len(charts)


def test_nothing_is_asked_of_another_place(text: str, page: Page):
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    for _, attributes in page.elements:
        assert not set(attributes) & {"src", "srcset", "action", "poster"}
    policy = next(e for e in page.named("meta") if e.get("http-equiv"))["content"] or ""
    assert policy.startswith("default-src 'none'")
    assert not page.named("link")


def test_the_page_is_small_and_holds_all_of_plotly(text: str, page: Page):
    assert len(text.encode()) < 4e6
    assert gzip.decompress(b64decode(page.scripts["plotly"])).decode() == get_plotlyjs()


def test_a_large_summary_is_packed(
    run: RunFolder, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("forecaster.report.page.PACKED_BYTES", 100)
    report.write_report(run, garch_panel(1100, 2), tmp_path / "packed.html")
    page = Page((tmp_path / "packed.html").read_text("utf-8"))
    packed = gzip.decompress(b64decode(page.scripts["summary"]))
    assert json.loads(packed) == run.read_json("summary.json")
    assert len(page.text) < len(text)


def test_its_numbers_are_those_of_the_summary(run: RunFolder, page: Page):
    summary = run.read_json("summary.json")
    assert json.loads(page.scripts["summary"]) == summary
    for h in (1, 5):
        rows = [row for row in summary["rows"] if row["h"] == h]
        caption = f"h = {h}: {rows[0]['n']:,} forecasts on {rows[0]['dates']:,} dates"
        shown = {cells[0]: cells for cells in page.tables[caption]}
        assert list(shown) == ["random_walk", "volatility_20", "ewma_student_t", "copycat", "worse"]
        for row in rows:
            cells = shown[row["model"]]
            assert cells[1] == f"{row['log_score']:.4f}"
            assert cells[2] == f"{1e4 * row['crps']:.2f}"
            assert cells[-3:] == [f"{100 * row[f'coverage_{c}']:.1f}" for c in (50, 80, 95)]
            if row["model"] != summary["best_naive"][str(h)]:
                assert float(cells[3]) == pytest.approx(100 * row["skill"], abs=0.005)
                low, high = (float(x) for x in cells[4].split(" to "))
                assert low == pytest.approx(100 * row["skill_low"], abs=0.005)
                assert high == pytest.approx(100 * row["skill_high"], abs=0.005)


def test_verdicts_notes_and_limits_are_the_runs_own(run: RunFolder, text: str):
    summary = run.read_json("summary.json")
    for verdict in summary["verdicts"]:
        assert str(escape(verdict)) in text
    seen = [c["detectable_gain"] for c in summary["comparisons"] if c["printed"]]
    assert all(f"{gain:.4f} nats" in text for gain in seen)
    assert "nothing here is investment advice" in text


def test_one_run_gives_the_same_bytes(run: RunFolder, text: str):
    assert page_of(read_material(run, garch_panel(1100, 2))) == text


def spoil(run: RunFolder, old: str, new: str) -> None:
    """One name for another in every file that a page is made of, a note among them."""
    run.write_json("summary.json", run.read_json("summary.json") | {"notes": [f"{old}: failed"]})
    for name in ("summary.json", "data.json"):
        record = (run.path / name).read_text()
        (run.path / name).write_text(record.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))
    for path in run.path.glob("folds/*.json"):
        path.write_text(path.read_text().replace(old, json.dumps(new)[1:-1]))
    for name in ("scores.parquet", "predictions.parquet"):
        table = pq.read_table(run.path / name)
        for column in ("model", "unique_id"):
            mended = pa.array([each.replace(old, new) for each in table[column].to_pylist()])
            table = table.set_column(table.column_names.index(column), column, mended)
        pq.write_table(table, run.path / name)


@pytest.mark.parametrize("name", ["GARCH-0", "copycat"])
def test_a_hostile_name_is_text_wherever_it_stands(copy: RunFolder, name: str):
    spoil(copy, name, HOSTILE)
    text = page_of(read_material(copy, copy.path / "no-store"))
    assert HOSTILE not in text
    assert "<img" not in text
    page = Page(text)
    assert page.unclosed == []
    assert not page.named("img")
    assert f"<li>{escape(HOSTILE)}: failed</li>" in text
    assert json.loads(page.scripts["summary"])["run_id"]
    names = [trace.get("name", "") for each in _charts(page) for trace in each["traces"]]
    assert not any("<" in each for each in names)  # plotly reads tags in text
    assert any("&lt;img" in each for each in names) == (name == "copycat")


def _charts(page: Page) -> list[dict[str, Any]]:
    return list(json.loads(page.scripts["data"]).values())


def test_without_bars_the_page_says_why(run: RunFolder, tmp_path: Path):
    text = page_of(read_material(run, tmp_path))
    assert "GARCH-0 at interval 1d is not in the store" in text
    page = Page(text)
    assert [each.get("id") for each in page.named("section")] == SECTIONS
    assert not any((each.get("id") or "").startswith("fan-") for each in page.named("div"))
    assert [len(row) for row in page.tables["Bars"]] == [4, 4]


def test_without_learners_accounts_or_dates_there_is_still_a_page(tmp_path: Path):
    few = CONFIG.model_copy(update={"test_until": "2001-07-08", "horizons": (1,)})
    run = ran(tmp_path / "run", (RandomWalk(), WindowVolatility(20)), few)
    shutil.rmtree(run.path / "folds")
    text = page_of(read_material(run, garch_panel(1100, 2)))
    assert "No learner ran: the table below compares baselines." in text
    assert "holds no account of its stages" in text
    assert "Too few dates for intervals." in text
    assert "Too few dates for a band." in text
    assert [each.get("id") for each in Page(text).named("section")] == SECTIONS


def test_a_run_of_another_version_is_refused_in_one_line(copy: RunFolder):
    record = copy.read_json("summary.json")
    for key in ("sets", "calibration", "comparisons"):
        copy.write_json("summary.json", {k: v for k, v in record.items() if k != key})
        with pytest.raises(CheckpointError, match="another version; start a new run") as refused:
            report.write_report(copy, copy.path)
        assert "\n" not in str(refused.value)
    assert not (copy.path / report.NAME).exists()


def test_a_damaged_table_is_named(copy: RunFolder):
    (copy.path / "scores.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StorageError, match=r"scores\.parquet: not a parquet file"):
        read_material(copy, copy.path)
    pq.write_table(pa.table({"model": ["copycat"]}), copy.path / "scores.parquet")
    with pytest.raises(CheckpointError, match=r"scores\.parquet is of another version"):
        read_material(copy, copy.path)


def test_another_place_is_never_overwritten(run: RunFolder, tmp_path: Path):
    out = tmp_path / "page.html"
    assert report.write_report(run, garch_panel(1100, 2), out) == (out, "")
    with pytest.raises(UsageError, match=r"page\.html exists"):
        report.write_report(run, garch_panel(1100, 2), out)


def test_drafts_of_a_killed_report_go_with_the_next(copy: RunFolder):
    gone = 4_194_304  # the first number that Linux gives to no process
    dead, alive = (copy.path / f".tmp-{number}-{'0' * 16}" for number in (gone, os.getpid()))
    for draft in (dead, alive):
        draft.write_bytes(b"<html>")
    report.write_report(copy, copy.path, copy.path.parent / "elsewhere.html")
    assert dead.exists()  # nothing is touched but the folder that is written to
    report.write_report(copy, copy.path)
    assert not dead.exists()
    assert alive.exists()


def test_a_page_that_fails_costs_the_page_alone(
    copy: RunFolder, capsys: pytest.CaptureFixture[str]
):
    (copy.path / "scores.parquet").unlink()
    assert report.attempt(copy, garch_panel(1100, 2)) is None
    said = capsys.readouterr().err
    assert "the run is kept, try again with: forecaster report" in said
    assert said.count("\n") == 1
    assert copy.read_json("status.json")["state"] == "done"


@pytest.mark.parametrize(
    ("settings", "quick"),
    [
        ((), False),
        ((), True),
        (("learner.lr=0.001", "vault=open", "horizons=[2]", "presets=[]", "seed=3"), False),
        (("test_until=2012-01-01", "learner.variance_tokens=false", "learner.shrink=0.0"), True),
        (('symbols=["^IXIC", "BRK-B"]', 'baselines=["harx", "drift"]', "interval=1wk"), False),
    ],
)
def test_the_command_makes_the_same_configuration(settings: tuple[str, ...], quick: bool):
    config = resolve(None, settings, {}, quick=quick)
    words = shlex.split(command_again(config))
    assert words[:2] == ["forecaster", "backtest"]
    assert set(words[2::2]) <= {"--set"}
    assert resolve(None, tuple(words[3::2]), {}, quick=False) == config


def test_a_store_that_went_on_gives_no_candles(tmp_path: Path):
    fetch(FetchRequest(symbols=("^IXIC",), source="bundled", store=tmp_path))
    store = Store(tmp_path)
    bars = store.load("^IXIC").adjusted()
    known = {"interval": "1d", "symbols": {"^IXIC": {"bars": 700}}}
    panel, why = bars_of(known | {"digest": store.digest(["^IXIC"])}, tmp_path)
    assert panel is not None
    assert why == ""
    assert [len(each) for each in panel] == [700]  # no bar that the run did not see
    assert np.array_equal(panel.members[0].close, bars.close[:700])
    panel, why = bars_of(known | {"digest": "0" * 64}, tmp_path)
    assert panel is None
    assert "holds other bars by now" in why


def test_origins_are_chosen_by_the_rule_whatever_the_order_of_rows(run: RunFolder):
    found = read_material(run, garch_panel(1100, 2))
    picks = chosen(found, "worse", "volatility_20")
    h1 = found.scores[found.scores["h"] == 1].pivot_table(
        index=["cutoff", "unique_id"], columns="model", values="log_score"
    )
    gains = h1["worse"] - h1["volatility_20"]
    by_why = {each.why: each for each in picks}
    assert by_why["highest difference"].gain == gains.max()
    assert by_why["lowest difference"].gain == gains.min()
    assert by_why["middle difference"].gain == pytest.approx(gains.median(), abs=0.01)
    ended = found.scores[found.scores["h"] == 5]["cutoff"].max()
    last = by_why["last origin that came true"]
    assert (last.cutoff, last.symbol) == (ended, "GARCH-0")
    shuffled = replace(found, scores=found.scores.sort_values("log_score"))
    assert chosen(shuffled, "worse", "volatility_20") == picks


def test_a_fan_starts_at_the_close_and_ends_at_the_stored_quantiles(run: RunFolder):
    found = read_material(run, garch_panel(1100, 2))
    assert found.panel is not None
    chart = fan_charts(found)[0]
    rival = next(t for t in chart.traces if t.get("name", "").endswith("90 %") and "dash" in str(t))
    pick = chosen(found, "copycat", "ewma_student_t")[0]
    bars = next(b for b in found.panel if str(b.symbol) == pick.symbol)
    at = int(np.searchsorted(bars.opened_at, np.datetime64(pick.cutoff, "us")))
    assert rival["y"][0] == pytest.approx(bars.close[at], rel=1e-5)
    table = found.predictions
    rows = table[
        (table["model"] == "ewma_student_t")
        & (table["unique_id"] == pick.symbol)
        & (table["cutoff"] == pick.cutoff)
    ].sort_values("h")
    wanted = bars.close[at] * np.exp(rows["0.05"].to_numpy())
    assert rival["y"][1:] == pytest.approx(wanted, rel=1e-5)
    candles = [t for t in chart.traces if t["type"] == "candlestick"]
    assert candles[0]["x"][-1] == chart.marks[0]["x0"]
    assert sum(len(t["x"]) for t in candles) == 40 + 1 + 5


def test_the_sum_over_time_ends_at_the_gain_of_the_summary(run: RunFolder):
    found = read_material(run, garch_panel(1100, 2))
    pair = next(c for c in found.comparisons(5) if c["model"] == "worse")
    gains = difference(found, "worse", pair["reference"], 5)
    assert gains.mean() == pytest.approx(pair["log_score_gain"], abs=1e-12)
    assert len(gains) == pair["n_dates"]


def test_a_sum_is_told_with_its_few_best_dates_and_its_longest_wait():
    assert longest_wait(np.array([1.0, 2.0, 3.0])) == (0, 0)
    assert longest_wait(np.array([1.0, 0.5, 2.0, 1.0, 1.5, 1.9])) == (3, 5)
    assert longest_wait(np.array([-1.0, -2.0, 1.0])) == (0, 1)  # it starts at nothing, not at -1
    gains = pd.Series(np.full(30, 0.1), index=pd.date_range("2020-01-01", periods=30))
    gains.iloc[3] = 5.0
    told = in_words(gains)
    assert told.startswith("+7.90 nats over 30 dates; without its 10 best dates +2.00")
    assert "new high" not in told
    gains.iloc[-2:] = -1.0
    assert "longest without a new high: 2020-01-29 to 2020-01-30" in in_words(gains)


def test_reliability_sees_a_density_that_is_too_narrow(rng: np.random.Generator):
    days = np.repeat(pd.date_range("2010-01-01", periods=800).to_numpy(), 2)
    true = pd.DataFrame({"h": 1, "cutoff": days, "pit": rng.uniform(size=1600)})
    shares, half = reliability(true)
    assert half is not None
    assert np.abs(shares - LEVELS).max() < 0.05
    narrow = true.assign(pit=np.clip(1.6 * (true["pit"] - 0.5) + 0.5, 0, 1))
    shares, half = reliability(narrow)
    assert half is not None
    assert shares[1] - LEVELS[1] > half[1]  # more outcomes below the 5 % quantile
    assert LEVELS[-2] - shares[-2] > half[-2]


PAIR = {"reference": "harx", "p": 0.01, "holm_p": 0.02, "crps_skill": 0.1}
PAIR |= {"log_score_p": 0.01, "log_score_gain": 0.1}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "beats harx"),
        ({"p": None}, "has too few dates to be judged against harx"),
        ({"p": 0.2}, "shows no edge over harx"),
        ({"crps_skill": -0.1}, "is worse than harx"),
        ({"holm_p": 0.06}, "is ahead, though not after Holm's correction, of harx"),
        ({"log_score_p": 0.2}, "beats (in CRPS alone) harx"),
        ({"log_score_gain": -0.1}, "beats (in CRPS alone) harx"),
    ],
)
def test_a_finding_claims_no_more_than_its_tests(changed: dict[str, Any], said: str):
    assert finding(PAIR | changed) == said


def test_the_page_opens_with_all_verdicts_of_a_horizon(run: RunFolder):
    lines = headlines(read_material(run, garch_panel(1100, 2)))
    assert len(lines) == 4  # two learners, two horizons
    assert lines[0].startswith("One bar ahead, copycat ")
    assert lines[1] == "One bar ahead, worse is worse than volatility_20 and ewma_student_t."
    assert lines[2].startswith("5 bars ahead, copycat ")


def test_long_lines_are_thinned_and_keep_their_ends():
    at = thinned(3000)
    assert len(at) <= 400
    assert (at[0], at[-1]) == (0, 2999)
    assert list(thinned(3)) == [0, 1, 2]


def test_bars_grow_from_the_left_or_from_the_middle():
    assert gauge(1.0, 2.0, signed=False)[0].width == 50
    (loss,) = gauge(-1.0, 2.0, signed=True)
    assert (loss.left, loss.width, loss.kind) == (25, 25, "loss")
    assert gauge(9.0, 2.0, signed=True)[0].width == 50


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def opened(place: Path, text: str) -> tuple[str, list[str]]:
    """(the page after its scripts ran, the console's complaints), without any network."""
    place.mkdir()
    (place / "page.html").write_text(text)
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={place / 'profile'}"]
    words += ["--virtual-time-budget=60000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    words += ["--enable-logging=stderr", "--dump-dom", (place / "page.html").as_uri()]
    done = subprocess.run(
        [str(BROWSER), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=os.environ | {"HOME": str(place)},
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_browser_draws_every_chart_without_a_complaint(text: str, page: Page, tmp_path: Path):
    dom, complaints = opened(tmp_path / "whole", text)
    assert complaints == []
    assert 'data-ready="yes"' in dom
    first = [c["id"] or "" for c in page.named("div") if c.get("class") == "chart"]
    first = [name for name in first if "-5" not in name]  # h = 5 is hidden at first
    assert dom.count('class="main-svg"') >= len(first)
    spoilt = text.replace("</main>", '</main><img src="https://example.org/x.png" alt="">')
    assert any("example.org" in line for line in opened(tmp_path / "spoilt", spoilt)[1])
