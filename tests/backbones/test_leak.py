"""Mistakes that this package's history knows, each shown to be found out.

The future in the past: DINT's integral, taken literally, is a mean of each column of the first map
over all query rows. Written into a decoder, it tells position i what positions after it looked at.
Masking the result to the lower triangle does not help, nor does renormalising its rows after that:
the mean itself was taken over future rows. The literal forms exist in this file alone.
"""

import math

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.attention import Attention, rules
from backbones.attention.integral import build_integral
from backbones.attention.kernel import Reading, weights
from backbones.embedding import Entry
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.positions import Rotary

LENGTH, CHANGED = 257, 200


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
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of(form))
    assert moved_past(laws.sharpened(SMALL_PRESETS["dint_v1"])) > 1e-5


@pytest.mark.parametrize("name", ["dint_v1", "dint_v2", "dint_v1_pair2", "dint_ngpt_mla"])
def test_ours_does_not_move_it(name: str) -> None:
    assert moved_past(laws.sharpened(SMALL_PRESETS[name])) == 0


@pytest.mark.parametrize("form", LITERAL)
@pytest.mark.parametrize("name", ["dint_v1", "dint_v2", "dint_v1_pair2"])
def test_the_law_finds_the_future_leak(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first historical mistake: the future was used to predict the present."""
    config = SMALL_PRESETS[name]
    laws.no_position_sees_the_future(laws.sharpened(config), laws.tokens(config))
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of(form))
    with pytest.raises(AssertionError):
        laws.no_position_sees_the_future(laws.sharpened(config), laws.tokens(config))


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
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of("literal"))
    assert nats_on_random_tokens("dint_v1", steps=150) < math.log(11) - 0.2


def test_the_literal_integral_cannot_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token it is another function than the one that was trained."""
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of("literal"))
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
    monkeypatch.setattr(rules, "build_integral", lambda _: integral_of("literal"))
    theirs = LanguageModel(config).double().eval()
    theirs.load_state_dict(ours.state_dict())
    ids = laws.tokens(config)
    with torch.no_grad():
        prefixes = [theirs(ids[:, : i + 1])[:, -1] for i in range(ids.shape[1])]
        torch.testing.assert_close(torch.stack(prefixes, 1), ours(ids), rtol=0, atol=1e-12)


# the other two


@pytest.mark.parametrize("name", ["llama", "dint_v1", "mla", "dint_ngpt_mla"])
def test_the_law_finds_a_constant_rotation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second: the wrong axis gave the length, so every position turned by the same angles."""
    config, forward = SMALL_PRESETS[name], Rotary.forward

    def constant(self: Rotary, x: Tensor, start: int) -> Tensor:
        return torch.cat([forward(self, row, start) for row in x.split(1, dim=-2)], dim=-2)

    attention = laws.sharpened(config).backbone.blocks[0].get_submodule("attention")
    assert isinstance(attention, Attention)
    laws.scores_depend_on_distance(attention, config.d_model)
    monkeypatch.setattr(Rotary, "forward", constant)
    with pytest.raises(AssertionError):
        laws.scores_depend_on_distance(attention, config.d_model)


@pytest.mark.parametrize("name", ["llama", "diff_v2", "mla"])
def test_the_law_finds_an_embedding_times_sqrt_d(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third: the token embedding was multiplied by sqrt(d_model)."""
    config, forward = SMALL_PRESETS[name], Entry.forward
    laws.stream_enters_at(config, 0.02)
    monkeypatch.setattr(
        Entry, "forward", lambda self, x, start: forward(self, x, start) * self.d_model**0.5
    )
    with pytest.raises(AssertionError):
        laws.stream_enters_at(config, 0.02)
