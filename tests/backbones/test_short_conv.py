"""The short convolution: a loop straight from its equation, the past it keeps, where it stands."""

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.config import BackboneConfig, ShortConv
from backbones.model import Backbone, LanguageModel
from backbones.optim import parameter_roles
from backbones.past import LayerCache, Tail
from backbones.short_conv import ShortConv as Module

CONFIG = SMALL_PRESETS["llama_conv"]


def drawn(config: BackboneConfig, taps: int) -> Module:
    conv = Module(config, taps, "attention").double()
    torch.nn.init.normal_(conv.taps, std=0.5)
    return conv


def loops(conv: Module, x: Tensor, *, sphere: bool) -> Tensor:
    """One sequence [T, C], a number at a time: x[t, c] + sum over i of w_i[c] x[t - i, c]."""
    t, c = x.shape
    rows = []
    for i in range(t):
        row = [
            x[i, ch]
            + sum(
                (
                    conv.taps[(d - 1) * c + ch] * x[i - d, ch]
                    for d in range(1, conv.before + 1)
                    if i >= d
                ),
                start=x.new_zeros(()),
            )
            for ch in range(c)
        ]
        vector = torch.stack(row)
        rows.append(vector / vector.norm() if sphere else vector)
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["llama", "ngpt"])
@pytest.mark.parametrize("taps", [2, 4])
def test_it_is_the_loops(name: str, taps: int) -> None:
    config = SMALL_PRESETS[name].replace(d_model=8)
    conv = drawn(config, taps)
    x = torch.randn(1, 6, 8, dtype=torch.float64, requires_grad=True)
    ours, theirs = conv(x, LayerCache())[0], loops(conv, x[0], sphere=config.on_sphere)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    weight, inputs = torch.randn_like(ours), [x, conv.taps]
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunks", [[1] * 9, [2, 1, 6], [5, 4]])
def test_it_goes_on_from_its_tail(chunks: list[int]) -> None:
    conv, x, past = drawn(CONFIG, 4), torch.randn(2, 9, 32, dtype=torch.float64), LayerCache()
    parts = [conv(part, past) for part in x.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), conv(x, LayerCache()), rtol=0, atol=1e-12)
    assert past.tails["attention"].inputs.shape == (2, 3, 32)


@pytest.mark.parametrize("name", ["llama_conv", "llama_conv_relu2"])
def test_it_starts_as_if_it_were_not_there(name: str) -> None:
    """Bit for bit, with the same draws."""
    config = SMALL_PRESETS[name]
    torch.manual_seed(5)
    mixed = LanguageModel(config)
    torch.manual_seed(5)
    plain = LanguageModel(config.replace(short_conv=None))
    ids = laws.tokens(config)
    with torch.no_grad():
        assert torch.equal(mixed(ids), plain(ids))


def test_its_weights_are_vectors_to_an_optimiser() -> None:
    roles = parameter_roles(LanguageModel(CONFIG))
    taps = {name: role for name, role in roles.items() if name.endswith("conv.taps")}
    assert len(taps) == CONFIG.n_layers
    assert set(taps.values()) == {"vector"}


@pytest.mark.parametrize(
    ("conv", "seen"),
    [
        (None, (False, False)),
        (ShortConv(), (True, False)),
        (ShortConv(before="both"), (True, True)),
    ],
)
def test_it_stands_before_the_branches_that_are_named(
    conv: ShortConv | None, seen: tuple[bool, bool]
) -> None:
    block = LanguageModel(SMALL_PRESETS["llama"].replace(short_conv=conv)).backbone.blocks[0]
    names = {name for name, _ in block.named_modules()}
    assert tuple(f"join_{branch}.conv" in names for branch in ("attention", "ffn")) == seen


# planted


def test_planted_a_convolution_that_looks_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(self: Module, x: Tensor, past: LayerCache) -> Tensor:  # noqa: ARG001
        return x + self.taps[: x.shape[-1]] * x.roll(-1, dims=1)

    monkeypatch.setattr(Module, "forward", centred)
    with pytest.raises(AssertionError):
        laws.no_position_sees_the_future(laws.sharpened(CONFIG), laws.tokens(CONFIG))


def test_planted_a_chunk_that_forgets_its_past(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tail = LayerCache.with_tail

    def forgetful(self: LayerCache, branch: str, x: Tensor, count: int) -> Tensor:
        self.tails.pop(branch, None)
        return with_tail(self, branch, x, count)

    monkeypatch.setattr(LayerCache, "with_tail", forgetful)
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(laws.sharpened(CONFIG), laws.tokens(CONFIG), 1e-12)


def test_planted_one_tail_for_both_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention's inputs are not the feed-forward's: they must not meet."""

    class Shared(dict[str, Tail]):
        def __getitem__(self, _: str) -> Tail:
            return super().__getitem__("one")

        def get(self, _: str, default: Tail | None = None) -> Tail | None:  # type: ignore[override]
            return super().get("one", default)

        def __setitem__(self, _: str, tail: Tail) -> None:
            super().__setitem__("one", tail)

    config = SMALL_PRESETS["llama_conv_relu2"]
    model = laws.sharpened(config)
    monkeypatch.setattr(
        Backbone,
        "new_caches",
        lambda self, _=None: [LayerCache(tails=Shared()) for _ in self.blocks],
    )
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(model, laws.tokens(config), 1e-12)
