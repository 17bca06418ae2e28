"""Symbols: what is refused, and file names that are injective and reversible."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from market import FIXED

from forecaster.errors import UsageError
from forecaster.symbols import Symbol

LEGAL = st.text("ABCXYZ0189.^=_-", min_size=1, max_size=32).filter(
    lambda text: any(c.isalnum() for c in text)
)
HOSTILE = [
    *("", " ", "aapl", "AAPL ", "AAPL\n", "../../etc/passwd", "..", ".", "-", "^", "A/B", "A\\B"),
    *(
        "A?B",
        "A#B",
        "A%B",
        "%41",
        "A&B",
        "A:B",
        "$A",
        "<A>",
        "A,B",
        "A*",
        "A'B",
        'A"B',
        "A;B",
        "A|B",
    ),
    *("A\x00", "A\x1b[31m", "A\u202eB", "e\u0301", "\ud800", "\uff21"),
    *("A" * 33, "http://127.0.0.1/x", "A B"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused_and_shown_harmlessly(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Symbol(text)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith("symbol ")
    assert "wanted 1-32 characters of A-Z 0-9 . ^ = _ -" in message
    if text.isascii() and text.isprintable() and "\\" not in text and "'" not in text:
        assert repr(text) in message or len(text) > 30


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("^GSPC", "%5EGSPC"),
        ("EURUSD=X", "EURUSD%3DX"),
        ("BRK-B", "BRK-B"),
        ("BRK.B", "BRK.B"),
        (".A", "%2EA"),
        ("-A", "%2DA"),
        ("NA", "NA"),
        ("0700", "0700"),
        ("1E5", "1E5"),
    ],
)
def test_encoding_of_known_symbols(text: str, name: str) -> None:
    assert Symbol(text).encoded == name
    assert Symbol.decoded(name) == text


@FIXED
@given(LEGAL, LEGAL)
def test_encoding_is_injective_reversible_and_a_plain_file_name(a: str, b: str) -> None:
    one, two = Symbol(a), Symbol(b)
    assert Symbol.decoded(one.encoded) == one
    assert (one.encoded == two.encoded) == (a == b)
    assert re.fullmatch(r"[A-Z0-9%][A-Z0-9%._-]*", one.encoded)


def test_an_encoding_that_drops_characters_would_be_caught() -> None:
    """Planted mistake: leaving out what is not safe maps two symbols to one name."""

    def dropped(text: str) -> str:
        return re.sub(r"[^A-Z0-9]", "", text)

    assert dropped("^GSPC") == dropped("GSPC")
    assert Symbol("^GSPC").encoded != Symbol("GSPC").encoded


def test_a_symbol_is_a_string() -> None:
    rows: dict[str, int] = {Symbol("AAPL"): 1}
    assert rows["AAPL"] == 1
    assert f"{Symbol('^GSPC')}" == "^GSPC"
