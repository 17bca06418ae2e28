"""Damaged and hostile inputs by the thousand, and what may become of each.

An accepted input must be what was written, or what an independent reading of it says. A refusal is
an error of ours in one harmless line of at most 240 characters. Everything else is counted.
"""

import math
import string
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from forecaster.boundary import one_line
from forecaster.errors import ForecasterError, UsageError
from forecaster.symbols import Symbol

Rng = np.random.Generator
REFUSED, SAME, LEGAL = "refused", "same", "legal"
FINE = {REFUSED, SAME, LEGAL}
NUMBERS = [
    *(0.0, -0.0, -1.0, 1e-320, 1e-300, 1e-9, 1e9, 1e300, math.inf, -math.inf, math.nan),
    *(1.0, 1.0 + 1e-7, 100.0, 12345.67),
]


def outcome(
    read: Callable[[], Any], judge: Callable[[Any], str], errors: tuple[type[Exception], ...]
) -> str:
    """`refused`, what the judge says of an accepted one, or what went wrong."""
    try:
        got = read()
    except errors as error:
        line = one_line(str(error))
        return REFUSED if line and line.isprintable() else f"hostile line: {line!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return judge(got)


def tally(n: int, seed: int, case: Callable[[Rng], str]) -> Counter[str]:
    """Outcomes of n cases of a seed."""
    rng = np.random.default_rng(seed)
    return Counter(case(rng) for _ in range(n))


def assert_none_silent(found: Counter[str]) -> None:
    """Nothing but refusals and true acceptances, and some of the first."""
    assert {k: v for k, v in found.items() if k not in FINE} == {}
    assert found[REFUSED] > 0


def mutant(rng: Rng, data: bytes, alphabet: bytes = bytes(range(256))) -> bytes:
    """One to three changes: a bit, a byte, a piece cut out, doubled, moved, an end cut off."""
    raw = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if raw:
            _change(rng, raw, alphabet)
    return bytes(raw)


def _change(rng: Rng, raw: bytearray, alphabet: bytes) -> None:
    """One change in place."""
    at = int(rng.integers(len(raw)))
    piece = slice(at, at + int(rng.integers(1, 40)))
    match int(rng.integers(7)):
        case 0:
            raw[at] ^= 1 << int(rng.integers(8))
        case 1:
            raw[at] = alphabet[int(rng.integers(len(alphabet)))]
        case 2:
            raw.insert(at, alphabet[int(rng.integers(len(alphabet)))])
        case 3:
            del raw[piece]
        case 4:
            raw[at:at] = raw[piece]
        case 5:
            moved = raw[piece]
            del raw[piece]
            raw[: len(moved)] = moved
        case _:
            del raw[at:]


def legal_by_hand(rows: list[tuple[float, ...]], times: list[int]) -> bool:
    """The rules of a legal bar, written out again, number by number."""
    if any(late <= early for early, late in pairwise(times)):
        return False
    for o, h, lo, c, v, a in rows:
        whole = not any(map(math.isnan, (o, h, lo)))
        if not whole and not all(map(math.isnan, (o, h, lo))):
            return False
        prices = (o, h, lo, c) if whole else (c,)
        if not all(math.isfinite(p) and p > 0 for p in prices):
            return False
        if whole and (h < lo or h < max(o, c) * (1 - 1e-6) or lo > min(o, c) * (1 + 1e-6)):
            return False
        if v < 0 or math.isinf(v) or not (a > 0 and math.isfinite(a)):
            return False
    return True


def hostile_symbol(rng: Rng) -> str:
    """Text of any kind, legal now and then."""
    kinds = (
        string.ascii_uppercase + string.digits + ".^=_-",
        string.printable,
        "./\\%\x00:~$`;|&<>\"'\r\n",
        "\u202e\u2066\u200b\ud800\udfff\uff21\u0301\x1b\x9b",
    )
    letters = "".join(kinds[: int(rng.integers(1, len(kinds) + 1))])
    n = int(rng.integers(0, 40))
    return "".join(letters[int(i)] for i in rng.integers(len(letters), size=n))


def judged_symbol(text: str) -> str:
    """What becomes of a text as a symbol."""
    legal = set(string.ascii_uppercase + string.digits + ".^=_-")
    wanted = 1 <= len(text) <= 32 and set(text) <= legal and any(c.isalnum() for c in text)

    def judge(symbol: Symbol) -> str:
        name = symbol.encoded
        safe = name[0].isalnum() or name[0] == "%"
        safe &= set(name) <= legal - set("^=") | {"%"}
        ok = wanted and safe and symbol == text and Symbol.decoded(name) == text
        return SAME if ok else f"accepted: {text!r}"

    found = outcome(lambda: Symbol(text), judge, (UsageError,))
    return f"refused a legal one: {text!r}" if wanted and found == REFUSED else found


OURS = (ForecasterError,)
