"""A market symbol: checked before a request or a path is made of it, percent-encoded on disk."""

import re
from typing import Self

from forecaster.errors import UsageError, printable

_LEGAL = re.compile(r"[A-Z0-9.^=_-]{1,32}")


class Symbol(str):
    """1-32 characters of A-Z 0-9 . ^ = _ - with at least one letter or digit, e.g. `^GSPC`.

    Raises UsageError for anything else: symbols become URLs, paths and table cells.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """`text` as it is, once it is known to be harmless. Raises UsageError."""
        if not _LEGAL.fullmatch(text) or not any(c.isalnum() for c in text):
            raise UsageError(
                f"symbol {printable(text)[:40]!r}: wanted 1-32 characters of A-Z 0-9 . ^ = _ -,"
                " for example ^GSPC or BRK-B"
            )
        return super().__new__(cls, text)

    @property
    def encoded(self) -> str:
        """An injective file name: bytes outside A-Z 0-9 _ - (and a dot inside) become %XX."""
        safe = "".join(c if c.isalnum() or c in "._-" else f"%{ord(c):02X}" for c in self)
        return f"%{ord(safe[0]):02X}{safe[1:]}" if safe[0] in "._-" else safe

    @classmethod
    def decoded(cls, name: str) -> Self:
        """The inverse of `encoded`."""
        return cls(re.sub(r"%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), name))
