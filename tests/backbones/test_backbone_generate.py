"""Sampling: the cache changes speed only, the seed decides, a full window is left."""

import laws
import pytest
import torch
from torch import Tensor
from variants import CONTEXT, SMALL_PRESETS, VOCAB

from backbones.generate import Sampling, generate, next_token
from backbones.losses import Link, cross_entropy
from backbones.model import Backbone, LanguageModel

LLAMA, CLASSIC = SMALL_PRESETS["llama"], SMALL_PRESETS["classic"]
PROMPT = torch.tensor([[3, 1, 4], [1, 5, 9]])


def likeliest(model: LanguageModel, ids: Tensor, count: int, window: int | None) -> Tensor:
    """Greedy decoding without any cache, by the rule of the window in words: see `generate`."""
    start = 0
    for _ in range(count):
        if window is not None and ids.shape[1] - start > window:
            start = ids.shape[1] - max(1, window // 2)
        with torch.no_grad():
            new = model(ids[:, start:])[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, new), dim=1)
    return ids


@pytest.mark.parametrize(
    ("name", "window"), [("llama", None), ("llama", 5), ("llama", 1), ("classic", None)]
)
def test_the_cache_changes_nothing(name: str, window: int | None) -> None:
    model = laws.sharpened(SMALL_PRESETS[name])
    limit = CONTEXT if name == "classic" else window
    drawn = generate(model, PROMPT, 40, Sampling(temperature=0, window=window))
    assert torch.equal(drawn, likeliest(model, PROMPT, 40, limit))
    assert len(set(drawn[0].tolist())) > 2


def test_planted_a_stale_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that keeps its first past for ever is found out."""
    model = laws.sharpened(LLAMA)
    kept = model.new_caches()
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "new_caches", lambda _, __: kept)
        drawn = generate(model, PROMPT, 40, Sampling(temperature=0, window=5))
    assert not torch.equal(drawn, likeliest(model, PROMPT, 40, 5))


def test_the_seed_decides() -> None:
    model = laws.sharpened(LLAMA)
    one, again, other = (
        generate(model, PROMPT, 30, Sampling(seed=seed, window=CONTEXT)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, :3], PROMPT)


def frequencies(sampling: Sampling, logits: Tensor) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    drawn = next_token(logits.expand(20_000, -1), sampling, draw)
    return torch.bincount(drawn.flatten(), minlength=logits.shape[-1]) / 20_000


def test_temperature_and_top_k_shape_the_draw() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    torch.testing.assert_close(
        frequencies(Sampling(temperature=2.0), logits),
        (logits[0] / 2).softmax(-1),
        rtol=0,
        atol=0.015,
    )
    two = torch.tensor([2.0, 1.0, -torch.inf, -torch.inf]).softmax(-1)
    torch.testing.assert_close(frequencies(Sampling(top_k=2), logits), two, rtol=0, atol=0.015)
    torch.testing.assert_close(
        frequencies(Sampling(top_k=9), logits), logits[0].softmax(-1), rtol=0, atol=0.015
    )


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="the prompt is empty: at least one token is wanted"):
        generate(LanguageModel(LLAMA), PROMPT[:, :0], 1, Sampling())


def test_a_window_above_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=f"window=99 is above max_positions={CONTEXT} of the"):
        generate(LanguageModel(CLASSIC), PROMPT, 1, Sampling(window=99))


# what the model itself refuses


def test_learned_positions_end() -> None:
    model = LanguageModel(CLASSIC).eval()
    caches = model.new_caches()
    model(torch.zeros(1, CONTEXT, dtype=torch.int64), caches)
    with pytest.raises(ValueError, match=f"position 17 is past max_positions={CONTEXT}: learned"):
        model(torch.zeros(1, 1, dtype=torch.int64), caches)


def test_a_backbone_without_a_vocabulary_takes_embeddings_only() -> None:
    config = LLAMA.replace(vocab_size=None)
    backbone = Backbone(config)
    assert backbone(torch.randn(2, 5, config.d_model)).shape == (2, 5, config.d_model)
    assert not any(name.startswith("entry") for name, _ in backbone.named_parameters())
    with pytest.raises(ValueError, match=r"ids of shape \[2, 3\] were given, but vocab_size=None"):
        backbone(PROMPT)
    with pytest.raises(ValueError, match="vocab_size=None has no tokens to predict"):
        LanguageModel(config)
    with pytest.raises(ValueError, match="vocab_size=None has no token table"):
        _ = backbone.entry.table


def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"embeddings have shape \[2, 5, 7\], \[batch, positions, d_model=32\] is wanted",
    ):
        Backbone(LLAMA)(torch.randn(2, 5, 7))


def test_embeddings_enter_as_the_table_rows_would() -> None:
    """At embedding_scale none, ids and their rows of the table are the same input."""
    model = laws.sharpened(LLAMA)
    rows = model.backbone.entry.table[PROMPT]
    torch.testing.assert_close(model.backbone(rows), model.backbone(PROMPT), rtol=0, atol=1e-14)
    assert PROMPT.max() < VOCAB


@pytest.mark.parametrize("link", ["softmax", "stablemax", "taylor"])
def test_draws_follow_the_link(link: Link) -> None:
    """What is drawn is what the loss was taken of, not a softmax of the logits."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -4.0]])
    wanted = (-cross_entropy_of_each(logits, link)).exp()
    torch.testing.assert_close(frequencies(Sampling(link=link), logits), wanted, rtol=0, atol=0.015)
    if link != "softmax":
        assert (frequencies(Sampling(), logits) - wanted).abs().max() > 0.05


def cross_entropy_of_each(logits: Tensor, link: Link) -> Tensor:
    """The loss of each token as the target."""
    v = logits.shape[-1]
    return torch.stack(
        [cross_entropy(logits[None], torch.tensor([[token]]), link) for token in range(v)]
    )


def test_the_likeliest_token_is_the_links() -> None:
    """Taylor's scores rise again below -1: the smallest logit can be the likeliest."""
    logits, draw = torch.tensor([[1.0, 0.0, -9.0]]), torch.Generator()
    assert next_token(logits, Sampling(temperature=0, link="taylor"), draw).item() == 2
    assert next_token(logits, Sampling(temperature=0), draw).item() == 0
