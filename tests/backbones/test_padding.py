"""Batches of rows of different lengths, padded on the left: each row reads as it does alone."""

import laws
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from variants import CONTEXT, SMALL_PRESETS, VARIANTS

from backbones.attention import integral, kernel
from backbones.attention.kernel import Reading
from backbones.config import BackboneConfig
from backbones.generate import Sampling, generate, left_padded
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.past import LayerCache, Start
from backbones.positions import Rotary

PROMPTS = [torch.tensor(row) for row in ([3, 1, 4, 1, 5], [9], [2, 6, 5])]


def rows_of(config: BackboneConfig) -> Tensor:
    return laws.tokens(config, batch=4)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_padding_changes_nothing(config: BackboneConfig) -> None:
    laws.padding_changes_nothing(laws.sharpened(config), rows_of(config), 1e-10)


@pytest.mark.parametrize("name", ["llama", "dint_v1", "dint_v2", "llama_conv", "dint_ngpt_mla"])
def test_gradients_are_those_of_the_rows_alone(name: str) -> None:
    """And none is NaN: a softmax over nothing is never taken."""
    model, ids = laws.sharpened(SMALL_PRESETS[name]), rows_of(SMALL_PRESETS[name])
    padding = torch.tensor([0, 4, 11, 1])
    together, alone = model(ids, model.new_caches(padding)), []
    for row, start in zip(ids, padding.tolist(), strict=True):
        alone.append(model(row[start:].unsqueeze(0))[0].square().sum())
    real = torch.arange(ids.shape[1]) >= padding.unsqueeze(-1)
    by_batch = torch.autograd.grad(together[real].square().sum(), list(model.parameters()))
    by_row = torch.autograd.grad(torch.stack(alone).sum(), list(model.parameters()))
    for one, other in zip(by_batch, by_row, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_rows_of_the_visible_mean_that_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integral, "ROWS", 4)
    config = SMALL_PRESETS["dint_v2"]
    laws.padding_changes_nothing(laws.sharpened(config), rows_of(config), 1e-10)


@pytest.mark.parametrize("name", ["llama", "mla", "dint_v1"])
def test_no_padding_is_the_pass_without_it(name: str) -> None:
    model, ids = laws.sharpened(SMALL_PRESETS[name]), rows_of(SMALL_PRESETS[name])
    caches = model.new_caches(torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(model(ids, caches), model(ids), rtol=0, atol=1e-12)


def test_learned_positions_end_for_the_longest_row() -> None:
    model = LanguageModel(SMALL_PRESETS["classic"])
    ids = torch.zeros(2, CONTEXT + 3, dtype=torch.int64)
    assert model(ids, model.new_caches(torch.tensor([3, 4]))).isfinite().all()
    with pytest.raises(ValueError, match=f"position 17 is past max_positions={CONTEXT}"):
        model(ids, model.new_caches(torch.tensor([3, 2])))


# sampling


@pytest.mark.parametrize(
    ("name", "window"), [("llama", None), ("llama", 6), ("classic", None), ("dint_v2", 5)]
)
def test_a_ragged_batch_of_prompts_goes_on_as_each_alone(name: str, window: int | None) -> None:
    """Also where the window of one row is full and that of another is not."""
    model = laws.sharpened(SMALL_PRESETS[name])
    how = Sampling(temperature=0, window=window)
    ids, padding = left_padded(PROMPTS)
    drawn = generate(model, ids, 30, how, padding)
    for row, start, prompt in zip(drawn, padding.tolist(), PROMPTS, strict=True):
        assert torch.equal(row[start:], generate(model, prompt.unsqueeze(0), 30, how)[0])


@pytest.mark.parametrize("padding", [[0, 5, 2], [-1, 4, 2], [0, 4]])
def test_padding_that_leaves_no_token_is_refused(padding: list[int]) -> None:
    model, (ids, _) = LanguageModel(SMALL_PRESETS["llama"]), left_padded(PROMPTS)
    with pytest.raises(ValueError, match="which leaves at least one token"):
        generate(model, ids, 1, Sampling(), torch.tensor(padding))


# planted


def broken(name: str) -> None:
    model, ids = laws.sharpened(SMALL_PRESETS[name]), rows_of(SMALL_PRESETS[name])
    with pytest.raises(AssertionError):
        laws.padding_changes_nothing(model, ids, 1e-10)


@pytest.mark.parametrize("name", ["llama", "mla", "dint_v1", "ngpt"])
def test_planted_padding_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = kernel.seen
    monkeypatch.setattr(kernel, "seen", lambda t, s, device, _=None: seen(t, s, device))
    broken(name)


def test_planted_a_softmax_over_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(t: int, s: int, device: torch.device, order: Tensor) -> Tensor:
        past = torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)
        return past & (order >= 0)[:, None, None]

    def weighted(q: Tensor, k: Tensor, v: Tensor, *, scale: float, order: Tensor) -> Tensor:
        return kernel.weights(q, k, scale=scale, order=order) @ v

    monkeypatch.setattr(kernel, "attend", weighted)
    config, padding = SMALL_PRESETS["llama"], torch.tensor([0, 1, 6, 12])
    model, ids = laws.sharpened(config), rows_of(config)
    assert laws.in_pieces(model, ids, [13], padding).isfinite().all()
    monkeypatch.setattr(kernel, "seen", nothing)
    assert not laws.in_pieces(model, ids, [13], padding).isfinite().all()


@pytest.mark.parametrize(
    "added",
    [
        {"positions": "learned", "max_positions": CONTEXT},
        {"positions": "sinusoidal", "max_positions": None},
    ],
)
def test_planted_added_positions_count_from_the_padding(
    added: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RoPE would forgive it, for only distances count there; what is added does not."""
    config = SMALL_PRESETS["classic"].replace(**added)
    model, ids = laws.sharpened(config), rows_of(config)
    laws.padding_changes_nothing(model, ids, 1e-10)
    monkeypatch.setattr(LayerCache, "start", property(lambda self: self.length))
    with pytest.raises(AssertionError):
        laws.padding_changes_nothing(model, ids, 1e-10)


def test_planted_a_rotation_that_restarts_with_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding taken off twice."""
    forward = Rotary.forward

    def twice(self: Rotary, x: Tensor, start: Start) -> Tensor:
        return forward(self, x, start if isinstance(start, int) else start.clamp_min(0))

    monkeypatch.setattr(Rotary, "forward", twice)
    broken("llama")


def test_planted_padding_counts_in_the_prefix_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = integral.prefix_mean

    def counting(reading: Reading, first: Tensor) -> Tensor:
        slots = Reading(
            heads=reading.heads,
            x=reading.x,
            past=reading.past,
            start=reading.heads.k.shape[-2] - first.shape[-2],
            scale=reading.scale,
        )
        return mean(slots, first)

    monkeypatch.setattr(integral, "prefix_mean", counting)
    broken("dint_v1")


def test_planted_padding_has_columns_in_the_visible_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What padding read of itself must not come back as the mean of its column."""
    seen = integral.seen
    monkeypatch.setattr(integral, "seen", lambda t, s, device, _: seen(t, s, device))
    broken("dint_v2")


def test_planted_the_convolution_reads_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tail = LayerCache.with_tail

    def reading(self: LayerCache, branch: str, x: Tensor, count: int) -> Tensor:
        padding, self.padding = self.padding, None
        known = with_tail(self, branch, x, count)
        self.padding = padding
        return known

    monkeypatch.setattr(LayerCache, "with_tail", reading)
    broken("llama_conv")


def test_loss_of_a_padded_batch_is_finite_under_dropout() -> None:
    config = SMALL_PRESETS["llama"].replace(dropout=0.1)
    model, ids = LanguageModel(config).train(), rows_of(config)
    logits = model(ids[:, :-1], model.new_caches(torch.tensor([0, 1, 6, 11])))
    assert cross_entropy(logits, ids[:, 1:]).isfinite()
    assert F.softmax(logits, dim=-1).isfinite().all()
