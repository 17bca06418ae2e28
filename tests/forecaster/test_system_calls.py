"""One file-system call fails: one line, the right exit code, nothing in the way, all sound again.

For every call of a command, each of four errors, and the end of the process there.
After each, the store is verified and the command given again: it must end with the same bytes.
"""

import random
from collections import Counter
from pathlib import Path

import pytest
from fault_cases import CASES, Case, Ended, Server, Tree, again, differences, shared_server, tree
from system_calls import KILL, KINDS

VERIFY = ["forecaster", "store", "verify", "-q"]
WIDEST = 240 + len("forecaster: error: ")
STORED = {"fetch", "append"}  # commands whose folder is a store, and nothing else
STORAGE, CHECKPOINT, PARTIAL = 5, 6, 8
COMMITTING = {"write", "replace", "rename"}

Faults = list[tuple[int, str]]  # the number of a call, from 1, and what happens to it


@pytest.fixture
def server() -> Server:
    return shared_server()


class Product:
    """One case, its calls, and what it leaves when nothing fails."""

    def __init__(self, server: Server, case: Case, planted: str = "") -> None:
        self.server, self.case = server, case
        self.plan: dict[str, str | bool] = {"undrawn": not case.drawn}
        self.plan |= {"planted": planted} if planted else {}
        place, self.listed = server.fresh(case), server.place / "listed"
        server.done(case.argv, place, calls=str(self.listed), **self.plan)
        lines = self.listed.read_text().splitlines()
        self.calls = [line for line in lines if not line.startswith("unseen ")]
        self.unseen = lines[len(self.calls) :]
        self.wanted: Tree = tree(place)

    def judge(self, nth: int, kind: str) -> tuple[str, str]:
        """What became of a fault: a word for it, and what was wrong with that, if anything."""
        server, case = self.server, self.case
        place = server.fresh(case)
        plan = {"calls": str(self.listed), "nth": nth, "kind": kind}
        ended = server.run(case.argv, place, **plan, **self.plan)
        word = "killed" if kind == KILL else "failed" if ended.status else "got over"
        wrong = self.judged(ended, tree(place), kind)
        if not wrong and case.name in STORED and (place / "data/bars/manifest.json").exists():
            verified = server.run(VERIFY, place)
            wrong = f"verify: {verified}" if verified.status else ""
        if not wrong:
            line = again(case, place)
            after = server.run(line, place, **self.plan)
            left = tree(place)
            if kind == KILL:  # what is unfinished goes with the symbol's next commit
                left = {name: left[name] for name in left if "/.tmp-" not in name.partition("=")[2]}
            wrong = differences(left, self.wanted)
            if after.status or after.lines or wrong:
                wrong = f"again, {line[1:3]}: {after}; {wrong}"
        return word, wrong

    def judged(self, ended: Ended, left: Tree, kind: str) -> str:
        """What is wrong with how a command ended."""
        status, lines = ended.status, ended.lines
        if kind == KILL:
            return "" if status == -9 else f"status {status}"
        if "Traceback" in "".join(lines) or len(lines) > 1:
            return f"lines: {lines[-2:]}"
        if status == 0:
            return differences(left | self.said(ended, left), self.wanted)
        if status not in {STORAGE, PARTIAL if self.case.name in STORED else CHECKPOINT}:
            return f"status {status}: {lines}"
        if not lines or len(lines[0]) > WIDEST:
            return f"status {status}, and said: {lines}"
        litter = [name for name in left if Path(name).name.startswith(".") or "/." in name]
        return f"left {litter}" if litter else ""

    def said(self, ended: Ended, left: Tree) -> Tree:
        """What a command that ended well owned up to not having: pages, a ledger, reports."""
        page, summary = left.get("run/report.html", b""), left.get("run/summary.json", b"")
        lacking = set[str]()
        if len(ended.lines) == 1 and "run/report.html was not written" in ended.lines[0]:
            lacking |= {"run/report.html"}
        if b"Only what the run wrote down: " in page and b": cannot read data/" in page:
            lacking |= {"run/report.html"}
        if b"not in the ledger: " in summary:
            lacking |= {"run/report.html", "run/summary.json", "data/ledger.jsonl"}
        if "its report is not made or not kept: " in ended.out:
            lacking |= {name for name in self.wanted if name.endswith(".quality.json")}
        return {name: self.wanted[name] for name in lacking & self.wanted.keys()}

    def walk(self, faults: Faults) -> tuple[Counter[str], list[str]]:
        """Counts of what became of faults, and everything that was wrong."""
        words, wrongs = Counter[str](), []
        for nth, kind in faults:
            word, wrong = self.judge(nth, kind)
            words[f"{kind} {word}"] += 1
            if wrong:
                wrongs.append(f"{self.calls[nth - 1]} ({nth}, {kind}): {wrong}")
        return words, wrongs

    def some(self, count: int, kinds: tuple[str, ...] = (*KINDS, KILL)) -> Faults:
        """Calls drawn without regard to what they do, each with its fault."""
        draw = random.Random(self.case.name)
        return [(draw.randint(1, len(self.calls)), draw.choice(kinds)) for _ in range(count)]

    def every(self, kinds: int) -> Faults:
        """Every call with so many kinds of error, in turn, and with SIGKILL."""
        numbers = range(1, len(self.calls) + 1)
        errors = [(n, KINDS[(n + k) % len(KINDS)]) for n in numbers for k in range(kinds)]
        return errors + [(n, KILL) for n in numbers]


@pytest.mark.parametrize(
    ("name", "count"),
    [("fetch", 8), ("append", 4), ("language", 6), ("learner", 3), ("fold", 2), ("report", 2)],
)
def test_a_call_that_fails_is_told_and_got_over(server: Server, name: str, count: int) -> None:
    product = Product(server, CASES[name])
    assert product.unseen == []
    words, wrongs = product.walk(product.some(count))
    assert wrongs == []
    assert words.total() == count


# All calls with all four errors; of the two cases of many seconds, that is soak, and here each
# call has one of the errors.
ALL = [
    *(pytest.param(name, 4, marks=pytest.mark.soak) for name in ("fetch", "append", "language")),
    pytest.param("report", 4, marks=pytest.mark.soak),
    *(pytest.param(name, 1, marks=pytest.mark.soak) for name in ("learner", "fold")),
    *(pytest.param(name, 4, marks=pytest.mark.soak) for name in ("learner", "fold")),
]


@pytest.mark.parametrize(("name", "kinds"), ALL)
def test_every_call_that_fails_is_told_and_got_over(
    server: Server, name: str, kinds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    product = Product(server, CASES[name])
    words, wrongs = product.walk(product.every(kinds))
    with capsys.disabled():
        print(f"\n{name}: {len(product.calls)} calls, {words.total()} faults, {dict(words)}")  # noqa: T201
    assert wrongs == []


@pytest.mark.parametrize(
    ("planted", "name", "found"),
    [
        ("swallowing", "fetch", "quality.json"),
        ("swallowing", "language", "is missing"),
        ("littering", "fetch", "left ["),
        ("telling_all", "fetch", "lines: ["),
    ],
)
def test_planted_mistakes_are_seen(server: Server, planted: str, name: str, found: str) -> None:
    """A full disk at the writes of a command that is wrong about them."""
    product = Product(server, CASES[name], planted)
    writes = [n for n, call in enumerate(product.calls, 1) if call.split()[0] in COMMITTING]
    draw = random.Random(0)
    _, wrongs = product.walk([(n, "ENOSPC") for n in draw.sample(writes, 4)])
    assert any(found in wrong for wrong in wrongs), wrongs
