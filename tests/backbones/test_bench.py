"""Benches compare only what is equal and tell what they found. No time is asserted."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from pyarrow import parquet
from torch import Tensor

from backbones import cli
from backbones.bench import BENCHES, Row, Scale, Settings, bench_table, write_rows
from backbones.bench.attention import dint_cases
from backbones.bench.cases import Case, Check, Way, differences
from backbones.bench.clock import paired_ratio, time_case, untold
from backbones.bench.compiled import with_warm_up
from backbones.bench.decoding import LARGER
from backbones.bench.peers import LLAMA_NAMES
from backbones.bench.race import Arm, Told, race
from backbones.bench.results import COLUMNS, notes
from backbones.errors import UnequalError
from backbones.language.plan import changed, plan_run
from backbones.presets import PRESETS
from backbones.text.corpora import Corpus, corpus_of

TINY = Scale(
    d_model=64,
    n_layers=1,
    vocab_size=11,
    context=8,
    batch=2,
    lengths=(9,),
    tokens=18,
    long=(16,),
    written=4,
    peers=((32, 1, 4, 8, 2),),
    decoded=6,
)
HOW = Settings(rounds=2, scale=TINY)
TIMED = [name for name in BENCHES if name not in {"memory", "time-to-loss", "llama-compiled"}]
VERSE = "The quality of mercy is not strain'd, it droppeth as the gentle rain from heaven.\n"

# What must be compared, and the ways that must be in each.
ASKED = {
    "softmax": {"written out", "fused"},
    "diff": {"ours", "A: two calls", "B: one call", "C: values in slices", "D: padded"},
    "dint": {"dense", "running mean"},
    "ngpt-normalisation": {
        "a matrix at a time",
        "those of a shape together",
        "after the pass",
        "inside the pass",
        "with",
        "without",
    },
    "mla-decoding": {"expanded", "absorbed", "absorbed, latents read once"},
    "ffn": {"full", "low rank"},
    "ngpt-simple": {"ngpt", "ngpt_simple"},
    "steps": set(PRESETS),
    "mla": {"llama", "rank 32", "rank 24", "rank 16", "rank 8", "rank 4"},
    "precision": {"fp32", "bf16-mixed"},
    "sampling": {"cached", "uncached"},
    "decoding": {"cached", "uncached"},
    "by-hand": {"by torch", "by hand"},
    "llama-transformers": {"transformers", "ours"},
    "classic-nanogpt": {"plain", "ours"},
}
OF_EQUALS = set(ASKED) - {"ffn", "ngpt-simple", "steps", "mla"}


@pytest.mark.parametrize("name", TIMED)
def test_every_bench_runs_and_what_is_called_equal_is(name: str) -> None:
    rows = BENCHES[name].rows(name, HOW)
    assert {row.way for row in rows} >= ASKED.get(name, set())
    for row in rows:
        assert row.bench == name
        assert row.rounds == 2
        assert row.ms is not None
        assert row.ms > 0
        assert row.ratio_low is not None
        assert row.ratio is not None
        assert row.ratio_high is not None
        assert row.ratio_low <= row.ratio <= row.ratio_high
        if row.way == row.against:
            assert (row.ratio_low, row.ratio, row.ratio_high) == (1, 1, 1)
        if row.check is not None:
            assert row.difference is not None
            assert row.limit is not None
            assert row.difference <= row.limit
    if name in OF_EQUALS:
        assert "outputs" in {row.check for row in rows}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command at sizes of seconds."""
    monkeypatch.setattr("backbones.commands.benching.Settings", partial(Settings, scale=TINY))


PEERS = ["by-hand", "llama-transformers", "classic-nanogpt", "decoding"]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", PEERS)
def test_the_command_holds_us_against_others(name: str) -> None:
    done = invoke("-q", "bench", name, "--rounds", "1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["rows"]
    assert {row["way"] for row in rows} == ASKED[name]
    cases = {row["case"] for row in rows}
    wanted = {"classic-nanogpt": 2, "decoding": len(PRESETS) + len(LARGER)}
    assert len(cases) == wanted.get(name, 1)
    assert all(row["peak_mb"] > 0 for row in rows)


@pytest.mark.usefixtures("tiny")
def test_planted_a_peer_of_other_weights_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = LLAMA_NAMES | {"mlp.gate_proj.weight": "ffn.up.weight"}
    monkeypatch.setattr("backbones.bench.peers.LLAMA_NAMES", names)
    done = invoke("-q", "bench", "llama-transformers", "--rounds", "1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'ours' and 'transformers' differ in outputs" in done.stderr


@pytest.mark.usefixtures("tiny")
def test_a_peer_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    done = invoke("-q", "bench", "llama-transformers")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: bench llama-transformers wants transformers, which is not installed: "
        "pip install -e '.[test]'\n"
    )


@pytest.mark.usefixtures("tiny")
def test_compiling_without_a_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    done = invoke("-q", "bench", "llama-compiled")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "wants a C++ compiler and found none of c++, g++, clang++" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_compiling_tells_its_warm_up_and_when_it_is_won_back() -> None:
    done = invoke("-q", "bench", "llama-compiled", "--rounds", "1", "--json")
    assert done.exit_code == 0, done.stderr
    eager, compiled = json.loads(done.stdout)["rows"]
    assert (eager["way"], compiled["way"]) == ("eager", "compiled")
    assert "warm_up" not in eager
    assert compiled["warm_up"] > 0
    assert compiled["difference"] <= compiled["limit"] == 1e-4


@pytest.mark.parametrize(("saved", "steps"), [(0.5, 20), (-0.5, None)])
def test_a_warm_up_is_won_back_by_what_a_step_saves(saved: float, steps: int | None) -> None:
    of = {"bench": "x", "case": "y", "against": "eager", "rounds": 3}
    eager, fast = (
        Row(way=w, ms=1000 * s, **of) for w, s in (("eager", 2.0), ("fast", 2.0 - saved))
    )
    fast = with_warm_up(eager, fast, 10.0)
    assert (eager.warm_up, fast.warm_up, fast.break_even) == (None, 10.0, steps)
    assert "the steps that win them back" in " ".join(notes([eager, fast]))


def test_all_that_was_asked_for_is_there() -> None:
    assert set(ASKED) <= set(BENCHES)


def drawn(factor: float, slope: float) -> Way:
    """x factor, whose gradient is wrong unless slope is 1."""
    x = torch.ones(3, requires_grad=True)

    def run() -> list[Tensor]:
        y = factor * x
        return [y, *torch.autograd.grad(slope * y.sum(), x)]

    return Way(name=f"{factor}, {slope}", run=run)


@pytest.mark.parametrize("planted", [(1.01, 1.0), (1.0, 1.01), (float("nan"), 1.0)])
def test_planted_ways_that_differ_are_not_timed(planted: tuple[float, float]) -> None:
    """A wrong value, a right value with a wrong gradient, no value."""
    timed = []
    ways = [drawn(1.0, 1.0), drawn(*planted)]
    case = Case(label="x", build=lambda: ways, check=Check(of="outputs", limit=1e-4))
    with pytest.raises(UnequalError, match=r"bench planted, x: .* differ in outputs by .*1e-04"):
        timed += time_case("planted", case, rounds=1)
    assert timed == []


def test_planted_models_of_unequal_size_are_not_called_equal() -> None:
    ways = [
        Way(name=str(count), run=lambda: [torch.zeros(1)], parameters=count) for count in (100, 103)
    ]
    case = Case(label="x", build=lambda: ways, check=Check(of="parameters", limit=0.02))
    with pytest.raises(UnequalError, match=r"'103' and '100' differ in parameters by 3.0e-02"):
        differences(case, ways, "planted")


def test_a_slow_machine_moves_times_but_no_ratio() -> None:
    """The planted mistake is the ratio of two medians, which here is off by a quarter."""
    slow = [1.0, 5.0, 1.0, 1.0, 7.0]
    ratio = paired_ratio([2 * s for s in slow], slow)
    assert (ratio.low, ratio.median, ratio.high) == (2, 2, 2)
    first, second = [1.0, 4.0, 4.0], [2.0, 2.0, 8.0]  # what was slow was not always the same
    assert paired_ratio(second, first).median == 2
    assert sorted(second)[1] / sorted(first)[1] == 0.5


def test_rows_come_back_from_parquet(tmp_path: Path) -> None:
    rows = BENCHES["ffn"].rows("ffn", HOW)
    write_rows(tmp_path / "rows.parquet", rows)
    table = parquet.read_table(tmp_path / "rows.parquet")
    back = [Row(**row) for row in table.to_pylist()]
    assert back == rows
    assert table.schema.metadata[b"torch"] == torch.__version__.encode()


def test_a_table_has_the_columns_that_were_measured() -> None:
    rows = BENCHES["ffn"].rows("ffn", HOW)
    shown = [str(column.header) for column in bench_table("about", rows).columns]
    assert shown == ["case", "way", "ms", "ratio", "MB", "parameters"]
    assert set(shown) < set(COLUMNS)


def invoke(*arguments: str) -> Result:
    try:
        return CliRunner().invoke(cli.main, arguments)
    finally:
        torch.use_deterministic_algorithms(False)


def test_only_a_command_that_can_resume_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backbones.commands.benching.bench", stopped)
    monkeypatch.setattr("backbones.language.prepare", stopped)
    told = [invoke("bench", "ffn"), invoke("train", "--corpus", "tinyshakespeare")]
    assert [result.exit_code for result in told] == [130, 130]
    assert [result.stderr for result in told] == [
        "error: interrupted\n",
        "error: interrupted: go on with --resume\n",
    ]


def test_the_command_shows_a_table_and_keeps_the_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    done = invoke("bench", "ffn", "mla-decoding", "--rounds", "1", "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert "ffn: a full and a low-rank SwiGLU" in done.stdout
    assert "equal first: at most" in done.stdout
    assert done.stderr.splitlines()[0] == "ffn: forward and back"
    assert len(parquet.read_table(out)) == 2 + 9
    again = invoke("-q", "bench", "ffn", "--out", str(out))
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr == f"error: --out {out} exists: name another file\n"


def test_json_is_one_object_and_nothing_else() -> None:
    done = invoke("-q", "bench", "ffn", "--rounds", "1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert (answer["rounds"], answer["threads"]) == (1, 1)
    assert [row["way"] for row in answer["rows"]] == ["full", "low rank"]
    assert "nats" not in answer["rows"][0]


def test_the_list_names_every_bench() -> None:
    listed = json.loads(invoke("bench", "--list", "--json").stdout)
    assert [name.removesuffix(" *") for name in listed] == list(BENCHES)
    assert 5 <= sum(name.endswith(" *") for name in listed) < len(BENCHES)


def test_an_unknown_bench_is_refused_with_the_nearest_name() -> None:
    done = invoke("bench", "sofmax")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: bench 'sofmax' does not exist: did you mean 'softmax'?\n"


def test_planted_unequal_ways_end_the_command_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running mean that forgets to divide."""

    def summed(_reading: object, first: Tensor) -> Tensor:
        return first.cumsum(dim=-2)

    monkeypatch.setattr("backbones.bench.attention.prefix_mean", summed)
    with pytest.raises(UnequalError):
        time_case("dint", dint_cases(TINY)[0], rounds=1)
    done = invoke("-q", "bench", "dint", "--rounds", "1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: bench dint, T=64: 'running mean' and 'dense' differ in")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def corpus() -> Corpus:
    return corpus_of("verse", (VERSE * 60).encode())


def arm(corpus: Corpus, name: str, steps: int, looks: int | None = None) -> Arm:
    changes = {"train.steps": steps, "train.lr": 3e-2}
    plan = changed(plan_run(corpus, "llama", "smoke"), changes)
    return Arm(name=name, plan=plan, looks=looks)


def raced(
    corpus: Corpus, arms: Sequence[Arm], bar: float, monkeypatch: pytest.MonkeyPatch
) -> list[Row]:
    monkeypatch.setattr("backbones.bench.race.BAR", bar)
    return race(arms, corpus, (1, 2), Told(lambda _: None, untold))


def test_a_race_counts_seconds_in_steps_until_the_bar(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [arm(corpus, "long", 24), arm(corpus, "stops", 24, looks=4), arm(corpus, "short", 8)]
    rows = raced(corpus, arms, 2.9, monkeypatch)
    assert [row.case for row in rows] == ["seed 1"] * 3 + ["seed 2"] * 3 + ["median of 2 seeds"] * 3
    long, stops, short = rows[:3]
    assert (long.steps, short.steps) == (24, 8)
    assert stops.steps is not None
    assert stops.steps % 4 == 0
    assert 0 < stops.steps < 24
    assert stops.nats is not None
    assert stops.nats <= 2.9
    assert long.nats is not None
    assert long.nats < stops.nats
    assert long.ratio == 1
    assert (stops.reached, short.reached) == (True, short.nats is not None and short.nats <= 2.9)
    for row in rows[:6]:
        assert row.seconds is not None
        assert row.cpu_seconds is not None
        assert 0 < row.cpu_seconds < 1.5 * row.seconds
    last = rows[-1]
    assert last.ratio_low is not None
    assert last.ratio_high is not None
    assert last.ratio is not None
    assert last.ratio_low <= last.ratio <= last.ratio_high


def test_a_bar_that_is_not_reached_costs_the_whole_schedule(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = raced(corpus, [arm(corpus, "stops", 8, looks=4)], 0.1, monkeypatch)
    assert [row.steps for row in rows] == [8, 8, 8]
    assert all(row.nats is not None and row.nats > 0.1 for row in rows)
    assert not any(row.reached for row in rows)


def test_a_race_has_a_table_of_its_own(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = raced(corpus, [arm(corpus, "a", 8), arm(corpus, "b", 8)], 2.9, monkeypatch)
    assert [str(column.header) for column in bench_table("about", rows).columns] == [
        "case",
        "way",
        "steps",
        "seconds",
        "CPU s",
        "nats",
        "reached",
        "ratio",
        "CPU ratio",
        "parameters",
    ]
    assert "evaluations not counted" in " ".join(notes(rows))


def test_arms_of_a_race_take_turns_by_their_share(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted mistake would be one arm after the other: a slow minute would hit one alone."""
    from backbones.bench.race import Runner

    order: list[str] = []
    step: Callable[[Runner], None] = Runner.step

    def noted(self: Runner) -> None:
        order.append(self.arm.name)
        step(self)

    monkeypatch.setattr(Runner, "step", noted)
    race([arm(corpus, "a", 16), arm(corpus, "b", 8)], corpus, (1,), Told(lambda _: None, untold))
    for count in range(3, 24, 3):
        assert abs(order[:count].count("a") - 2 * order[:count].count("b")) <= 2
