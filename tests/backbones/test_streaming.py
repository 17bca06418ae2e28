"""`backbones sample` says each token when it is made: seen at a terminal and through a pipe."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from backbones import cli, generate, language
from backbones.generate import Sampling
from backbones.language import LanguageRun, open_run, sample_text, written
from backbones.text.tokenizer import ByteTokenizer

# The command, but the fourth token is drawn when a line has come in: nobody who is told of what
# came before at the end alone gets there.
HELD = """
import sys
from backbones import cli, generate

drawn, draw = 0, generate.next_token


def held(*given):
    global drawn
    drawn += 1
    if drawn == 4:
        sys.stdin.readline()
    return draw(*given)


generate.next_token = held
cli.main()
"""
PATIENCE_S = 120  # of a failure alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("streamed")
    (place / "verse.txt").write_text("The quality of mercy is not strain'd.\n" * 90)
    words = ["-q", "train", "--corpus", str(place / "verse.txt"), "--recipe", "smoke", "--steps"]
    words += ["3", "--set", "train.warmup=1", "--tokenizer"]
    for kind in ("char", "byte"):
        done = CliRunner().invoke(cli.main, [*words, kind, "--out", str(place / kind)])
        assert done.exit_code == 0
    yield place
    torch.use_deterministic_algorithms(False)


def first_words(folder: Path, ends: Callable[[], tuple[int, int]], code: str) -> bytes:
    """What can be read while the fourth token is held back."""
    reads, writes = ends()
    words = ["sample", str(folder / "char"), "--prompt", "mercy", "--length", "6", "--seed", "1"]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=writes,
        stderr=subprocess.PIPE,
    )
    try:
        os.close(writes)
        found = b""
        while len(found) < 5 + 3 and select.select([reads], [], [], PATIENCE_S)[0]:
            more = os.read(reads, 100)
            if not more:
                break
            found += more
        assert child.poll() is None
        return found
    finally:
        child.kill()
        child.communicate()
        os.close(reads)


@pytest.mark.parametrize("ends", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_tokens_come_as_they_are_made(folder: Path, ends: Callable[[], tuple[int, int]]) -> None:
    found = first_words(folder, ends, HELD)
    assert found.startswith(b"mercy")
    assert len(found) >= 5 + 3


def test_planted_an_answer_at_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(first_words.__globals__, "PATIENCE_S", 20)
    joined = "import backbones.language as l\nfrom backbones.language import opened as r\n"
    joined += "l.written = lambda *given: iter([''.join(r.written(*given))])\n"
    assert first_words(folder, os.pipe, joined + HELD) == b""


def pieces_of(opened: LanguageRun, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written where these tokens are drawn."""
    tokens = iter([torch.tensor([[each]]) for each in ids])
    monkeypatch.setattr("backbones.language.opened.stream", lambda *_: tokens)
    return list(written(opened, "a", len(ids), Sampling()))


@pytest.mark.parametrize(
    "data",
    [
        "caf\u00e9 \U0001f600!".encode(),
        b"\xf0\x9f",
        b"a\xf0\x9fb\xff\xffc",
        b"\x80\x80\x80x\xe2\x82",
    ],
    ids=["whole", "cut", "wrong", "stray"],
)
def test_pieces_are_whole_characters_and_the_text(
    folder: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_run(folder / "byte")
    assert isinstance(opened.tokenizer, ByteTokenizer)
    pieces = pieces_of(opened, list(data), monkeypatch)
    assert "".join(pieces) == "a" + data.decode(errors="replace")
    if "\ufffd" not in data.decode(errors="replace"):
        assert not any("\ufffd" in piece for piece in pieces)
    assert len([piece for piece in pieces if piece]) > 1


def test_a_text_is_its_pieces(folder: Path) -> None:
    opened, sampling = open_run(folder / "char"), Sampling(seed=3, window=32)
    ids: Tensor = opened.tokenizer.encode("mercy").unsqueeze(0)
    whole = generate.generate(opened.model, ids, 40, sampling)
    assert sample_text(opened, "mercy", 40, sampling) == opened.tokenizer.decode(whole[0])
    assert language.sample_text is sample_text


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    line = f"{sys.executable} -c 'from backbones.cli import main; main()' sample {folder / 'char'}"
    script = f"set -o pipefail; {line} --length 3000 | head -c 4 >/dev/null"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
