"""One file-system call fails: one line, the right exit code, nothing in the way, all sound again.

For every call of a command, each of four errors; for a sample of calls, the end of the process.
"""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_cases import CASES, Case, Server, Tree, again, differences, serving, tree
from system_calls import KILL, KINDS

VERIFY = ["forecaster", "store", "verify", "-q"]
WIDEST = 240 + len("forecaster: error: ")
CODES = {"fetch": {5, 8}, "append": {5, 8}}  # 8: the other symbols are stored


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("calls")) as made:
        yield made


class Product:
    """One case, its calls, and what it leaves when nothing fails."""

    def __init__(self, server: Server, case: Case) -> None:
        self.server, self.case = server, case
        place, listed = server.fresh(case), server.place / "listed"
        server.done(case.argv, place, calls=str(listed))
        self.calls = listed.read_text().splitlines()
        self.wanted: Tree = tree(place)

    def judge(self, nth: int, kind: str, planted: str = "") -> tuple[str, str]:
        """What became of a fault: a word for it, and what was wrong with that, if anything."""
        server, case = self.server, self.case
        place, listed = server.fresh(case), server.place / "listed"
        plan = {"calls": str(listed), "nth": nth, "kind": kind}
        plan |= {"planted": planted} if planted else {}
        ended = server.run(case.argv, place, **plan)
        word = "killed" if kind == KILL else "failed" if ended.status else "got over"
        wrong = self.judged(ended.status, ended.lines, tree(place), kind)
        if not wrong and case.name in CODES and (place / "data/bars/manifest.json").exists():
            verified = server.run(VERIFY, place)
            wrong = f"verify: {verified}" if verified.status else ""
        if not wrong:
            line = again(case, place)
            after = server.run(line, place)
            wrong = differences(tree(place), self.wanted)
            if after.status or after.lines or wrong:
                wrong = f"again, {line[1:3]}: {after}; {wrong}"
        return word, wrong

    def judged(self, status: int, lines: list[str], left: Tree, kind: str) -> str:
        """What is wrong with how a command ended."""
        if kind == KILL:
            return "" if status == -9 else f"status {status}"
        if "Traceback" in "".join(lines) or len(lines) > 1:
            return f"lines: {lines[-2:]}"
        if status == 0:
            return differences(left | self.said(lines, left), self.wanted)
        if status not in CODES.get(self.case.name, {5, 6}):
            return f"status {status}: {lines}"
        if not lines or len(lines[0]) > WIDEST:
            return f"status {status}, and said: {lines}"
        litter = [name for name in left if Path(name).name.startswith(".")]
        return f"left {litter}" if litter else ""

    def said(self, lines: list[str], left: Tree) -> Tree:
        """What a command that ended well owned up to not having: a page, a ledger, candles."""
        page, summary = left.get("run/report.html", b""), left.get("run/summary.json", b"")
        lacking = set[str]()
        if len(lines) == 1 and "run/report.html was not written" in lines[0]:
            lacking |= {"run/report.html"}
        if b"Only what the run wrote down: " in page and b": cannot read data/" in page:
            lacking |= {"run/report.html"}
        if b"not in the ledger: " in summary:
            lacking |= {"run/report.html", "run/summary.json", "data/ledger.jsonl"}
        return {name: self.wanted[name] for name in lacking}

    def walk(
        self, faults: list[tuple[int, str]], planted: str = ""
    ) -> tuple[Counter[str], list[str]]:
        """Counts of what became of faults, and everything that was wrong."""
        words, wrongs = Counter[str](), []
        for nth, kind in faults:
            word, wrong = self.judge(nth, kind, planted)
            words[f"{kind} {word}"] += 1
            if wrong:
                wrongs.append(f"{self.calls[nth - 1]} ({nth}, {kind}): {wrong}")
        return words, wrongs
