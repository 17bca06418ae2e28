"""The tables on our pages are what their command gives. Minutes: the whole default backtest."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, README

RESULTS = PAGES["docs/results.md"]
ROW = re.compile(
    r"^\| \**(\w+)\** \| \**([\d.]+)\** \| \**([\d.]+)\** \| .*\| ([\d.]+)/([\d.]+)/([\d.]+) \|$",
    re.M,
)


def printed_rows(page: str, h: int) -> dict[str, list[float]]:
    """Model -> log score, CRPS in basis points, coverages in per cent, as a page has them."""
    table = page.split(f"| model, h = {h} |")[1].split("\n\n")[0]
    return {name: [float(x) for x in rest] for name, *rest in ROW.findall(table)}


def test_the_table_has_every_model():
    from forecaster.baselines import BASELINES

    for h in (1, 5, 20):
        assert set(printed_rows(RESULTS, h)) == {*BASELINES, "llama"}


def test_the_readmes_rows_are_some_of_these():
    every, some = printed_rows(RESULTS, 1), printed_rows(README, 1)
    assert len(some) > 5
    assert some.items() <= every.items()


@pytest.mark.slow
def test_the_default_backtest_gives_these_tables(tmp_path: Path):
    """Learners differ by a little between processors: vector units round differently."""
    code = "from forecaster.cli import main; main()"
    line = [sys.executable, "-c", code, "backtest", "-q", "--json", "--out", "run"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    found = {(row["model"], row["h"]): row for row in record["rows"]}
    wanted = {(name, h): row for h in (1, 5, 20) for name, row in printed_rows(RESULTS, h).items()}
    for (name, h), (log_score, crps, *coverages) in wanted.items():
        row = found[name, h]
        loose = 1.0 if name not in {"llama"} else 20.0
        assert row["log_score"] == pytest.approx(log_score, abs=6e-5 * loose), name
        assert 1e4 * row["crps"] == pytest.approx(crps, abs=6e-3 * loose), name
        for level, covered in zip((50, 80, 95), coverages, strict=True):
            assert 100 * row[f"coverage_{level}"] == pytest.approx(covered, abs=0.06 * loose), name
    shown = [v.split(":")[0] for v in record["verdicts"]]
    assert all(sentence in RESULTS for sentence in shown)
