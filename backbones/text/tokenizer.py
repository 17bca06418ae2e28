"""Characters as ids, in the order of their code points."""

from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from ..config import Record
from ..errors import CorpusError


class CharTokenizer(Record):
    """One id a character. `characters` is the vocabulary: id i is character i."""

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
