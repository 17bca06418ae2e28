"""The literal DINT integral moves the past, pays in training, and cannot be decoded; ours does not.

Written into a decoder, it tells position i what positions after it looked at (see literal.py).
"""

import math

import laws
import pytest
import torch
from literal import LITERAL, plant
from variants import SMALL_PRESETS

from backbones.attention.integral import build_integral
from backbones.losses import cross_entropy
from backbones.model import LanguageModel

LENGTH, CHANGED = 257, 200


def moved_past(model: LanguageModel) -> float:
    """How far outputs before a change move, relative to the size of outputs."""
    ids = torch.randint(11, (1, LENGTH))
    changed = ids.clone()
    changed[:, CHANGED:] = (changed[:, CHANGED:] + 1) % 11
    with torch.no_grad():
        before, after = model(ids), model(changed)
    assert not torch.equal(before[:, CHANGED:], after[:, CHANGED:])
    moved = (after - before)[:, :CHANGED].abs().max()
    return (moved / before.abs().max()).item()


@pytest.mark.parametrize("form", LITERAL)
def test_the_literal_integral_moves_the_past(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, form)
    assert moved_past(laws.sharpened(SMALL_PRESETS["dint_v1"])) > 1e-5


@pytest.mark.parametrize("name", ["dint_v1", "dint_v2", "dint_v1_pair2", "dint_ngpt_mla"])
def test_ours_does_not_move_it(name: str) -> None:
    assert moved_past(laws.sharpened(SMALL_PRESETS[name])) == 0


def nats_on_random_tokens(name: str, steps: int) -> float:
    """Held-out loss after training on sequences in which nothing can be predicted."""
    model = LanguageModel(SMALL_PRESETS[name])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        ids = torch.randint(11, (64, 9))
        optimizer.zero_grad()
        cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step()
    ids = torch.randint(11, (2000, 9))
    with torch.no_grad():
        return cross_entropy(model(ids[:, :-1]), ids[:, 1:]).item()


def test_the_leak_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random tokens nobody knows more than ln V. The literal form does: it is shown them."""
    assert nats_on_random_tokens("dint_v1", steps=150) > math.log(11) - 0.01
    plant(monkeypatch, "literal")
    assert nats_on_random_tokens("dint_v1", steps=150) < math.log(11) - 0.2


def test_the_literal_integral_cannot_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token it is another function than the one that was trained."""
    plant(monkeypatch, "literal")
    model = laws.sharpened(SMALL_PRESETS["dint_v1"])
    ids = laws.tokens(model.config)
    with torch.no_grad():
        prefixes = [model(ids[:, : i + 1])[:, -1] for i in range(ids.shape[1])]
        assert (torch.stack(prefixes, 1) - model(ids)).abs().max() > 1e-2


def test_ours_is_the_literal_formula_on_every_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one layer: the last row of the literal form, prefix by prefix, is the prefix mean."""
    config = SMALL_PRESETS["dint_v1"].replace(n_layers=1)
    assert build_integral(config) is not None
    ours = laws.sharpened(config)
    plant(monkeypatch, "literal")
    theirs = LanguageModel(config).double().eval()
    theirs.load_state_dict(ours.state_dict())
    ids = laws.tokens(config)
    with torch.no_grad():
        prefixes = [theirs(ids[:, : i + 1])[:, -1] for i in range(ids.shape[1])]
        torch.testing.assert_close(torch.stack(prefixes, 1), ours(ids), rtol=0, atol=1e-12)
