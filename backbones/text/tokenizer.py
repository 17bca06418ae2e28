"""Text as ids and back: characters, bytes, or pairs of them merged (in `bpe`)."""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..config import Record
from ..errors import CorpusError
from .bpe import BpeTokenizer

Kind = Literal["char", "byte", "bpe"]


class CharTokenizer(Record):
    """One id a character. `characters` is the vocabulary: id i is character i."""

    kind: Literal["char"] = "char"
    characters: str

    @model_validator(mode="after")
    def _refuse_twice(self) -> Self:
        twice = [c for c in self.characters if self.characters.count(c) > 1]
        if twice:
            raise ValueError(f"characters has {twice[0]!r} twice, once is wanted")
        return self

    @classmethod
    def of(cls, text: str) -> Self:
        """The characters that occur in `text`."""
        return cls(characters="".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Text -> ids [len(text)], int64; CorpusError for a character that has none."""
        ids = {c: i for i, c in enumerate(self.characters)}
        unknown = next((c for c in text if c not in ids), None)
        if unknown is not None:
            raise CorpusError(
                f"character {unknown!r} at {text.index(unknown)} is not among the "
                f"{self.vocab_size} of the vocabulary"
            )
        return torch.tensor([ids[c] for c in text], dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """Ids [n] -> text."""
        return "".join(self.characters[i] for i in ids.tolist())

    def count_characters(self, ids: Tensor) -> int:
        """How many characters ids stand for."""
        return ids.numel()


class ByteTokenizer(Record):
    """One id a byte of UTF-8: every text can be encoded, and the vocabulary is 256."""

    kind: Literal["byte"] = "byte"

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return 256

    def encode(self, text: str) -> Tensor:
        """Text -> ids [bytes], int64."""
        return torch.tensor(list(text.encode()), dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """Ids [n] -> text; bytes that are no character read as U+FFFD."""
        return bytes(ids.tolist()).decode(errors="replace")

    def count_characters(self, ids: Tensor) -> int:
        """How many characters begin in ids: bytes other than 10xxxxxx."""
        return int(((ids & 0xC0) != 0x80).sum())


Tokenizer = Annotated[CharTokenizer | ByteTokenizer | BpeTokenizer, Field(discriminator="kind")]


class TokenizerFile(Record):
    """What tokenizer.json holds."""

    tokenizer: Tokenizer


def fit_tokenizer(kind: Kind, text: str, training: str, vocab_size: int) -> Tokenizer:
    """The tokeniser of a corpus `text`, whose part to train on is `training`.

    Characters are those of the whole text, so that all of it can be read; merges are learned from
    the training part alone, up to `vocab_size`.
    """
    match kind:
        case "char":
            return CharTokenizer.of(text)
        case "byte":
            return ByteTokenizer()
        case "bpe":
            return BpeTokenizer.of(training, vocab_size)
