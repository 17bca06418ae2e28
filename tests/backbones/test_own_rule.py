"""The README's rule of a user's own passes the laws of ours, and a mistake in it is seen."""

import laws
import pytest
import torch
from gated import Gated, gated
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.attention.kernel import Reading

BODIES = ("llama", "llama_gqa", "mla", "ngpt")  # of any projection and scheme


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the laws sharpen is built with the user's rule."""
    monkeypatch.setattr(laws, "LanguageModel", gated)


@pytest.mark.parametrize("name", BODIES)
def test_laws_hold_of_it(name: str) -> None:
    model = laws.sharpened(SMALL_PRESETS[name])
    assert sum(isinstance(each, Gated) for each in model.modules()) == model.config.n_layers
    laws.no_position_sees_the_future(model, laws.tokens(model.config))
    laws.decoding_equals_one_pass(model, laws.tokens(model.config), 1e-9)


def test_its_gate_is_heard() -> None:
    model = laws.sharpened(SMALL_PRESETS["llama"])
    ids = laws.tokens(model.config)
    before = laws.seeded(model, ids)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("rule.gate.bias"):
                parameter.fill_(-100.0)
    assert not torch.equal(laws.seeded(model, ids), before)


def test_planted_a_gate_of_the_whole_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(self: Gated, reading: Reading) -> Tensor:
        gate = torch.sigmoid(self.gate(reading.x)).mean(dim=1, keepdim=True)
        return gate.transpose(1, 2).unsqueeze(-1) * self.softmax(reading)

    monkeypatch.setattr(Gated, "forward", whole)
    model = laws.sharpened(SMALL_PRESETS["llama"])
    with pytest.raises(AssertionError):
        laws.no_position_sees_the_future(model, laws.tokens(model.config))
