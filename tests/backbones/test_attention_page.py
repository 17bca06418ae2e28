"""`backbones attention`: what the page draws is what the maps are, and it asks for nothing."""

import json
import re
import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from backbones import cli
from backbones.commands.pictures import NEGATIVE, POSITIVE, coloured, png, svg, visible

PROMPT = 'The <b>rain</b> & "sky"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of each rule, a few steps old."""
    place = tmp_path_factory.mktemp("attention")
    (place / "verse.txt").write_text(f"{PROMPT}droppeth as the gentle rain from heaven.\n" * 90)
    for preset in ("llama", "diff_v1", "dint_v1"):
        words = ["-q", "train", "--corpus", str(place / "verse.txt"), "--recipe", "smoke"]
        words += ["--steps", "3", "--set", "train.warmup=1", "--preset", preset]
        done = CliRunner().invoke(cli.main, [*words, "--out", str(place / preset)])
        assert done.exit_code == 0, done.stderr
    yield place
    torch.use_deterministic_algorithms(False)


def attention(run: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.main, ["attention", str(run), *words])


@pytest.mark.parametrize(
    ("preset", "maps"),
    [
        ("llama", ["first"]),
        ("diff_v1", ["first", "second", "difference"]),
        ("dint_v1", ["first", "second", "difference", "integral", "sum"]),
    ],
)
def test_every_map_of_every_head_is_drawn_and_told(folder: Path, preset: str, maps: list[str]):
    done = attention(folder / preset, "--prompt", PROMPT, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert "".join(record["tokens"]) == PROMPT
    heads = 0
    for layer in record["layers"]:
        assert list(layer["row_sums"]) == maps
        for name, sums in layer["row_sums"].items():
            lam = layer["lam"] or [0.0] * len(sums)
            wanted = [1 - x if name == "difference" else 1.0 for x in lam]
            assert sums == pytest.approx(wanted, abs=2e-4)
            heads += len(sums)
    page = Path(record["page"]).read_text()
    assert page.count("<svg") == heads
    assert record["bytes"] == len(page.encode())
    again = attention(folder / preset, "--prompt", PROMPT, "--json")
    assert json.loads(again.stdout) == record
    assert Path(record["page"]).read_text() == page


def test_a_page_needs_nothing_and_a_prompt_is_text(folder: Path):
    record = json.loads(attention(folder / "llama", "--prompt", PROMPT, "--json").stdout)
    page = Path(record["page"]).read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert "<b>rain" not in page
    assert "<span>&lt;</span><span>b</span>" in page
    assert not re.search(r'aria-label="[^"]*"[^ >]', page)  # a quote in a token ends nothing


def test_pixels_are_weights():
    map_ = torch.tensor([[1.0, 0.0], [-0.5, 0.25]])
    pixels = coloured(map_)
    assert pixels.shape == (2, 2, 4)
    assert tuple(pixels[0, 0, :3].tolist()) == POSITIVE
    assert tuple(pixels[1, 0, :3].tolist()) == NEGATIVE
    assert pixels[0, 1, 3] == 0  # what is not read is not there
    assert pixels[1, 0, 3] > pixels[1, 1, 3] > 0
    found = re.search('base64,([^"]*)"', svg(map_, ["a", "b"], "two"))
    assert found is not None
    data = b64decode(found[1])
    assert data == png(pixels)
    assert struct.unpack(">II", data[16:24]) == (2, 2)
    size = struct.unpack(">I", data[33:37])[0]
    rows = zlib.decompress(data[41 : 41 + size])
    assert rows == b"".join(b"\0" + bytes(row.flatten().tolist()) for row in pixels)


def test_tokens_that_cannot_be_seen_are_shown():
    assert visible(" the\n") == "\u2423the\u21b5"
    assert visible("\u202e") == "\u00b7"
    assert visible("understanding") == "unders\u2026"


def test_what_cannot_be_drawn_is_refused_in_one_line(folder: Path):
    for words, code, said in [
        (("--prompt", ""), 2, "--prompt is empty"),
        (("--prompt", "a" * 40), 2, "--prompt has 40 tokens: at most 32 are drawn, shorten it"),
        (("--prompt", "the", "--out", str(folder)), 2, "exists: name another --out"),
    ]:
        done = attention(folder / "llama", *words)
        assert (done.exit_code, done.stdout) == (code, ""), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    done = attention(folder / "none", "--prompt", "the")
    assert "is no run" in done.stderr
