"""The command line from end to end, and every stupid thing a new user tries first."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from test_interop import READERS, by_pandas

from forecaster.cli import run
from forecaster.display import listed
from forecaster.paths.table import SAMPLES

SIZES = ("steps=3", "seeds=1", "d_model=16", "n_layers=1", "context=32", "batch=4")
TINY = [word for size in SIZES for word in ("--set", f"learner.{size}")]
FEW = "random_walk,volatility_20,garch_student_t,harx"  # rows of every kind
SHORT = ["--symbols", "^IXIC", "--test-from", "2017-12-01", "--jobs", "1", *TINY]
SHORT += ["--baselines", FEW]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of bundled bars, one backtest and one training."""
    place = tmp_path_factory.mktemp("workplace")
    before = Path.cwd()
    os.chdir(place)
    assert run(["backtest", *SHORT, "-q", "--out", "runs/back"]) == 0
    assert run(["train", "--symbols", "^IXIC,AAPL", *TINY, "-q", "--out", "runs/trained"]) == 0
    os.chdir(before)
    return place


@pytest.fixture(autouse=True)
def _here(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(workplace)


def test_a_backtest_leaves_what_the_design_promises(workplace: Path):
    names = {path.name for path in (workplace / "runs/back").iterdir()}
    assert names >= {
        "config.resolved.json",
        "environment.json",
        "data.json",
        "predictions.parquet",
        "scores.parquet",
        "summary.json",
        "status.json",
        "report.html",
    }
    status = json.loads((workplace / "runs/back/status.json").read_text())
    assert status["state"] == "done"


@pytest.mark.parametrize("reader", READERS)
def test_a_runs_own_predictions_are_read_as_they_are(workplace: Path, reader: str):
    path = workplace / "runs/back/predictions.parquet"
    wanted = by_pandas(path)
    assert {"random_walk", "harx", "llama"} <= set(wanted)
    # utilsforecast averages within a cutoff first, and the last cutoffs lack the longer outcomes.
    rel = 0.05 if reader == "utilsforecast" else 1e-12
    assert READERS[reader](path) == pytest.approx(wanted, rel=rel)


def test_runs_are_listed_and_shown(capsys: pytest.CaptureFixture[str]):
    assert run(["runs", "ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [(row["kind"], row["state"]) for row in rows] == [
        ("backtest", "done"),
        ("train", "done"),
    ]
    assert run(["runs", "show", "back"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("random_walk", "garch_student_t", "llama", "h = 20"))
    assert "run: runs/back" in shown


def test_a_summary_is_one_json_object(capsys: pytest.CaptureFixture[str]):
    assert run(["backtest", *SHORT, "-q", "--json", "--out", "runs/again"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["horizons"] == [1, 5, 20]
    for name in ("predictions.parquet", "scores.parquet"):
        assert Path("runs/again", name).read_bytes() == Path("runs/back", name).read_bytes()


def test_a_strategy_keeps_its_ledger_and_writes_over_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["strategy", "back", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    names = {row["strategy"] for row in record["rows"]}
    assert names == {"llama", "harx", "volatility_20", "buy_and_hold"}
    assert {row["cost_bp"] for row in record["rows"]} == {0, 1, 2, 5, 10, 20}
    assert record["trials"] >= 1
    kept = Path("runs/back/strategy.parquet")
    before = kept.read_bytes()
    rows = pd.read_parquet(kept)
    assert rows["filled_at"].isna().sum() == 6 * 3  # the last bar's decision, a cost and forecast
    assert (rows["decided_at"] < rows["filled_at"])[rows["filled_at"].notna()].all()
    assert run(["strategy", "back"]) == 0  # the same ledger again
    shown = capsys.readouterr().out
    assert "no direction is claimed" in shown
    assert "llama less buy_and_hold at 5 bp: Sharpe" in shown
    assert max(map(len, [row for row in shown.splitlines() if "\u2502" in row])) <= 100
    other = ["strategy", "back", "--cost-bp", "3", "--target-volatility", "0.2"]
    assert run(other) == 2
    assert "strategy.parquet exists and holds something else" in capsys.readouterr().err
    assert kept.read_bytes() == before
    assert run([*other, "--out", str(tmp_path / "ledger.parquet")]) == 0
    assert set(pd.read_parquet(tmp_path / "ledger.parquet")["cost_bp"]) == {3}
    capsys.readouterr()


def test_a_strategy_wants_a_run_that_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree("runs/back", tmp_path / "cut")
    state = tmp_path / "cut/status.json"
    state.write_text(state.read_text().replace("done", "interrupted"))
    assert run(["strategy", str(tmp_path / "cut")]) == 2
    assert "is interrupted; go on with: forecaster backtest --resume" in capsys.readouterr().err


def test_details_stand_behind_a_summary(capsys: pytest.CaptureFixture[str]):
    assert run(["runs", "show", "back", "--details"]) == 0
    shown = capsys.readouterr().out
    assert "llama less harx, h = 1: skill" in shown
    assert all(text in shown for text in ("90 % confidence set", "SPA p", "calibration, h = 20"))
    tables = [line for line in shown.splitlines() if line.startswith(("\u2502", "\u2503"))]
    assert max(map(len, tables)) <= 100


def test_a_summary_of_another_version_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "status.json").write_text('{"state": "done", "kind": "backtest"}')
    (tmp_path / "summary.json").write_text('{"rows": []}')
    (tmp_path / "data.json").write_text("{}")
    for command in (["runs", "show"], ["report"]):
        assert run([*command, str(tmp_path)]) == 6
        assert "summary.json is of another version" in capsys.readouterr().err


def test_a_report_is_written_again_and_is_the_same(capsys: pytest.CaptureFixture[str]):
    first = Path("runs/back/report.html").read_bytes()
    assert run(["report", "back"]) == 0
    assert capsys.readouterr().out == "report: runs/back/report.html\n"
    assert Path("runs/back/report.html").read_bytes() == first
    assert run(["report", "back", "--store", "none", "--out", "page.html", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"report": "page.html", "bytes": Path("page.html").stat().st_size}
    assert "the page has no candles: ^IXIC at interval 1d is not in the store none" in err


def test_the_ledger_counts_a_configuration_once(capsys: pytest.CaptureFixture[str]):
    """The workplace's backtest, asked several times by now, and its like with other horizons."""
    naive = ["--baselines", "naive", "--horizons", "1"]
    assert run(["backtest", *SHORT, "-q", *naive, "--out", "runs/one"]) == 0
    out = capsys.readouterr().out
    assert "configurations scored on these test bars: 2;" in out
    assert run(["ledger", "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [(t["test_from"], t["vault"]) for t in trials] == [("2017-12-01", "off")] * 2
    assert run(["ledger"]) == 0
    assert "^IXIC 1d  2017-12-01 to 2018-12-31  h=1: llama over" in capsys.readouterr().out
    path = Path("data/ledger.jsonl")
    before = path.read_bytes()
    path.write_bytes(b"x" + before)
    assert run(["ledger"]) == 5
    assert "data/ledger.jsonl: line 1 is damaged" in capsys.readouterr().err
    assert run(["backtest", "--resume", "runs/one", "-q"]) == 0
    assert "damaged in line 1" in capsys.readouterr().out
    path.write_bytes(before)


def test_a_vault_is_locked_and_opened(capsys: pytest.CaptureFixture[str]):
    old = ["--symbols", "^IXIC", "--test-from", "2016-06-01", "--jobs", "1", *TINY, "-q"]
    old += ["--baselines", "naive", "--horizons", "1"]
    assert run(["backtest", *old, "--vault", "--out", "runs/locked"]) == 0
    out = capsys.readouterr().out
    assert "vault: locked; nothing after 2016-12-29 was looked at" in out
    assert run(["backtest", *old, "--open-vault", "--out", "runs/open"]) == 0
    out = capsys.readouterr().out
    assert "vault: open; configurations that opened it: 1" in out
    assert "2016-12-30 to 2018-12-28" in out
    trials = [json.loads(line) for line in Path("data/ledger.jsonl").read_text().splitlines()]
    assert [t["vault"] for t in trials if t["vault"] != "off"] == ["locked", "open"]


def test_a_dry_run_makes_no_folder(capsys: pytest.CaptureFixture[str]):
    assert run(["backtest", *SHORT, "--dry-run", "--out", "runs/never"]) == 0
    assert "2017-12-01" in capsys.readouterr().out
    assert run(["train", "--dry-run", "--out", "runs/never", "--symbols", "^IXIC"]) == 0
    assert "d_model: 64" in capsys.readouterr().out
    assert not Path("runs/never").exists()


def test_a_dry_run_writes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for command in ("backtest", "train"):
        assert run([command, "--dry-run", "--symbols", "IBM", "--store", str(tmp_path / "no")]) == 0
    assert not (tmp_path / "no").exists()
    assert "IBM" in capsys.readouterr().out


def test_a_closed_pipe_is_no_bug(workplace: Path):
    code = "from forecaster.cli import main; main()"
    line = [sys.executable, "-c", code, "runs", "show", "back"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=workplace) as p:
        assert p.stdout is not None
        p.stdout.close()
        err = p.stderr.read() if p.stderr else b""
    assert (p.returncode, err) == (141, b"")


def test_a_done_run_resumed_is_the_same_run(capsys: pytest.CaptureFixture[str]):
    before = Path("runs/back/predictions.parquet").read_bytes()
    assert run(["backtest", "--resume", "runs/back", "-q", "--json"]) == 0
    assert Path("runs/back/predictions.parquet").read_bytes() == before
    assert json.loads(capsys.readouterr().out)["run"] == "runs/back"


def test_predict_gives_quantiles_of_every_symbol(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    out = tmp_path / "next.parquet"
    assert run(["predict", "runs/trained", "--horizons", "5", "--json", "--out", str(out)]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [(row["unique_id"], row["h"]) for row in rows] == [("AAPL", 5), ("^IXIC", 5)]
    assert rows[1]["cutoff"] == "2018-12-31T00:00:00"
    assert rows[1]["0.05"] < rows[1]["0.5"] < rows[1]["0.95"]
    assert out.is_file()
    assert run(["predict", "runs/trained"]) == 0
    assert "log return from the cutoff" in capsys.readouterr().out


def test_predict_samples_whole_candles_beside_the_predictions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    line = ["predict", "runs/trained", "--horizons", "1,5", "--paths", "3", "-q", "--json"]
    assert run([*line, "--out", str(tmp_path / "next.parquet")]) == 0
    said = json.loads(capsys.readouterr().out)["samples"]
    where = str(tmp_path / "samples.parquet")
    assert said == {"file": where, "models": ["harx", "llama"], "paths": 3, "steps": 5, "seed": 0}
    frame = pd.read_parquet(where)
    assert len(frame) == 2 * 2 * 3 * 5
    keys = ["model", "unique_id", "cutoff", "path", "h"]
    assert frame.equals(frame.sort_values(keys, ignore_index=True))
    assert list(frame.columns) == SAMPLES.names
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    first = frame[(frame["unique_id"] == "AAPL") & (frame["h"] == 1)]["close"]
    assert first.between(430.47 * 0.8, 430.47 * 1.25).all()  # AAPL as printed on its last day
    assert run([*line, "--out", str(tmp_path / "other.parquet")]) == 2
    assert "samples.parquet exists; choose an --out in another folder" in capsys.readouterr().err


def test_paths_need_what_only_a_training_keeps(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    shutil.copytree("runs/trained", tmp_path / "old")
    (tmp_path / "old" / "shapes.json").unlink()
    assert run(["predict", str(tmp_path / "old"), "--paths", "3", "-q"]) == 6
    assert "shapes.json is missing or damaged: paths need it" in capsys.readouterr().err
    assert run(["predict", "runs/trained", "--paths", "2", "-q"]) == 0
    assert "runs/trained/samples.parquet" in capsys.readouterr().out


def test_a_gate_that_is_missed_is_exit_11(capsys: pytest.CaptureFixture[str]):
    code = run(["backtest", "--resume", "runs/back", "-q", "--json", "--fail-under", "50"])
    assert code == 11
    assert "--fail-under asks for 50 %" in capsys.readouterr().err


WRONG = [
    (["backtest", "--preset", "lama"], 2, "preset 'lama' does not exist: did you mean 'llama'"),
    (["backtest", "--baselines", "garch"], 2, "baseline 'garch' is unknown; did you mean"),
    (["backtest", "--symbols", "APPL"], 3, "APPL"),
    (["backtest", "--symbols", "../../etc"], 2, "symbol '../../etc'"),
    (["backtest", "--horizons", "1,x"], 2, "'1,x': wanted whole numbers, for example 1,5,20"),
    (["backtest", "--symbols", ","], 2, "',' names nothing"),
    (["backtest", "--test-from", "2030-01-01"], 3, "no bar is later"),
    (["backtest", "--test-from", "1999-06-01"], 3, "needs at least 500"),
    (["backtest", "--symbols", "FB"], 3, "FB: 196 bars, needs at least 251"),
    (["backtest", "--set", "learner.stepz=1"], 2, "did you mean 'steps'"),
    (["backtest", "--config", "none.toml"], 2, "config none.toml: No such file"),
    (["backtest", *SHORT, "--out", "runs/back"], 2, "run runs/back exists; choose another --out"),
    (["backtest", "--resume", "runs/bak"], 2, "run runs/bak not found; did you mean 'back'?"),
    (["backtest", "--resume", "runs/back", "--seed"], 2, "No such option"),
    (["backtest", "--resume", "runs/back", "--quick"], 2, "quick=True cannot be changed"),
    (["backtest", *SHORT, "--vault", "--open-vault"], 2, "give one of them"),
    (["backtest", *SHORT, "--vault"], 2, "the test is from 2017-12-01"),
    (["backtest", "--resume", "runs/back", "--vault"], 2, "vault=True cannot be changed"),
    (["backtest", *SHORT, "--set", "vault=ajar"], 2, "config vault='ajar'"),
    (["train", "--preset", "gpt"], 2, "preset 'gpt' does not exist"),
    (["train", "--until", "yesterday"], 2, "--until 'yesterday' is not a day"),
    (["train", "--symbols", "GOOG", "--until", "2003-01-01"], 2, "GOOG: no bar is closed by"),
    (["train", "--symbols", "^IXIC", "--until", "1999-03-01"], 3, "needs at least 80 for 40"),
    (["predict", "runs/back"], 6, "run runs/back is a backtest, not a train"),
    (["predict", "runs/trained", "--paths", "0"], 2, "0 is not in the range 1<=x<=1000000"),
    (["backtest", "--resume", "runs/trained"], 6, "is a train, not a backtest; make one with"),
    (["train", "--resume", "runs/back"], 6, "is a backtest, not a train; make one with"),
    (["backtest", "--horizons", "\u00b2"], 2, "wanted whole numbers"),
    (["backtest", "--horizons", "1,100000000"], 3, "needs at least"),
    (["backtest", *SHORT, "--horizons", "1,300"], 3, "horizon 300: at most"),
    (["train", "--until", "2014-06"], 2, "--until '2014-06' is not a day"),
    (["train", "--until", "NaT"], 2, "--until 'NaT' is not a day"),
    (["predict", "runs/trained", "--horizons", "3"], 2, "horizon 3: the run learnt (1, 5, 20)"),
    (["report", "runs/trained"], 6, "is a train, not a backtest; make one with"),
    (["report", "nothing"], 2, "run runs/nothing not found"),
    (["report", "runs/nothing"], 2, "run runs/nothing not found"),
    (["report", "back", "--out", "runs/back/status.json"], 2, "status.json exists; choose another"),
    (["runs", "show", "nothing"], 2, "run runs/nothing not found"),
    (["predict", "nothing"], 2, "run runs/nothing not found"),
    (["predict", "back"], 6, "run runs/back is a backtest, not a train"),
    (["paths", "nothing"], 2, "run runs/nothing not found"),
    (["paths", "trained"], 2, "run runs/trained was trained on all bars"),
    (["strategy", "nothing"], 2, "run runs/nothing not found"),
    (["strategy", "trained"], 6, "run runs/trained is a train, not a backtest"),
    (["strategy", "back", "--model", "hrx"], 2, "'hrx' is not in the run; did you mean 'harx'"),
    (["strategy", "back", "--cost-bp", "1,many"], 2, "--cost-bp 'many': wanted basis points"),
    (["strategy", "back", "--cost-bp", "nan"], 2, "--cost-bp 'nan': wanted basis points"),
    (["strategy", "back", "--cost-bp", "2000"], 2, "'2000': wanted basis points from 0 to 1000"),
    (["fetch", "--source", "yaho"], 2, "yaho"),
    (["fetch", "--source", "csv"], 2, "--path"),
    (["fetch", "--start", "soon"], 2, "--start 'soon' is not a day"),
    (["fetsh"], 2, "Did you mean 'fetch'"),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[" ".join(w[0])[:48] for w in WRONG])
def test_what_is_wrong_is_said_in_one_line(
    line: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
):
    before = sorted(p.name for p in Path("runs").iterdir())
    assert run(line) == code
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    complaints = [row for row in err.splitlines() if "error" in row.lower()]
    assert len(complaints) == 1
    assert len(complaints[0]) <= 260
    assert sorted(p.name for p in Path("runs").iterdir()) == before


def test_a_store_that_cannot_be_written_is_exit_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run(["backtest", "--store", str(blocked / "data")]) == 5
    assert str(blocked) in capsys.readouterr().err


def test_our_own_bug_is_one_line_and_a_saved_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from forecaster.commands import past_runs

    def broken(_: object) -> None:
        raise RuntimeError("a\x1b[31mb")

    monkeypatch.setattr(past_runs, "runs_ls", broken)
    assert run(["runs", "ls"]) == 1
    err = capsys.readouterr().err
    assert r"our bug: RuntimeError: a\x1b[31mb; traceback in " in err
    saved = Path(err.rsplit(" ", 1)[-1].strip())
    assert "RuntimeError" in saved.read_text()
    saved.unlink()


@pytest.mark.parametrize("program", ["forecaster", "backbones"])
def test_help_imports_nothing_heavy(program: str):
    """The point of the 0.3 s promise, without a clock: nothing that is slow to import is."""
    heavy = ["torch", "numpy", "pandas", "pyarrow", "pydantic", "rich", "scipy", "statsmodels"]
    code = (
        f"import sys; from {program}.cli import main; sys.argv = ['x', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_keeps_what_is_done_and_says_how_to_go_on(number: int, code: int, tmp_path: Path):
    line = [sys.executable, "-c", "from forecaster.cli import main; main()", "backtest"]
    slow = [*SHORT, "--set", "learner.steps=100000", "--out", str(tmp_path / "cut")]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*line, *slow], stderr=subprocess.PIPE, text=True, env=env) as process:
        waited = time.monotonic() + 60
        while not (tmp_path / "cut" / "data.json").exists() and time.monotonic() < waited:
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(number)
        err = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert f"go on with: forecaster backtest --resume {tmp_path / 'cut'}" in err
    assert "Traceback" not in err


def test_hundreds_of_names_are_a_few_and_a_number() -> None:
    names = [f"GARCH-{i}" for i in range(1, 501)]
    assert listed(names[:12]) == ", ".join(names[:12])
    assert listed(names).endswith(", GARCH-12 and 488 more")
