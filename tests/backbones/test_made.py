"""What is made of weights once is made of the weights that there are, and for no other use."""

from collections import Counter

import laws
import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones import generate as generating
from backbones.attention.lam import LayerLambda
from backbones.attention.projections import Grouped
from backbones.attention.qk_norm import QkNorm
from backbones.generate import Sampling, generate, next_token, stream
from backbones.layers import LearnedScale
from backbones.losses import cross_entropy
from backbones.made import Made, decoding
from backbones.model import LanguageModel
from backbones.optim import build_optimizer
from backbones.recipe import TrainRecipe

KEEPING = ["llama", "llama_qk_norm", "diff_v1", "ngpt", "mla", "dint_ngpt_mla"]
PROMPT = torch.tensor([[3, 1, 4], [1, 5, 9]])


def taught(model: LanguageModel, ids: Tensor) -> None:
    """A few large steps of the optimiser, which torch's counters of changes do not notice."""
    optimizer = build_optimizer(model, TrainRecipe(steps=9, lr=0.05))
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step()


def drawn(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Tokens that were drawn by the logits that a pass over all of them gives."""
    heard: list[Tensor] = []

    def listening(logits: Tensor, sampling: Sampling, draw: torch.Generator) -> Tensor:
        heard.append(logits)
        return next_token(logits, sampling, draw)

    with monkeypatch.context() as patch:
        patch.setattr(generating, "next_token", listening)
        ids = generate(model, PROMPT, 9, Sampling())
    with torch.no_grad():
        wanted = model(ids)[:, PROMPT.shape[1] - 1 : -1]
    torch.testing.assert_close(torch.stack(heard, 1), wanted, rtol=0, atol=1e-9)
    return ids


def before_and_after(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is what the weights say, before they are trained and after."""
    model = laws.sharpened(SMALL_PRESETS[name])
    first = drawn(model, monkeypatch)
    versions = [p._version for p in model.parameters()]
    taught(model, first)
    assert versions == [p._version for p in model.parameters()]  # why none of them is asked
    drawn(model, monkeypatch)


@pytest.mark.parametrize("name", KEEPING)
def test_weights_that_change_between_two_drawings_are_seen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_and_after(name, monkeypatch)


@pytest.mark.parametrize("name", KEEPING)
def test_planted_things_made_of_weights_that_are_no_more(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Made()
    monkeypatch.setattr(generating, "Made", lambda: kept)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        before_and_after(name, monkeypatch)


@torch.no_grad()
def test_a_pass_outside_sees_weights_that_changed() -> None:
    model = laws.sharpened(SMALL_PRESETS["ngpt"])
    with Made().used():
        model(PROMPT)
    scale = next(m for m in model.modules() if isinstance(m, LearnedScale))
    before = scale()
    scale.raw.mul_(2)
    assert torch.equal(scale(), 2 * before)


def test_each_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()

    def count_calls(kind: type[LayerLambda] | type[QkNorm], method: str) -> None:
        make = getattr(kind, method)

        def counted(self: LayerLambda | QkNorm) -> Tensor | None:
            made[method] += 1
            return make(self)

        monkeypatch.setattr(kind, method, counted)

    count_calls(LayerLambda, "number")
    count_calls(QkNorm, "both_gains")
    config = SMALL_PRESETS["dint_ngpt"]
    generate(LanguageModel(config).eval(), PROMPT, 9, Sampling())
    assert made == {"number": config.n_layers, "both_gains": config.n_layers}


def test_between_two_tokens_nothing_is_kept_and_the_model_trains() -> None:
    model = laws.sharpened(SMALL_PRESETS["ngpt"])
    tokens = stream(model, PROMPT, 3, Sampling())
    first = next(tokens)
    assert not decoding()
    assert not first.is_inference()
    cross_entropy(model(PROMPT[:, :-1]), PROMPT[:, 1:]).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.ndim == 1)


def test_planted_a_learned_scale_made_once_gets_no_gradient() -> None:
    """It is why gradients and `Made` do not meet."""
    scale = LearnedScale(3, init=1.0, scale=0.5)
    made = Made()
    with torch.no_grad(), made.used():
        scale()
    assert not made.by_module[scale].requires_grad
    with pytest.raises(RuntimeError, match="made into others once only without gradients"):
        made.used().__enter__()


def test_planted_gains_of_keys_for_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decoding normalises and turns at once is held against what passes do apart."""
    config = SMALL_PRESETS["llama_qk_norm"]
    gains = QkNorm.both_gains
    monkeypatch.setattr(QkNorm, "both_gains", lambda self: gains(self).flip(0))  # type: ignore[union-attr]
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(laws.sharpened(config), laws.tokens(config), 1e-12)


def test_planted_keys_before_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Grouped.asked

    def exchanged(self: Grouped, x: Tensor, start: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        q, (k, v) = asked(self, x, start)
        return (k, (q, v)) if decoding() and x.shape[1] == 1 else (q, (k, v))

    monkeypatch.setattr(Grouped, "asked", exchanged)
    config = SMALL_PRESETS["llama"]
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(laws.sharpened(config), laws.tokens(config), 1e-12)
