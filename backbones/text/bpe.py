"""Byte pairs merged into longer ids, trained offline by the package tokenizers."""

from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Self

import torch
from pydantic import ConfigDict
from torch import Tensor

from ..config import Record
from ..errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Model

BYTES = 256  # the least vocabulary: no merge yet


class BpeTokenizer(Record):
    """Byte-level BPE (Sennrich et al. 2016; on bytes and split as in GPT-2): any text is encoded.

    `model` is the JSON of the package tokenizers, whole: nothing is fetched when it is read again.
    """

    model_config = ConfigDict(ignored_types=(cached_property,))

    kind: Literal["bpe"] = "bpe"
    model: str

    @classmethod
    def of(cls, text: str, vocab_size: int) -> Self:
        """Merges learned from `text`, the same for the same text; fewer ids if pairs run out."""
        if vocab_size < BYTES:
            raise UsageError(
                f"vocab_size={vocab_size} is below {BYTES}, the bytes, which bpe starts from"
            )
        package = required()
        model = package.Tokenizer(package.models.BPE())
        model.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=vocab_size,
            initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator([text], trainer)
        return cls(model=model.to_str())

    @cached_property
    def built(self) -> "Model":
        """The package's own object."""
        return required().Tokenizer.from_str(self.model)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.built.get_vocab_size()

    def encode(self, text: str) -> Tensor:
        """Text -> ids [n], int64."""
        return torch.tensor(self.built.encode(text).ids, dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """Ids [n] -> text; bytes that are no character read as U+FFFD."""
        return self.built.decode(ids.tolist(), skip_special_tokens=False)

    def count_characters(self, ids: Tensor) -> int:
        """How many characters ids stand for; one that is cut off at an end counts."""
        return len(self.decode(ids.flatten()))


def required() -> ModuleType:
    """The package tokenizers; UsageError where it is not installed."""
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError("bpe needs the package tokenizers: pip install tokenizers") from error
    return tokenizers
