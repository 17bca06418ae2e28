"""SIGKILL at any moment of a training or a backtest: resumed, it ends with the same bytes.

After every kill the command is given again with --resume, and killed again, until it is through;
then every file of the run and of the store is compared with those of a run that nobody killed.
Clocks stand still in these processes (`fork_server`), so that all of it can be compared.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from fault_cases import CASES, Case, Server, again, differences, killed, shared_server, tree
from fork_server import SEEN
from system_calls import KILL
from test_system_calls import Product

SOAK = pytest.mark.soak
MOST_DRAWS = 20  # a run that is killed so often in a row does not get on


@pytest.fixture
def server() -> Server:
    return shared_server()


@dataclass
class Kills:
    """One case, killed again and again."""

    server: Server
    case: Case
    seed: int = 0
    runs: int = 0  # that came through
    phases: Counter[str] = field(default_factory=Counter)  # of the kills
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        place = self.server.fresh(self.case)
        self.seen = self.server.place / "phase"
        began = time.monotonic()
        self.server.done(self.case.argv, place, **self.watch())
        self.seconds = time.monotonic() - began
        self.units = self.phase()[0]
        self.wanted = tree(place)

    def watch(self, planted: str = "") -> dict[str, str]:
        """The plan of a child whose phase is seen, from none."""
        self.seen.write_bytes(bytes(SEEN))
        plan = {"phase": str(self.seen), "unit": self.case.unit}
        return plan | ({"planted": planted} if planted else {})

    def phase(self) -> tuple[int, bool]:
        """Units kept by the last child, and whether it was in a commit."""
        seen = self.seen.read_bytes()
        return int.from_bytes(seen[:2]), bool(seen[2])

    def one_run(self, most: int, planted: str = "") -> None:
        """From nothing to the end, with at most so many kills between."""
        server, place = self.server, self.server.fresh(self.case)
        kept = 0
        for _ in range(min(most, MOST_DRAWS)):
            delay = self.random.uniform(0, self.seconds)
            ended = killed(server, again(self.case, place), place, delay, **self.watch(planted))
            if ended.status == 0:
                break
            if ended.status != -9:
                self.wrong.append(f"resumed: {ended}")
                return
            new, inside = self.phase()
            kept += new
            self.phases[self.named(kept, inside)] += 1
        else:
            server.run(again(self.case, place), place, **self.watch(planted))
        self.runs += 1
        if odd := differences(tree(place), self.wanted):
            self.wrong.append(odd)

    def named(self, kept: int, inside: bool) -> str:
        """Where a kill struck."""
        if inside:
            return "in a commit"
        if kept == 0:
            return "before the first"
        return "between" if kept < self.units else "after the last"

    def until(self, kills: int) -> None:
        """Runs until so many kills have struck."""
        while sum(self.phases.values()) < kills and not self.wrong:
            self.one_run(kills - sum(self.phases.values()))


# Of each: kills of every run of the suite, and the full counts.
FEW_AND_ALL = [
    pytest.param("killed learner", 3),
    pytest.param("killed language", 3),
    pytest.param("killed backtest", 2),
    pytest.param("killed learner", 120, marks=SOAK),
    pytest.param("killed language", 80, marks=SOAK),
    pytest.param("killed backtest", 100, marks=SOAK),
]


@pytest.mark.parametrize(("name", "kills"), FEW_AND_ALL)
def test_a_killed_run_resumed_ends_with_the_same_bytes(
    server: Server, name: str, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Kills(server, CASES[name])
    done.until(kills)
    with capsys.disabled():
        if kills > 10:
            print(f"\n{name}: {kills} kills, {dict(done.phases)}, {done.runs} runs")  # noqa: T201
    assert done.wrong == []
    assert sum(done.phases.values()) == kills
    if kills > 10:  # the harness strikes everywhere
        assert min(done.phases[p] for p in ("before the first", "in a commit", "between")) > 0


@pytest.mark.parametrize("planted", ["in_place", "trusting"])
@pytest.mark.parametrize("name", ["language", pytest.param("fold", marks=SOAK)])
def test_planted_writers_and_resumes_are_seen(server: Server, planted: str, name: str) -> None:
    """Killed half way through writes: what is written in place, or trusted, ends otherwise."""
    product = Product(server, CASES[name], planted)
    writes = [n for n, call in enumerate(product.calls, 1) if call.startswith("write run/")]
    drawn = random.Random(0).sample(writes, 4)
    _, wrongs = product.walk([(n, KILL) for n in drawn])
    assert wrongs, [product.calls[n - 1] for n in drawn]
