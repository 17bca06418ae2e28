"""DINT's integral taken literally, for tests to find out: it reads the future.

Each is a mean of each column of the first map over all query rows. Masking the result to the lower
triangle does not help, nor does renormalising its rows after that: the mean itself was taken over
future rows.
"""

import pytest
import torch
from torch import Tensor

from backbones.attention import rules
from backbones.attention.kernel import Reading, weights


def literal(a: Tensor) -> Tensor:
    """The mean over all query rows, the same in every row."""
    return a.mean(dim=-2, keepdim=True).expand_as(a)


def masked(a: Tensor) -> Tensor:
    return literal(a).tril()


def renormalised(a: Tensor) -> Tensor:
    g = masked(a)
    return g / g.sum(dim=-1, keepdim=True)


def rescaled(a: Tensor) -> Tensor:
    """Each column over all rows that can see it, then masked and renormalised."""
    rows = a.shape[-2]
    g = (a.sum(dim=-2, keepdim=True) / (rows - torch.arange(rows))).expand_as(a).tril()
    return g / g.sum(dim=-1, keepdim=True)


LITERAL = {
    "literal": literal,
    "masked": masked,
    "renormalised": renormalised,
    "rescaled": rescaled,
}


def integral_of(name: str) -> object:
    """A literal integral as a rule would take it."""

    def mean(reading: Reading, first: Tensor) -> Tensor:
        h = reading.heads
        a = weights(h.q[:, :, :1], h.k[:, :, :1], scale=reading.scale).squeeze(2)
        v = h.v[:, :, 0].repeat_interleave(first.shape[1] // h.v.shape[1], dim=1)
        return LITERAL[name](a) @ v

    return mean


def plant(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """From here on every DINT that is built has this integral."""
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of(form))
