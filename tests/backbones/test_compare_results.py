"""What a study's results look like: intervals, verdicts, tables, parquet files, the page."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from rich.console import Console
from scipy import stats
from studies import planted

from backbones.compare import Results, summarise
from backbones.compare.charts import POINTS, blocks
from backbones.compare.estimates import estimate, verdict
from backbones.compare.notes import how_made, not_shown
from backbones.compare.page import in_script, page_of, write_page
from backbones.compare.parquet import CURVES, RESULTS, TRIALS, write_parquet
from backbones.compare.table import cost_table, score_table
from backbones.errors import StorageError
from backbones.presets import PRESETS

NATS = {"llama": [2.0, 2.25, 2.125], "diff_v1": [1.5, 1.76, 1.63], "ngpt": [2.5, 2.8, 2.6]}
NATS["llama_gqa"] = [2.1, 2.1, 2.2]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return planted(tmp_path, NATS)


# --- intervals ---


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.5, 1.25, 1.75], [3.0, 1.0, 2.0, 2.5, 9.0]])
def test_an_interval_is_scipys(values: list[float]) -> None:
    found = estimate(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values)
    )
    assert found.half is not None
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.n == len(values)


def test_one_value_has_no_interval_and_decides_nothing() -> None:
    found = estimate([-1.5])
    assert (found.mean, found.half, str(found)) == (-1.5, None, "-1.5000")
    assert verdict(found) == "not decided"


@pytest.mark.parametrize("name", ["diff_v1", "ngpt", "llama_gqa"])
def test_differences_are_paired_and_verdicts_a_t_tests(results: Results, name: str) -> None:
    """Seeds move all arms: paired, a difference is seen that two intervals would hide."""
    found = {arm.name: arm for arm in summarise(results)}[name]
    tested: Any = stats.ttest_rel(NATS[name], NATS["llama"])
    interval = tested.confidence_interval(0.95)
    assert found.difference is not None
    assert found.difference.half is not None
    assert found.difference.mean - found.difference.half == pytest.approx(interval.low)
    assert (found.verdict == "not decided") == (tested.pvalue > 0.05)


def test_verdicts(results: Results) -> None:
    assert [arm.verdict for arm in summarise(results)] == [
        "reference",
        "better",
        "worse",
        "not decided",
    ]


# --- summaries ---


def test_an_arm_beside_the_reference(results: Results) -> None:
    reference, arm, *_ = summarise(results)
    assert reference.difference is None
    assert (reference.time_ratio, reference.parameter_gap) == (1.0, 0.0)
    assert arm.parameter_gap == arm.parameters / reference.parameters - 1
    assert 0 < abs(arm.parameter_gap) < 0.01
    assert arm.overfit == pytest.approx(0.25)
    assert arm.training_nats == pytest.approx(arm.nats.mean - 0.25)
    assert arm.best_nats == pytest.approx(arm.nats.mean - 0.125)  # at half of the steps
    assert arm.best_steps == (4, 4, 4)
    assert arm.tokens == 8 * 8 * 32
    assert (arm.factor, arm.lr, arm.at_edge) == (1.0, 0.01, True)
    assert (arm.seconds, arm.ms_per_step, arm.softmax_nats) == (4.0, 500.0, None)


def test_a_rate_inside_the_grid_is_not_at_its_edge(tmp_path: Path) -> None:
    (arm,) = summarise(planted(tmp_path, {"llama": [2.0]}, rates=(1.0, 0.5, 2.0)))
    assert (arm.factor, arm.at_edge) == (1.0, False)
    (alone,) = summarise(planted(tmp_path / "alone", {"llama": [2.0]}, rates=(1.0,)))
    assert not alone.at_edge


# --- tables ---


def shown(results: Results) -> str:
    arms = summarise(results)
    console = Console(width=100, file=io.StringIO(), highlight=False)
    console.print(score_table(results.study, arms), cost_table(results.study, arms))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, arm: str, nth: int = 0) -> list[str]:
    """Cells of the arm's row in the first or the second table, without the arm."""
    lines = [line for line in text.splitlines() if line.startswith(f"{arm} ")]
    return re.split(r" {2,}", lines[nth].removeprefix(arm).strip())


def test_the_tables(results: Results) -> None:
    text = shown(results)
    assert row(text, "diff_v1")[2:] == [
        "1*",
        "1.6300 +- 0.3229",
        "-0.4950 +- 0.0124",
        "better",
    ]
    reference = ["25,952", "+0.00", "1*", "2.1250 +- 0.3105", "reference"]
    assert row(text, "llama") == reference
    assert row(text, "llama", 1) == ["1.8750", "+0.2500", "2.0000 (4)", "4.0", "500.0", "1.00"]
    told = " ".join(text.split())
    assert "Each run trains on 2,048 tokens." in told
    assert "mean of 3 seeds +- half the 95 % t-interval" in told
    assert "paired by seed, at 5 % each, uncorrected for 3 of them." in told
    assert "softmax" not in told


def test_tables_of_all_presets_and_long_names_have_a_hundred_columns(tmp_path: Path) -> None:
    nats = {name: [1.5 + i / 7, 1.75] for i, name in enumerate(reversed(PRESETS))}
    vary = ({"field": "train.schedule", "values": ({"kind": "wsd", "decay": 0.2}, "linear")},)
    text = shown(planted(tmp_path, nats, vary=vary, parity=False))
    assert max(map(len, text.splitlines())) == 100
    assert "\u2026" not in text  # nothing is cut
    assert "dint_ngpt_no_qk_norm" in text


def test_one_seed_says_so(tmp_path: Path) -> None:
    text = shown(planted(tmp_path, {"llama": [2.0], "ngpt": [1.0]}))
    assert row(text, "ngpt")[3:] == ["1.0000", "-1.0000", "not decided"]
    assert "ONE SEED: no intervals, and nothing is decided." in " ".join(text.split())


def test_losses_that_differ_have_a_column_in_common(tmp_path: Path) -> None:
    vary = ({"field": "loss", "values": ("softmax", "taylor")},)
    nats = {"llama": [2.0, 2.5]}
    text = shown(planted(tmp_path, nats, {"softmax_nats": 1.875}, vary=vary))
    assert "softmax nats: by a softmax" in " ".join(text.split())
    assert row(text, "llama loss=taylor", 1)[3] == "1.8750"
    missing = shown(planted(tmp_path / "missing", nats, vary=vary))
    assert row(missing, "llama loss=taylor", 1)[3] == "4.0"  # the next column


def test_what_is_unequal_is_said(tmp_path: Path) -> None:
    vary = ({"field": "train.steps", "values": (8, 16)},)
    results = planted(tmp_path, {"llama": [2.0]}, vary=vary, parity=False, rates=(1.0,))
    told = " ".join(how_made(results.study, summarise(results)))
    assert "TOKENS DIFFER, from 2,048 to 4,096 a run." in told
    assert "PARAMETERS DIFFER, by up to 0.00 %" in told
    assert "Rate: 1 of the recipe's for every arm, NOT TUNED." in told


# --- parquet ---


def test_results_parquet_has_a_row_a_run(results: Results, tmp_path: Path) -> None:
    write_parquet(results, tmp_path)
    table = parquet.read_table(tmp_path / "results.parquet")
    assert table.schema.equals(RESULTS)
    assert json.loads(table.schema.metadata[b"study"]) == results.study.model_dump(mode="json")
    rows = table.to_pylist()
    assert [(r["arm"], r["seed"], r["nats"]) for r in rows] == [
        (arm, seed + 1, nats) for arm, scores in NATS.items() for seed, nats in enumerate(scores)
    ]
    first = rows[3]
    assert {name: first[name] for name in ("preset", "varied", "loss", "split", "steps")} == {
        "preset": "diff_v1",
        "varied": "{}",
        "loss": "softmax",
        "split": "validation",
        "steps": 8,
    }
    assert (first["best_nats"], first["best_step"], first["softmax_nats"]) == (1.375, 4, None)
    assert first["parameter_gap"] == first["parameters"] / rows[0]["parameters"] - 1
    assert first["d_ffn"] == results.arms[1].plan.backbone.d_ffn


def test_curves_and_trials_parquet(results: Results, tmp_path: Path) -> None:
    write_parquet(results, tmp_path)
    curves = parquet.read_table(tmp_path / "curves.parquet")
    assert curves.schema.equals(CURVES)
    rows = [r for r in curves.to_pylist() if (r["arm"], r["seed"]) == ("ngpt", 2)]
    assert [(r["event"], r["step"], r["nats"], r["seconds"]) for r in rows] == [
        *(("step", k, 4.0 - k / 8, k / 2) for k in range(1, 9)),
        ("evaluation", 4, 2.675, None),
        ("evaluation", 8, 2.8, None),
    ]
    trials = parquet.read_table(tmp_path / "trials.parquet")
    assert trials.schema.equals(TRIALS)
    assert trials.to_pylist()[1] == {
        "arm": "llama",
        "factor": 2.0,
        "lr": 0.02,
        "steps": 2,
        "nats": 2.0,
    }


def test_the_same_results_are_the_same_bytes(results: Results, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    pairs = zip(write_parquet(results, one), write_parquet(results, two), strict=True)
    assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)
    assert write_page(results, one).read_bytes() == write_page(results, two).read_bytes()


@pytest.mark.parametrize("name", ["results.parquet", "compare.html"])
def test_a_file_that_cannot_be_written(results: Results, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    write = write_page if name.endswith("html") else write_parquet
    with pytest.raises(StorageError, match=f"{name} cannot be written: Is a directory"):
        write(results, tmp_path)


# --- the page ---


class Page(HTMLParser):
    """What a page holds: attributes that could fetch, cells by row, scripts, all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.text, self.inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "action"}]
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
            return
        self.text += data
        if self.inside == "td":
            self.rows[-1][-1] += data


def test_the_page_needs_nothing_but_itself(results: Results) -> None:
    text = page_of(results)
    page = Page(text)
    assert page.fetched == []
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text  # a browser refuses what would be fetched all the same
    assert len(text.encode()) < 8e6


def test_the_page_tells_what_the_table_tells(results: Results) -> None:
    page = Page(page_of(results))
    cells = page.rows[2]
    assert cells[:4] == ["diff_v1", "better", "1.6300 +- 0.3229", "-0.4950 +- 0.0124"]
    assert "better: diff_v1" in page.text
    assert "worse: ngpt" in page.text
    arms = summarise(results)
    for said in (*how_made(results.study, arms), *not_shown(results.study, arms)):
        assert said in page.text


def charts(text: str) -> dict[str, dict[str, Any]]:
    return {chart["name"]: chart for chart in json.loads(Page(text).scripts[1])}


def test_the_charts_hold_the_runs(results: Results) -> None:
    found = charts(page_of(results))
    assert list(found) == ["differences", "losses", "seconds", "rates"]
    mine = [t for t in found["losses"]["traces"] if t["meta"] == "ngpt"]
    low, high, mean, *points = mine
    assert len(points) == 3
    assert points[1]["y"] == [2.675, 2.8]
    assert mean["y"] == low["y"] == high["y"] == [4.0 - k / 8 for k in range(1, 9)]
    (timed,) = [t for t in found["seconds"]["traces"] if t["meta"] == "llama"]
    assert (timed["x"], timed["y"]) == ([2.0, 4.0], [2.0, 2.125])
    (tried,) = [t for t in found["rates"]["traces"] if t["meta"] == "llama"]
    assert (tried["x"], tried["y"]) == ([1.0, 2.0], [1.0, 2.0])
    assert tried["marker"]["size"][0] > tried["marker"]["size"][1]


def test_the_page_of_one_seed_and_one_rate(tmp_path: Path) -> None:
    text = page_of(planted(tmp_path, {"llama": [2.0], "ngpt": [1.0]}, rates=(1.0,)))
    assert list(charts(text)) == ["losses", "seconds"]
    assert "one seed has no spread" in text


def test_names_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b>&"
    vary = ({"field": "train.groups", "values": ((), ({"prefix": evil},))},)
    results = planted(tmp_path, {"llama": [2.0, 2.5]}, vary=vary)
    text = page_of(results)
    assert evil in results.arms[1].name
    page = Page(text)
    assert page.tags.count("script") == 3
    assert "b" not in page.tags[page.tags.index("table") :]
    assert charts(text)["losses"]["traces"][-1]["name"].count("&lt;script&gt;") == 1
    assert evil in page.text


def test_json_in_a_script_cannot_end_it() -> None:
    assert json.loads(in_script(["</script>"])) == ["</script>"]
    assert "<" not in in_script(["</script>"])


def test_lines_have_few_points() -> None:
    assert blocks([1.0, 3.0]) == [1.0, 3.0]
    long = blocks([float(k % 2) for k in range(2000)])
    assert long == [0.5] * POINTS
    assert len(blocks([0.0] * 2001)) <= POINTS
