"""`compare` as a library: equal parameters, equal tokens, rates chosen unseen, runs that resume."""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from studies import corpus_of, plant, planted, study_of, text_of

from backbones import language
from backbones.compare import Results, Study, arms_of, parity, run_study, tasks
from backbones.compare.parity import at_parity
from backbones.compare.parquet import write_parquet
from backbones.compare.tuning import best_factors, final_tasks, trial_tasks
from backbones.errors import BackbonesError, CorpusError, DivergedError, UsageError
from backbones.language.folder import read_plan
from backbones.language.plan import plan_run
from backbones.model import parameters_of
from backbones.presets import PRESETS, Sizes, sized

SIZES = Sizes(vocab_size=65, context=64, d_model=128, n_layers=4, n_heads=4)
SMALL = Sizes(vocab_size=65, context=64, d_model=32, n_layers=2, n_heads=4)


# --- equal parameters ---


@pytest.fixture(scope="module")
def wanted() -> int:
    return parameters_of(sized(PRESETS["llama"], SIZES))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reaches_the_reference_within_half_a_step(name: str, wanted: int) -> None:
    found = at_parity(sized(PRESETS[name], SIZES), wanted)
    gap = abs(parameters_of(found) - wanted)
    a_step = parameters_of(found.replace(d_ffn=found.d_ffn + parity.STEP)) - parameters_of(found)
    assert gap <= a_step / 2
    assert gap / wanted < 0.0025
    assert found.replace(d_ffn=1) == sized(PRESETS[name], SIZES).replace(d_ffn=1)


@pytest.mark.parametrize("name", ["llama", "classic", "ngpt", "mla", "swiglu_low_rank"])
def test_more_parameters_are_a_wider_ffn(name: str) -> None:
    config = sized(PRESETS[name], SMALL)
    counts = range(20_000, 40_000, 2_500)
    widths = [at_parity(config, count).d_ffn for count in counts]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert {width % 2 for width in widths} == {0}


def test_fewer_parameters_than_the_rest_has_are_refused() -> None:
    config = sized(PRESETS["llama"], SMALL)
    least = parameters_of(config.replace(d_ffn=2))
    assert at_parity(config, least).d_ffn == 2
    with pytest.raises(UsageError, match=rf"^1000 parameters are fewer than the {least} that"):
        at_parity(config, 1000)


def test_counting_makes_nothing() -> None:
    """Ten billion parameters would not fit."""
    huge = PRESETS["llama"].replace(vocab_size=65, d_model=8192, d_ffn=100_000, n_heads=64)
    assert parameters_of(huge.replace(n_kv_heads=64)) > 9e9


# --- arms ---


def test_all_arms_train_on_the_same_tokens_in_the_same_order() -> None:
    corpus = corpus_of()
    arms = arms_of(study_of(corpus, presets=tuple(PRESETS), parameters=29_000), corpus)
    shared = [(a.plan.batch, a.plan.context, a.plan.tokenizer, a.plan.train.steps) for a in arms]
    assert len(set(shared)) == 1
    assert {a.plan.parts(corpus) for a in arms} == {corpus.parts}
    assert [a.name for a in arms] == list(PRESETS)


def test_variations_are_crossed_with_presets() -> None:
    corpus = corpus_of()
    vary = (
        {"field": "loss", "values": ("softmax", "taylor")},
        {"field": "train.orthograd", "values": (None, "row")},
    )
    arms = arms_of(study_of(corpus, vary=vary), corpus)
    assert len(arms) == 8
    assert arms[3].name == "llama loss=taylor orthograd=row"
    assert arms[3].slug == "llama-loss-taylor-orthograd-row"
    assert (arms[3].plan.loss, arms[3].plan.train.orthograd) == ("taylor", "row")
    assert arms[4].name == "diff_v1 loss=softmax orthograd=none"
    assert arms[4].varied == {"loss": "softmax", "train.orthograd": None}


def test_as_is_leaves_the_widths_alone() -> None:
    corpus = corpus_of()
    arms = arms_of(study_of(corpus, presets=("llama", "dint_ngpt"), parity=False), corpus)
    for arm in arms:
        assert arm.plan.backbone.d_ffn == plan_run(corpus, arm.preset, "smoke").backbone.d_ffn
    assert arms[0].parameters != arms[1].parameters


def test_a_named_count_holds_for_the_reference_too() -> None:
    corpus = corpus_of()
    arms = arms_of(study_of(corpus, parameters=40_000), corpus)
    assert [abs(arm.parameters / 40_000 - 1) < 0.01 for arm in arms] == [True, True]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"presets": ("llama", "llama")}, "arms need names of their own: 'llama' and 'llama'"),
        ({"presets": ("lama",)}, "preset 'lama' does not exist: did you mean 'llama'?"),
        (
            {"vary": ({"field": "los", "values": (1,)},)},
            "--set los: there is no field 'los', did you mean 'loss'?",
        ),
        (
            {"vary": ({"field": "backbone.n_heads", "values": (5,)},)},
            "backbone: d_model=32 is not a multiple of n_heads=5",
        ),
    ],
)
def test_arms_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    corpus = corpus_of()
    with pytest.raises(UsageError) as caught:
        arms_of(study_of(corpus, **fields), corpus)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"changes": {"train.seed": 7}}, "train.seed cannot be changed: it is decided by --seeds"),
        ({"changes": {"tokenizer": "byte"}}, "tokenizer cannot be changed: it is decided by"),
        ({"vary": ({"field": "split", "values": ("selection",)},)}, "split cannot be varied"),
        ({"vary": ({"field": "loss", "values": ("taylor",)},) * 2}, "loss is given twice"),
        ({"vary": ({"field": "backbone.d_ffn", "values": (8,)},)}, "backbone.d_ffn is solved for"),
        ({"parameters": 9, "parity": False}, "parameters=9 are ignored as-is"),
        ({"rates": (1.0, 1.0)}, "rates name 1 twice"),
        ({"rates": (1.0,), "tune_steps": 3}, "tune_steps=3 tune nothing"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"presets": ()}, "at least 1 item"),
    ],
)
def test_what_a_study_would_ignore_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of(corpus_of(), **fields)


# --- rates ---


def test_the_best_trial_decides_and_of_equals_the_slowest(tmp_path: Path) -> None:
    corpus = corpus_of()
    study = study_of(corpus, rates=(4.0, 1.0, 2.0))
    scores = {"llama": [3.0, 2.5, 2.25], "diff_v1": [2.0, 2.0, None]}
    trials = [
        plant(task, scores[task.arm][study.rates.index(task.factor)])
        for task in trial_tasks(study, arms_of(study, corpus), tmp_path)
    ]
    assert best_factors(trials) == {"llama": 2.0, "diff_v1": 1.0}
    worst = [plant_again(trial, None) for trial in trials]
    with pytest.raises(DivergedError, match=r"^llama diverges at every rate: name lower --rates"):
        best_factors(worst)


def plant_again(trial: tasks.Done, nats: float | None) -> tasks.Done:
    return tasks.Done(task=trial.task, record=trial.record | {"selection_nats": nats})


def finals_of(
    study: Study, folder: Path, at_first: dict[float, float], later: Mapping[float, float | None]
) -> tuple[list[list[float]], float]:
    """The factors of each round of finals, and the one chosen, from planted scores."""
    arms = arms_of(study, corpus_of())
    trials = [plant(t, at_first[t.factor]) for t in trial_tasks(study, arms, folder)]
    finals: list[tasks.Done] = []
    rounds: list[list[float]] = []
    while todo := final_tasks(study, arms, trials, finals, folder):
        assert {(t.plan.train.steps, t.plan.split) for t in todo} == {(8, "selection")}
        rounds.append([t.factor for t in todo])
        finals += [plant(t, later[t.factor]) for t in todo]
    return rounds, best_factors(finals or trials)["llama"]


RISING = {0.5: 2.5, 1.0: 2.2, 2.0: 2.0, 4.0: 2.1}  # short trials like the third


@pytest.mark.parametrize(
    ("later", "rounds", "chosen"),
    [
        ({2.0: 1.8, 4.0: 1.9, 1.0: 1.85}, [[2.0, 4.0], [1.0]], 2.0),
        ({2.0: 1.8, 4.0: 1.9, 1.0: 1.7, 0.5: 1.6}, [[2.0, 4.0], [1.0], [0.5]], 0.5),
        ({2.0: 1.9, 4.0: 1.8}, [[2.0, 4.0]], 4.0),
        ({2.0: None, 4.0: None, 1.0: 1.8, 0.5: 1.9}, [[2.0, 4.0], [1.0], [0.5]], 1.0),
    ],
)
def test_finals_go_on_while_the_best_is_the_last_tried(
    tmp_path: Path, later: Mapping[float, float | None], rounds: list[list[float]], chosen: float
) -> None:
    study = study_of(corpus_of(), presets=("llama",), rates=(0.5, 1.0, 2.0, 4.0), finalists=2)
    assert finals_of(study, tmp_path, RISING, later) == (rounds, chosen)


def test_one_finalist_is_none(tmp_path: Path) -> None:
    study = study_of(corpus_of(), presets=("llama",), rates=(0.5, 1.0, 2.0, 4.0), finalists=1)
    assert finals_of(study, tmp_path, RISING, {}) == ([], 2.0)


def test_a_study_runs_its_finals(tmp_path: Path) -> None:
    corpus = corpus_of()
    study = study_of(corpus, presets=("llama",), seeds=1, finalists=2, tune_steps=2)
    results = run_study(study, corpus, tmp_path / "out")
    assert [t.task.plan.train.steps for t in (*results.trials, *results.finals)] == [2, 2, 8, 8]
    best = min(results.finals, key=lambda t: (t.nats or 99.0, t.task.factor))
    assert results.runs[0].task.factor == best.task.factor
    assert write_parquet(results, tmp_path / "out")
    rows = parquet.read_table(tmp_path / "out" / "trials.parquet").to_pylist()
    assert [row["steps"] for row in rows] == [2, 2, 8, 8]


def test_trials_never_see_the_validation_part(tmp_path: Path) -> None:
    """Another validation part, of the same characters, changes no trial and no choice."""
    corpus = corpus_of()
    training, held_out = corpus.parts
    poisoned = corpus_of(training + "".join(sorted(held_out)))
    assert poisoned.parts[0] == training
    chosen: list[Any] = []
    for name, text in (("clean", corpus), ("poisoned", poisoned)):
        study = study_of(text, presets=("llama",), seeds=1, steps=4)
        results = run_study(study, text, tmp_path / name)
        assert {trial.task.plan.split for trial in results.trials} == {"selection"}
        chosen.append(([t.nats for t in results.trials], results.runs[0].task.factor))
        chosen[-1] += (results.runs[0].nats,)
    assert chosen[0][:2] == chosen[1][:2]
    assert chosen[0][2] != chosen[1][2]  # or the poison would prove nothing


def test_a_trial_that_diverges_is_a_result_and_a_run_that_does_is_not(tmp_path: Path) -> None:
    corpus = corpus_of()
    wild = {"train.clip": None, "train.warmup": 1, "train.weight_decay": 0}
    study = study_of(
        corpus, presets=("llama",), seeds=1, rates=(1.0, 1e30), steps=4, tune_steps=4, changes=wild
    )
    results = run_study(study, corpus, tmp_path / "out")
    assert [trial.nats is None for trial in results.trials] == [False, True]
    assert "diverged" in results.trials[1].record
    assert results.runs[0].task.factor == 1.0
    write_parquet(results, tmp_path / "out")
    only = study_of(corpus, presets=("llama",), seeds=1, rates=(1e30,), steps=4, changes=wild)
    with pytest.raises(DivergedError, match=r"^llama-seed1: "):
        run_study(only, corpus, tmp_path / "only")


# --- running ---


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which every step takes one second, so that bytes can be compared."""
    monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study run at once, by that clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", itertools.count().__next__)
        corpus = corpus_of()
        out = tmp_path_factory.mktemp("whole") / "out"
        results = run_study(study_of(corpus), corpus, out)
        write_parquet(results, out)
        return results


def folder_of(results: Results) -> Path:
    return results.runs[0].task.folder.parents[1]


def interrupt_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose call number `calls` + 1 is Ctrl-C."""
    left = itertools.count(calls, -1)

    def called(*args: Any, **kwargs: Any) -> Any:
        if next(left) == 0:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return called


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("scores_until_then", [1, 14])  # in the second trial; in the second run
def test_an_interrupted_study_ends_in_the_same_bytes(
    whole: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores_until_then: int
) -> None:
    corpus, study, out = corpus_of(), whole.study, tmp_path / "out"
    with monkeypatch.context() as patch:
        stopping = interrupt_after(scores_until_then, language.run.mean_nats)
        patch.setattr(language.run, "mean_nats", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, corpus, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("record.json")}
    assert 0 < len(before) < 8
    results = run_study(study, corpus, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for file in write_parquet(results, out):
        assert file.read_bytes() == (folder_of(whole) / file.name).read_bytes()


def test_a_study_that_is_done_is_read(whole: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "train_run", None)
    told: list[bool] = []
    again = run_study(
        whole.study, corpus_of(), folder_of(whole), on_run=lambda _, kept: told.append(kept)
    )
    assert again == whole
    assert told == [True] * 8


@pytest.mark.slow  # each process imports torch
def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    corpus = corpus_of()
    study = study_of(corpus, rates=(1.0,), seeds=1, steps=4)
    found = [run_study(study, corpus, tmp_path / str(jobs), jobs=jobs).runs for jobs in (1, 2)]
    for one, two in zip(*found, strict=True):
        assert untimed(one) == untimed(two)


def untimed(done: tasks.Done) -> dict[str, Any]:
    timed = {"run", "training_seconds", "ms_per_step", "ms_per_step_median"}
    return {name: value for name, value in done.record.items() if name not in timed}


def test_another_study_in_the_folder_is_refused_with_the_difference(whole: Results) -> None:
    other = whole.study.replace(seeds=3, recipe="cpu")
    with pytest.raises(UsageError) as caught:
        run_study(other, corpus_of(), folder_of(whole))
    assert str(caught.value) == (
        f"{folder_of(whole)} holds another study: recipe='smoke' in the run, 'cpu' here; "
        "seeds=2 in the run, 3 here; name another --out"
    )


def test_a_changed_text_is_refused(whole: Results) -> None:
    with pytest.raises(CorpusError, match="the study was planned on 'words' with"):
        run_study(whole.study, corpus_of(text_of(900)), folder_of(whole))


def test_a_run_of_another_plan_in_the_folder_is_refused(tmp_path: Path) -> None:
    corpus = corpus_of()
    study = study_of(corpus, presets=("llama",), seeds=1, rates=(1.0,), steps=2)
    results = run_study(study, corpus, tmp_path / "out")
    plan = results.runs[0].task.folder / "config.resolved.json"
    plan.write_text(plan.read_text().replace('"batch": 8', '"batch": 4'))
    with pytest.raises(UsageError, match="llama-seed1 is a run of another plan"):
        run_study(study, corpus, tmp_path / "out")


def test_the_folder_of_a_study(whole: Results) -> None:
    """What others read: names of folders, and fields of the record."""
    out = folder_of(whole)
    assert Study.from_json((out / "study.json").read_text()) == whole.study
    assert sorted(p.name for p in (out / "trials").iterdir()) == [
        "diff_v1-x1",
        "diff_v1-x2",
        "llama-x1",
        "llama-x2",
    ]
    run = out / "runs" / "llama-seed1"
    record = json.loads((run / "record.json").read_text())
    assert record.keys() >= {"arm", "factor", "validation_nats", "training_nats", "softmax_nats"}
    assert record["ms_per_step_median"] == 1000.0
    plan = read_plan(run)
    assert (plan.train.evaluate_every, plan.train.checkpoint_every) == (2, 8)
    assert not (out / "trials" / "llama-x1" / "checkpoints").exists()


def test_scores_afterwards_are_those_of_eval(whole: Results) -> None:
    run = whole.runs[0]
    scored = language.score_run(language.open_run(run.task.folder), corpus_of())
    assert scored["softmax_nats"] == run.record["softmax_nats"]
    assert scored["validation_nats"] == pytest.approx(run.nats, abs=1e-9)
    assert run.record["training_nats"] != run.nats


# --- a share of the training part ---


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_share_of_the_training_part_is_its_beginning(share: float) -> None:
    corpus = corpus_of()
    plan = plan_run(corpus, "llama", "smoke").replace(training_share=share)
    for split in ("validation", "selection"):
        training, scored = plan.replace(split=split).parts(corpus)
        whole_part, same = corpus.parts_for(split)
        assert scored == same
        assert training == whole_part[: round(share * len(whole_part))]


@pytest.mark.parametrize("share", [0, -0.1, 1.5, "much"])
def test_a_share_is_above_zero_and_at_most_one(share: Any) -> None:
    plan = plan_run(corpus_of(), "llama", "smoke")
    with pytest.raises(UsageError, match=r"^training_share="):
        language.plan.changed(plan, {"training_share": share})


def test_a_share_too_small_for_a_batch_is_refused(tmp_path: Path) -> None:
    corpus = corpus_of()
    plan = plan_run(corpus, "llama", "smoke").replace(training_share=0.01)
    with pytest.raises(CorpusError, match="the text has 48 tokens, 0 windows of 32"):
        language.train_run(corpus, plan, tmp_path / "run")


def test_what_is_not_in_the_share_changes_no_weight(tmp_path: Path) -> None:
    """Text after the share may be anything; the same text inside it may not."""
    training, held_out = (text := corpus_of()).parts
    half = len(training) // 2
    outside = corpus_of(training[:half] + training[half:][::-1] + held_out)
    inside = corpus_of(training[:half][::-1] + training[half:] + held_out)
    found = []
    for name, corpus in (("text", text), ("outside", outside), ("inside", inside)):
        plan = plan_run(corpus, "llama", "smoke").replace(training_share=0.5)
        plan = language.plan.changed(plan, {"train.steps": 3, "train.warmup": 1})
        found.append(language.train_run(corpus, plan, tmp_path / name)["validation_nats"])
    assert found[0] == found[1] != found[2]


def test_planted_results_are_results(tmp_path: Path) -> None:
    """The helper of the other tests plants what a study leaves."""
    results = planted(tmp_path, {"llama": [2.0, 2.1], "diff_v1": [2.0, 2.0]})
    assert [run.nats for run in results.runs] == [2.0, 2.0, 2.1, 2.0]
    assert issubclass(DivergedError, BackbonesError)
