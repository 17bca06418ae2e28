"""The two-matrix branches, a number at a time: forward and gradient, on the sphere and off it."""

import math
from collections.abc import Callable

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.config import BackboneConfig
from backbones.ffn import Plain
from backbones.presets import PRESETS, Sizes, sized

SCHEMES = {name: SMALL_PRESETS[name] for name in ("llama", "ngpt", "ngpt_simple")}


def squared(z: Tensor) -> Tensor:
    return z * z if z > 0 else 0 * z


def tanh_gelu(z: Tensor) -> Tensor:
    return 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def loops(ffn: Plain, x: Tensor, config: BackboneConfig, f: Callable[[Tensor], Tensor]) -> Tensor:
    """One vector [C] -> [C]."""
    p, hidden = dict(ffn.named_parameters()), []
    for j in range(config.d_ffn):
        z = p["up.weight"][j] @ x
        if config.on_sphere:
            z = z * math.sqrt(config.d_model)
        if config.scheme == "ngpt":
            z = z * p["up_gain.scale.raw"][j]
        hidden.append(f(z))
    return p["down.weight"] @ torch.stack(hidden)


def branch_of(config: BackboneConfig) -> Plain:
    ffn = laws.sharpened(config).backbone.blocks[0].get_submodule("ffn")
    assert isinstance(ffn, Plain)
    return ffn


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("kind", "f"), [("relu2", squared), ("gelu", tanh_gelu)])
def test_it_is_the_loops(scheme: str, kind: str, f: Callable[[Tensor], Tensor]) -> None:
    config = SCHEMES[scheme].replace(ffn=kind, d_ffn=24)
    ffn = branch_of(config)
    x = torch.randn(config.d_model, dtype=torch.float64)
    x = (x / x.norm() if config.on_sphere else x).requires_grad_()
    ours, theirs = ffn(x), loops(ffn, x, config, f)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    weight, inputs = torch.randn_like(ours), [x, *ffn.parameters()]
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_planted_the_loops_of_the_other() -> None:
    config = SCHEMES["llama"].replace(ffn="relu2", d_ffn=24)
    ffn, x = branch_of(config), torch.randn(config.d_model, dtype=torch.float64)
    assert (ffn(x) - loops(ffn, x, config, tanh_gelu)).abs().max() > 1e-4


def test_it_is_four_times_as_wide() -> None:
    sizes = Sizes(vocab_size=65, context=64, d_model=96, n_layers=2, n_heads=4)
    assert sized(PRESETS["llama_conv_relu2"], sizes).d_ffn == 4 * 96
