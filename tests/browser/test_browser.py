"""Report, explorer and attention page in a real browser: drawn, clicked through, nothing amiss.

Run by its own stage of .ci/run. Pictures of the pages are left in the folder that BROWSER_SHOTS
names, to be looked at.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chrome import BROWSER, Tab, browser
from click.testing import CliRunner
from panels import garch_panel
from test_report import CONFIG, Learnt, ran

from backbones import cli
from forecaster import report, training
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.baselines.volatility import EwmaStudentT
from forecaster.config import LearnerConfig, RunConfig
from forecaster.explorer import app as explorer
from forecaster.explorer.heads import open_network
from forecaster.explorer.subject import read_subject
from forecaster.learner import BackboneForecaster
from forecaster.pooled import PooledLearner
from forecaster.runs import RunFolder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]
WIDTHS = (380, 800, 1300)
PANEL = garch_panel(1100, 2)
SMALL = LearnerConfig(
    steps=3, seeds=2, d_model=16, n_layers=2, context=32, batch=4, variance_tokens=False
)
DRAWN = "[...document.querySelectorAll('.js-plotly-plot .main-svg')].length"
READY = (  # every chart of the explorer has been filled
    "['fan', 'density', 'scores', 'attention', 'attended'].every(name => document.querySelector("
    "`#${name} .main-svg`) && document.getElementById(`${name}-title`).textContent)"
)
FITS = "document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backtests, a training, a text run and its attention page."""
    root = tmp_path_factory.mktemp("browsed")
    models = (RandomWalk(), WindowVolatility(20), EwmaStudentT(), Learnt(EwmaStudentT(), "copycat"))
    report.write_report(ran(root / "one", models), PANEL)
    ran(root / "two", (RandomWalk(), Learnt(WindowVolatility(20), "rival")))
    trained = RunFolder.create(
        root / "net",
        "train",
        RunConfig(horizons=CONFIG.horizons, presets=("dint_v1",), learner=SMALL),
    )
    plan = training.plan_training(trained.config(), PANEL, None)
    training.run_training(plan, trained, lambda *_: None, resume=False)
    (root / "verse.txt").write_text("The gentle rain from heaven <b>falls</b>.\n" * 90)
    words = ["-q", "train", "--corpus", str(root / "verse.txt"), "--recipe", "smoke", "--preset"]
    words += ["dint_v1", "--steps", "3", "--set", "train.warmup=1", "--out", str(root / "text")]
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    words = ["attention", str(root / "text"), "--prompt", "The <b>rain</b>"]
    page = ["--out", str(root / "attention.html")]
    assert CliRunner().invoke(cli.main, [*words, *page]).exit_code == 0
    return root


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nothing_amiss(tab: Tab) -> Iterator[None]:
    """After every test: no complaint, and nothing asked of another machine."""
    tab.complaints.clear()
    tab.asked.clear()
    yield
    assert tab.complaints == []
    assert tab.off_site == []


@contextmanager
def served(place: Path) -> Iterator[str]:
    """The explorer's address while it answers."""
    runs = [RunFolder(place / name) for name in ("one", "two")]
    network = open_network(RunFolder(place / "net"), PANEL, "")
    made = explorer.server(explorer.build_app(read_subject(runs, PANEL), network), 0)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://{explorer.HOST}:{made.port}/"
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with served(place) as url:
        yield url


def shot(tab: Tab, name: str) -> None:
    """A picture to look at, where somebody asks for it."""
    if "BROWSER_SHOTS" in os.environ:
        tab.picture(Path(os.environ["BROWSER_SHOTS"]) / f"{name}.png")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_every_width_in_light_and_dark(
    tab: Tab, place: Path, address: str, width: int, dark: bool
):
    look = f"{width}-{'dark' if dark else 'light'}"
    tab.open((place / "one/report.html").as_uri(), width=width, dark=dark)
    tab.wait("document.documentElement.dataset.ready === 'yes'")
    assert tab.run(DRAWN) > 20
    assert tab.run(FITS)
    shot(tab, f"report-{look}")
    tab.open(address, width=width, dark=dark)
    tab.wait(READY)
    assert tab.run(FITS)
    shot(tab, f"explorer-{look}")
    tab.open((place / "attention.html").as_uri(), width=width, dark=dark)
    assert tab.run("document.querySelectorAll('svg image').length") == 20
    assert tab.run(FITS)
    shot(tab, f"attention-{look}")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with a learner: networks, training and candle paths are in it."""
    config = CONFIG.model_copy(update={"learner": SMALL, "presets": ("dint_v1",)})
    models = (RandomWalk(), PooledLearner(BackboneForecaster("dint_v1", SMALL)))
    run = ran(tmp_path_factory.mktemp("learnt") / "run", models, config)
    return report.write_report(run, PANEL)[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_kept_of_networks_is_drawn(tab: Tab, learnt: Path, width: int):
    tab.open(learnt.as_uri(), width=width, dark=width == WIDTHS[0])
    tab.wait("document.documentElement.dataset.ready === 'yes'")
    for h in CONFIG.horizons:
        tab.run(f"document.querySelector('[name=horizon][value=\"{h}\"]').click()")
        for name in (f"ablation-{h}", f"spread-{h}-0", "training-0", "taught-0-0", "paths-0-0"):
            assert tab.run(f"!!document.querySelector('#{name} .main-svg')"), name
        for path, least in (("candles-0-1 .boxes path", 40), (f"ablation-{h} .point path", 2)):
            assert tab.run(f"document.querySelectorAll('#{path}').length") >= least, path
        assert tab.run(FITS)
    shot(tab, f"networks-{width}")


def test_a_report_is_clicked_through(tab: Tab, place: Path):
    tab.open((place / "one/report.html").as_uri())
    tab.wait("document.documentElement.dataset.ready === 'yes'")
    assert tab.run("!document.querySelector('[data-h=\"1\"]').hidden")
    tab.click("[name=horizon][value='5']")
    tab.wait("document.querySelector('[data-h=\"1\"]').hidden")
    tab.wait("!document.querySelector('[data-h=\"5\"]').hidden")
    tab.click("table.sortable thead th:nth-child(2) button")
    assert tab.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')")
    for each in tab.run("[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"):
        tab.click(f"nav a[href='{each}']")
        assert tab.run("location.hash") == each
    tab.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")


def text(tab: Tab, name: str) -> str:
    return tab.run(f"document.getElementById('{name}').textContent")


def changed(tab: Tab, name: str, before: str) -> str:
    """An element's text once it is another."""
    tab.wait(f"document.getElementById('{name}').textContent !== {before!r}")
    return text(tab, name)


def choose(tab: Tab, name: str, words: str) -> None:
    """An option of a dropdown, by a part of its words."""
    tab.click(f"#{name}")
    found = (
        "[...document.querySelectorAll('.dash-dropdown-option, [role=option]')]"
        f".find(each => each.textContent.includes({words!r}))"
    )
    tab.wait(f"!!{found}")
    tab.run(f"{found}.click()")


@pytest.fixture
def explored(tab: Tab, address: str) -> Tab:
    """The explorer as it opens."""
    tab.open(address)
    tab.wait(READY)
    return tab


def test_an_origin_is_chosen_by_every_control(explored: Tab):
    tab, title = explored, text(explored, "fan-title")
    tab.click("#earlier")
    title = changed(tab, "fan-title", title)
    tab.click("#later")
    title = changed(tab, "fan-title", title)
    tab.click("#day")
    tab.run("document.getElementById('day').select()")
    tab.type("2002-03-04")
    title = changed(tab, "fan-title", title)
    assert "2002-03-04" in title
    choose(tab, "symbol", "GARCH-1" if "GARCH-0" in title else "GARCH-0")
    title = changed(tab, "fan-title", title)
    choose(tab, "pick", "lowest difference")
    title = changed(tab, "fan-title", title)
    tab.run("document.querySelector('#position [role=slider]').focus()")
    tab.press("ArrowRight", 39)
    changed(tab, "fan-title", title)


def test_what_came_horizons_and_models_are_chosen(explored: Tab):
    tab, note = explored, text(explored, "fan-note")
    assert "What came is hidden" in note
    tab.click("#reveal")
    assert "hidden" not in changed(tab, "fan-note", note)
    assert text(tab, "reveal") == "hide what came"
    density, versus = text(tab, "density-title"), text(tab, "versus")
    tab.click("#horizon input[value='5'], #horizon label:nth-of-type(2)")
    assert changed(tab, "density-title", density) == "Density 5 bars ahead"
    assert "h = 5" in changed(tab, "versus", versus)
    shown = text(tab, "fan-numbers")
    choose(tab, "models", "random_walk (two)")
    assert "random_walk (two)" in changed(tab, "fan-numbers", shown)


def test_a_head_is_chosen(explored: Tab):
    tab, title = explored, text(explored, "attention-title")
    for name, words in (("layer", "2 of 2"), ("head", "2 of"), ("map", "integral")):
        choose(tab, name, words)
        title = changed(tab, "attention-title", title)
    assert title == "dint_v1: integral, layer 2, head 2"
    numbers = text(tab, "attention-numbers")
    choose(tab, "network", "2 of 2")
    changed(tab, "attention-numbers", numbers)


def test_what_is_amiss_is_seen(tab: Tab, tmp_path: Path):
    """The fixture above would be blind otherwise."""
    page = tmp_path / "amiss.html"
    page.write_text(
        "<script>console.error('planted'); setTimeout(() => { throw Error('thrown'); })</script>"
        "<img src='https://example.org/x.png'>"
    )
    tab.open(page.as_uri())
    tab.wait("document.readyState === 'complete'")
    seen = " ".join(tab.complaints)
    assert "planted" in seen
    assert "thrown" in seen
    assert tab.off_site == ["https://example.org/x.png"]
    tab.complaints.clear()
    tab.asked.clear()
