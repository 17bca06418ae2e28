"""Maps written out: rows sum to what the laws say, and heads read through them and nothing else."""

import pytest
import torch
from torch import Tensor, nn
from variants import CONTEXT, COVER, SMALL_PRESETS, VARIANTS, VOCAB

from backbones import maps
from backbones.attention.kernel import Reading, over_heads
from backbones.attention.rules import ContrastV1
from backbones.config import BackboneConfig
from backbones.model import LanguageModel

IDS = torch.arange(2 * CONTEXT).reshape(2, CONTEXT) % VOCAB


def model_of(config: BackboneConfig) -> LanguageModel:
    return LanguageModel(config).eval()


def written(model: LanguageModel) -> list[maps.LayerMaps]:
    with torch.no_grad(), maps.recorded(model) as found:
        model(IDS)
    return found


def assert_laws(layer: maps.LayerMaps) -> None:
    """Row sums 1, 1 - lam and 1; nothing of the future is read."""
    lam = torch.tensor(0.0) if layer.lam is None else layer.lam.squeeze(-1)
    wanted = {name: torch.tensor(1.0) for name in maps.NAMES} | {"difference": 1 - lam}
    for name, map_ in layer.maps.items():
        sums = map_.sum(dim=-1)
        assert torch.allclose(sums, wanted[name].expand_as(sums), atol=1e-5), name
        assert map_.triu(1).abs().max() == 0, name


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_rows_sum_to_one_to_one_less_lam_and_to_one(name: str):
    config = SMALL_PRESETS[name]
    layers = written(model_of(config))
    assert [layer.layer for layer in layers] == [0, 1]
    contrast, integral = config.contrast != "none", config.integral != "none"
    names = ("first", *(("second", "difference") if contrast else ()))
    for layer in layers:
        assert tuple(layer.maps) == (*names, *(("integral", "sum") if integral else ()))
        assert layer.read == ("sum" if integral else "difference" if contrast else "first")
        assert_laws(layer)


def test_a_map_that_reads_too_much_breaks_the_laws():
    layer = written(model_of(SMALL_PRESETS["dint_v1"]))[0]
    layer.maps["sum"] = layer.maps["sum"] + 1e-3
    with pytest.raises(AssertionError, match="sum"):
        assert_laws(layer)


@pytest.mark.parametrize("name", VARIANTS)
def test_heads_read_through_the_map(name: str):
    """V1's norm and factor come after; `lift` widens what was read in a narrower form."""
    model = model_of((SMALL_PRESETS | COVER)[name])
    heard: list[tuple[nn.Module, Reading, Tensor]] = []

    def hear(rule: nn.Module, given: tuple[Reading], out: Tensor) -> None:
        heard.append((rule, given[0], out))

    for block in model.backbone.blocks:
        block.attention.rule.register_forward_hook(hear)  # type: ignore[union-attr]
    layers = written(model)
    for layer, (rule, reading, out) in zip(layers, heard, strict=True):
        map_ = layer.maps[layer.read].to(reading.heads.v.dtype)
        read = reading.heads.lift(map_ @ over_heads(reading.heads.v, map_.shape[1], 1))
        if isinstance(rule, ContrastV1):
            read = rule.factor * rule.norm(read)
        assert torch.allclose(out, read, atol=1e-4, rtol=1e-4)


def test_recording_changes_nothing_and_ends():
    model = model_of(SMALL_PRESETS["dint_ngpt_mla"])
    with torch.no_grad():
        plain = model(IDS)
        with maps.recorded(model) as found:
            assert torch.equal(model(IDS), plain)
        count = len(found)
        model(IDS)
    assert len(found) == count == 2


def test_a_pass_that_goes_on_has_no_maps():
    model = model_of(SMALL_PRESETS["llama"])
    caches = model.new_caches()
    with torch.no_grad():
        model(IDS[:, :4], caches)
        with maps.recorded(model), pytest.raises(ValueError, match="1 queries of 5 keys"):
            model(IDS[:, 4:5], caches)
