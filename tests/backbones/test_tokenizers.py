"""Characters, bytes and merged bytes: every text comes back, and a score is a character's."""

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones.errors import UsageError
from backbones.language.score import HeldOut, held_out, mean_nats, softmax_nats
from backbones.text.bpe import BpeTokenizer
from backbones.text.tokenizer import (
    ByteTokenizer,
    CharTokenizer,
    Kind,
    Tokenizer,
    TokenizerFile,
    fit_tokenizer,
)

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler — é — in the mind\n" * 40
KINDS: list[Kind] = ["char", "byte", "bpe"]


def fitted(kind: Kind) -> Tokenizer:
    return fit_tokenizer(kind, TEXT, TEXT[:2000], 300)


@pytest.mark.parametrize("kind", KINDS)
def test_text_comes_back(kind: Kind) -> None:
    tokenizer = fitted(kind)
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT
    assert ids.dtype == torch.int64
    assert int(ids.max()) < tokenizer.vocab_size
    assert tokenizer.count_characters(ids) == len(TEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_survives_its_file(kind: Kind) -> None:
    tokenizer = fitted(kind)
    again = TokenizerFile.from_json(TokenizerFile(tokenizer=tokenizer).to_json()).tokenizer
    assert type(again) is type(tokenizer)
    assert torch.equal(again.encode(TEXT), tokenizer.encode(TEXT))


def test_bytes_by_hand() -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode("aé")
    assert ids.tolist() == [0x61, 0xC3, 0xA9]
    assert tokenizer.count_characters(ids) == 2
    assert tokenizer.decode(ids[:2]) == "a\ufffd"
    assert tokenizer.vocab_size == 256


def test_the_same_text_gives_the_same_merges() -> None:
    assert fitted("bpe") == fitted("bpe")
    assert fitted("bpe").vocab_size == 300
    assert len(fitted("bpe").encode(TEXT)) < 0.7 * len(TEXT)


def test_merges_are_learned_from_the_training_part_alone() -> None:
    other = fit_tokenizer("bpe", TEXT + "zzzz " * 500, TEXT[:2000], 300)
    assert other == fitted("bpe")
    assert other.decode(other.encode("zzzz ☃")) == "zzzz ☃"


def test_characters_that_only_validation_has_are_known() -> None:
    assert fit_tokenizer("char", "abcd", "abc", 300).vocab_size == 4


def test_fewer_ids_than_bytes_are_refused() -> None:
    with pytest.raises(UsageError, match="vocab_size=255 is below 256, the bytes"):
        BpeTokenizer.of(TEXT, 255)


def test_without_the_package_bpe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match="bpe needs the package tokenizers: pip install"):
        BpeTokenizer.of(TEXT, 300)


# scores


class Guess(nn.Module):
    """The same logits everywhere."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits.expand(*ids.shape, -1)


def scored(kind: Kind, context: int = 7) -> tuple[HeldOut, float]:
    """The text, and what a uniform guess loses on it a character."""
    tokenizer = fitted(kind)
    text = held_out(TEXT, tokenizer, context)
    model = Guess(torch.zeros(tokenizer.vocab_size))
    return text, mean_nats(model, text, "softmax")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_uniform_guess_by_hand(kind: Kind) -> None:
    """(tokens / characters) ln V nats a character: tokens of several characters share a loss."""
    tokenizer = fitted(kind)
    text, nats = scored(kind)
    covered = tokenizer.encode(TEXT)[1 : text.tokens + 1]
    assert text.characters == len(tokenizer.decode(covered))
    assert nats == pytest.approx(text.tokens / text.characters * math.log(tokenizer.vocab_size))


def test_planted_nats_a_token_are_not_nats_a_character() -> None:
    text, nats = scored("bpe")
    assert nats < 0.75 * math.log(300)
    a_token = HeldOut(windows=text.windows, characters=text.tokens)
    model = Guess(torch.zeros(300))
    assert mean_nats(model, a_token, "softmax") > 1.3 * nats  # type: ignore[arg-type]


def test_one_temperature_makes_links_comparable() -> None:
    """Logits eight times too sharp: the fitted temperature gives the frequencies back."""
    tokenizer = CharTokenizer.of(TEXT)
    counts = torch.bincount(tokenizer.encode(TEXT), minlength=tokenizer.vocab_size).double()
    entropy = -(counts / counts.sum() * (counts / counts.sum()).log()).sum().item()
    text = held_out(TEXT, tokenizer, 7)
    nats, temperature = softmax_nats(
        Guess(8 * (counts / counts.sum()).log().float()),  # type: ignore[arg-type]
        text,
        text,
    )
    assert temperature == pytest.approx(8, rel=0.02)
    assert nats == pytest.approx(entropy, abs=5e-3)  # the windows leave out a few characters


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"tokenizer": {"kind": "word"}}')
    with pytest.raises(ValueError, match="'word' found using 'kind'"):
        TokenizerFile.from_json(path.read_text())
