"""The error tree: codes, one harmless line, suggestions."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from market import FIXED

from forecaster import errors
from forecaster.errors import ForecasterError, UsageError, printable, suggestion

CODES = {
    "ForecasterError": 1,
    "UsageError": 2,
    "DataError": 3,
    "ProviderError": 4,
    "StorageError": 5,
    "CheckpointError": 6,
    "DivergedError": 7,
    "PartialError": 8,
    "LockedError": 9,
    "GateError": 11,
}


def test_exit_codes_are_the_documented_ones() -> None:
    tree = {c.__name__: c.exit_code for c in [ForecasterError, *ForecasterError.__subclasses__()]}
    assert {name: code for name, code in tree.items() if name in CODES} == CODES
    assert all(f"{name} " in (errors.__doc__ or "") for name in CODES)


def test_message_is_one_line_without_control_characters() -> None:
    assert str(UsageError("a\nb\x1b[31m", "c\u202e")) == "a\\nb\\x1b[31m c\\u202e"


@FIXED
@given(st.text())
def test_printable_moves_no_cursor_and_keeps_plain_text(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("word", "known", "text"),
    [
        ("bundeld", ["bundled", "csv"], "; did you mean 'bundled'?"),
        ("aapl", ["AAPL", "IBM"], "; did you mean 'AAPL'?"),
        ("zz", ["AAPL", "IBM"], "; known: AAPL, IBM"),
        ("zz", [], ""),
        (
            "zz",
            [f"S{i:03}" for i in range(14)],
            "; known: " + ", ".join(f"S{i:03}" for i in range(12)) + ", ...",
        ),
    ],
)
def test_suggestion(word: str, known: list[str], text: str) -> None:
    assert suggestion(word, known) == text


def test_errors_and_symbols_import_nothing_heavy() -> None:
    code = (
        "import sys, forecaster.errors, forecaster.symbols;"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'torch', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
