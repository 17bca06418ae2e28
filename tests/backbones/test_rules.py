"""What each rule does to a constant value: the sum of a row of its map, whatever the projection."""

import laws
import pytest
import torch
from torch import Tensor, nn
from variants import VARIANTS

from backbones.attention import Attention, LayerCache, rules
from backbones.attention.integral import Integral
from backbones.attention.kernel import Reading
from backbones.attention.layout import Heads
from backbones.attention.rules import ContrastV1, ContrastV2, Softmax
from backbones.config import BackboneConfig


def attention_of(config: BackboneConfig) -> Attention:
    attention = laws.sharpened(config).backbone.blocks[0].get_submodule("attention")
    assert isinstance(attention, Attention)
    return attention


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_rows_sum_to_one_or_to_one_minus_lam(config: BackboneConfig) -> None:
    attention = attention_of(config)
    projection, rule = attention.projection, attention.rule
    x = torch.randn(2, 9, config.d_model, dtype=torch.float64)
    given = projection.heads(*projection.asked(x, 0))
    ones = Heads(q=given.q, k=given.k, v=torch.ones_like(given.v), lift=given.lift)
    reading = Reading(heads=ones, x=x, past=LayerCache(), start=0, scale=projection.scale)
    match rule:
        case Softmax():
            sums = 1.0
        case ContrastV1():
            rule.norm, rule.factor = nn.Identity(), 1.0
            sums = 1 - rule.lam(x)
        case ContrastV2():
            sums = 1 - rule.lam(x)
    if config.integral != "none":
        sums = 1.0
    out = rule(reading)
    torch.testing.assert_close(out, torch.ones_like(out) * sums, rtol=0, atol=1e-12)
    assert config.contrast == "none" or config.integral != "none" or (out - 1).abs().max() > 1e-3


@torch.no_grad()
def test_planted_an_integral_without_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding the mean itself, not lam times it, is found out by the row sums."""

    def unweighted(reading: Reading, lam: Tensor, integral: Integral | None) -> Tensor:
        first, second = reading.through_maps().unbind(dim=2)
        assert integral is not None
        return first - lam * second + integral(reading, first)

    monkeypatch.setattr(rules, "combined", unweighted)
    with pytest.raises(AssertionError):
        test_rows_sum_to_one_or_to_one_minus_lam(VARIANTS["dint_v1"])
