"""Where cells are computed changes nothing; a process that dies costs what it was at."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from engine_tasks import doubled, inverse, killed_always, killed_once, with_limit
from panels import garch_panel
from test_backtest import CONFIG, TINY, bytes_of

from forecaster import backtest
from forecaster.baselines import choose
from forecaster.cli import run as command
from forecaster.engine import Cluster, Engine, Local, cluster
from forecaster.engine.lines import Lines
from forecaster.errors import ForecasterError, ProviderError, UsageError
from forecaster.learner import BackboneForecaster
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder

HERE = Path(__file__).parent


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_failure_of_a_task_is_raised(jobs: int):
    with pytest.raises(ZeroDivisionError):
        list(Local(jobs).run([1, 0, 2], inverse))


def test_a_killed_process_costs_what_it_was_at(tmp_path: Path):
    found = dict(Local(2).run(range(12), partial(killed_once, tmp_path)))
    assert found == {n: 2 * n for n in range(12)}
    assert (tmp_path / "killed").exists()


def test_processes_that_die_always_end_the_run():
    with pytest.raises(ForecasterError, match=r"killed 3 times in a row.*4 of 4 cells are left"):
        list(Local(2).run(range(4), killed_always))


def worker(file: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), "--no-nanny"]
    words += ["--no-dashboard", "--host", "127.0.0.1", *more]
    environment = os.environ | {"PYTHONPATH": str(HERE), "OPENBLAS_NUM_THREADS": "2"}
    return subprocess.Popen(words, env=environment, cwd=file.parent, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a scheduler on loopback, without workers."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    words = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    words += ["--no-dashboard", "--scheduler-file", str(file)]
    process = subprocess.Popen(words, cwd=file.parent, stderr=subprocess.DEVNULL)
    while not file.exists() and process.poll() is None:
        time.sleep(0.05)
    yield file
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def workers(scheduler: Path) -> Iterator[str]:
    """The address of that scheduler, with two workers that are processes of their own."""
    processes = [worker(scheduler, "--nthreads", "1") for _ in range(2)]
    yield json.loads(scheduler.read_text())["address"]
    for process in processes:
        process.kill()
        process.wait()


def kept(engine: Engine, path: Path, models: tuple[Forecaster, ...]) -> list[bytes]:
    """The tables of a small backtest."""
    plan = backtest.plan(CONFIG, garch_panel(900, 2), models, "0" * 64)
    run = RunFolder.create(path, "backtest", plan.config)
    backtest.execute(plan, run, engine)
    return bytes_of(run)


@pytest.mark.parametrize(
    "models",
    [
        choose(("random_walk", "garch_student_t")),
        pytest.param((BackboneForecaster("llama", TINY),), marks=pytest.mark.slow),
    ],
    ids=("baselines", "learner"),
)
def test_a_cluster_gives_the_bytes_of_one_process(
    workers: str, tmp_path: Path, models: tuple[Forecaster, ...]
):
    serial = kept(Local(1), tmp_path / "serial", models)
    assert kept(Cluster(workers), tmp_path / "cluster", models) == serial


def test_a_cluster_works_on_one_thread_and_raises_what_a_task_raises(workers: str):
    assert dict(Cluster(workers).run([1, 2], with_limit)) == {1: (1, 1), 2: (2, 1)}
    assert list(Cluster(workers).run([], doubled)) == []
    with pytest.raises(ZeroDivisionError):
        list(Cluster(workers).run([1, 0, 2], inverse))


def test_workers_of_other_code_are_refused(workers: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "_code", lambda: "another")
    with pytest.raises(UsageError, match=r"has code .* \(here another\)"):
        list(Cluster(workers).run([1], doubled))


def threads(client: Client) -> set[int]:
    workers: Any = client.scheduler_info(n_workers=-1)["workers"]
    return {each["nthreads"] for each in workers.values()}


def test_workers_of_several_threads_are_refused(workers: str, scheduler: Path):
    """They would take two cells at once, which share a generator and caches."""
    broad = worker(scheduler, "--nthreads", "2")
    with Client(workers, set_as_default=False) as client:
        while 2 not in threads(client):
            time.sleep(0.1)
        with pytest.raises(UsageError, match="has 2 threads: start workers with --nthreads 1"):
            list(Cluster(workers).run([1], doubled))
        broad.kill()
        broad.wait()
        while 2 in threads(client):
            time.sleep(0.1)


def test_a_worker_that_is_killed_costs_what_it_was_at(
    workers: str, scheduler: Path, tmp_path: Path
):
    with_third = worker(scheduler, "--nthreads", "1")
    found = dict(Cluster(workers).run(range(12), partial(killed_once, tmp_path)))
    assert found == {n: 2 * n for n in range(12)}
    assert (tmp_path / "killed").exists()
    with_third.kill()
    with_third.wait()


def test_nobody_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(ProviderError, match="does not answer"):
        list(Cluster("tcp://127.0.0.1:9").run([1], doubled))
    for address in ("nonsense", "tcp://", "127.0.0.1:8786", "tcp://a b:1"):
        with pytest.raises(UsageError, match="is no address: wanted tcp://HOST:PORT"):
            Cluster(address)


def test_two_places_are_one_too_many(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    words = ["backtest", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:9", "--dry-run"]
    assert command([*words, "--store", str(tmp_path)]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_tasks_that_share_work_meet_in_one_process():
    """Planted: without `alike` two processes take turns at every line."""
    tasks = [(fold, model) for fold in range(3) for model in range(4)]

    def turns(lines: Lines) -> list[tuple[int, int]]:
        """(process, task) where two processes take one task each in turn, to the end."""
        done = [(i, lines.next(i)) for _ in range(6) for i in range(2)]
        assert [lines.next(i) for i in range(2)] == [None, None]
        return [(i, n) for i, n in done if n is not None]

    def homes(done: list[tuple[int, int]]) -> list[int]:
        """How many processes were at each line."""
        return [len({i for i, n in done if tasks[n][0] == fold}) for fold in range(3)]

    met = turns(Lines(tasks, lambda task: task[0]))
    assert sorted(n for _, n in met) == list(range(12))
    assert homes(met) == [1, 1, 2]  # the third is begun by one and ended by both
    assert [n for i, n in met if i == 0] == [0, 1, 2, 3, 8, 9]
    assert [n for i, n in met if i == 1] == [4, 5, 6, 7, 11, 10]
    assert homes(turns(Lines(tasks))) == [2, 2, 2]


def test_a_task_that_was_not_finished_is_next_in_its_line():
    lines = Lines("abc", lambda letter: letter == "c")
    assert [lines.next(0), lines.next(1), lines.next(0)] == [0, 2, 1]
    lines.back(1)
    assert [lines.next(0), lines.next(0)] == [1, None]


def test_one_process_has_one_thread_for_its_sums():
    """Loaded before: the environment alone would leave the library as many as there are cores."""
    code = (
        "import numpy; from forecaster.engine import Local; from engine_tasks import blas_threads;"
        "print(*(n for _, n in Local(1).run([1], blas_threads)))"
    )
    roots = f"{HERE}{os.pathsep}{HERE.parents[1]}"
    environment = os.environ | {"PYTHONPATH": roots, "OPENBLAS_NUM_THREADS": "2"}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
