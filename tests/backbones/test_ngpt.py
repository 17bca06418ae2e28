"""nGPT: the whole model against loops, its sizes at the start, its steps, and a public twin."""

import importlib
import math
from typing import Any

import laws
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from variants import SMALL_PRESETS

from backbones.attention import Attention, LayerCache
from backbones.config import BackboneConfig
from backbones.embedding import Head
from backbones.layers import LearnedScale
from backbones.losses import cross_entropy
from backbones.model import Backbone, LanguageModel
from backbones.residual import Hypersphere
from backbones.sphere import normalize_weights_

NGPT = SMALL_PRESETS["ngpt"]


def unit(x: Tensor) -> Tensor:
    return x / x.norm()


# the model as the paper writes it, one token at a time


def naive(model: LanguageModel, ids: Tensor) -> Tensor:
    """Ids [T] -> logits [T, V]: nGPT, section 2, in full or with one number for each vector."""
    p, config = dict(model.named_parameters()), model.config
    c, full = config.d_model, config.scheme == "ngpt"
    h = torch.stack([unit(p["backbone.entry.tokens.weight"][i]) for i in ids])
    for depth, block in enumerate(model.backbone.blocks):
        here = f"backbone.blocks.{depth}"
        attended = block.get_submodule("attention")(h.unsqueeze(0), LayerCache())[0]
        h = moved(h, attended, p[f"{here}.join_attention.alpha.raw"], c)
        s_u = p[f"{here}.ffn.up_gain.scale.raw"] if full else 1.0
        s_v = p[f"{here}.ffn.gate_gain.scale.raw"] if full else 1.0
        rows = []
        for row in h:
            u = (p[f"{here}.ffn.up.weight"] @ row) * s_u
            v = (p[f"{here}.ffn.gate.weight"] @ row) * s_v * math.sqrt(c)
            rows.append(p[f"{here}.ffn.down.weight"] @ (u * v / (1 + (-v).exp())))
        h = moved(h, torch.stack(rows), p[f"{here}.join_ffn.alpha.raw"], c)
    s_z = p["head.scale.scale.raw"] * math.sqrt(c)
    return torch.stack([s_z * (p["head.weight"] @ row) for row in h])


def moved(h: Tensor, branch: Tensor, raw: Tensor, c: int) -> Tensor:
    """h <- Norm(h + alpha (Norm(branch) - h)), alpha = raw * 0.05 / (1/sqrt(C))."""
    alpha = (raw * 0.05 * math.sqrt(c)).abs()
    pairs = zip(h, branch, strict=True)
    return torch.stack([unit(x + alpha * (unit(b) - x)) for x, b in pairs])


@pytest.mark.parametrize("name", ["ngpt", "ngpt_simple"])
def test_the_model_is_the_loops(name: str) -> None:
    model, ids = laws.sharpened(SMALL_PRESETS[name]), torch.randint(11, (7,))
    ours, theirs = model(ids.unsqueeze(0))[0], naive(model, ids)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    weight, parameters = torch.randn_like(ours), list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((ours * weight).sum(), parameters),
        torch.autograd.grad((theirs * weight).sum(), parameters),
        rtol=1e-10,
        atol=1e-10,
    )


# sizes at the start


@torch.no_grad()
@pytest.mark.parametrize("contrast", ["none", "v1", "v2"])
@pytest.mark.parametrize("qk_norm", ["none", "rms", "standard", "split"])
@pytest.mark.parametrize("scheme", ["ngpt", "ngpt_simple"])
def test_scores_start_at_unit_variance(contrast: str, qk_norm: str, scheme: str) -> None:
    if contrast == "none" and qk_norm == "split":
        qk_norm = "standard"
    config = NGPT.replace(d_model=256, contrast=contrast, qk_norm=qk_norm, scheme=scheme)
    attention = LanguageModel(config).backbone.blocks[0].get_submodule("attention")
    assert isinstance(attention, Attention)
    x = F.normalize(torch.randn(4, 64, 256), dim=-1)
    heads = attention.projection.heads(*attention.projection.asked(x, 0))
    scores = attention.projection.scale * heads.q @ heads.k.mT
    assert 0.95 < scores.std().item() < 1.05


@torch.no_grad()
def test_grouped_keys_have_gains_of_their_own() -> None:
    """Queries and keys share s_qk where they are as many, as in nGPT's code; else they cannot."""
    assert not any(".norm.k." in n for n, _ in LanguageModel(NGPT).named_parameters())
    grouped = dict(LanguageModel(NGPT.replace(n_kv_heads=2)).named_parameters())
    assert grouped["backbone.blocks.0.attention.projection.norm.q.raw"].shape == (32,)
    assert grouped["backbone.blocks.0.attention.projection.norm.k.raw"].shape == (16,)


@pytest.mark.parametrize(
    ("name", "vectors", "numbers"),
    [("ngpt", 5 * 2 + 1, 2 * (2 * 32 + 32 + 2 * 88) + 11), ("ngpt_simple", 2 * 2 + 1, 2 * 2 + 1)],
)
def test_learned_scales(name: str, vectors: int, numbers: int) -> None:
    """Full: two alphas, s_qk, s_u, s_v a layer, and s_z. Simple: two alphas a layer, and s_z."""
    model = LanguageModel(SMALL_PRESETS[name])
    scales = [m for m in model.modules() if isinstance(m, LearnedScale)]
    assert sum(p.numel() for m in scales for p in m.parameters()) == numbers
    assert len(scales) == vectors
    assert not any(p.ndim > 1 for m in scales for p in m.parameters())


def test_adam_moves_a_scale_by_its_pace() -> None:
    """Init 0.05 stored at 1/16: a step of lr moves it by 0.8 lr."""
    scale = LearnedScale(3, init=0.05, scale=1 / 16)
    torch.testing.assert_close(scale(), torch.full((3,), 0.05))
    scale().sum().backward()
    torch.optim.Adam(scale.parameters(), lr=1e-3).step()
    torch.testing.assert_close(0.05 - scale(), torch.full((3,), 0.8e-3), rtol=1e-4, atol=0)


# steps


@pytest.mark.parametrize("name", ["ngpt", "ngpt_simple", "dint_ngpt", "dint_ngpt_mla"])
def test_it_learns_a_batch(name: str) -> None:
    """And stays on the sphere all the while."""
    model = LanguageModel(SMALL_PRESETS[name])
    ids = laws.tokens(model.config, batch=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        optimizer.step()
        normalize_weights_(model)
        losses.append(loss.item())
    laws.directions_have_length_one(model)
    assert losses[-1] < 0.25 * losses[0], losses[-1]


def test_any_module_that_holds_a_backbone_is_normalised_and_nothing_else() -> None:
    owner = nn.ModuleDict(
        {"backbone": Backbone(NGPT.replace(vocab_size=None)), "own": nn.Linear(4, 4)}
    )
    own = owner["own"].get_parameter("weight").detach().clone()
    with torch.no_grad():
        owner["backbone"].get_parameter("blocks.0.ffn.up.weight").mul_(3.0)
    normalize_weights_(owner)
    rows = owner["backbone"].get_parameter("blocks.0.ffn.up.weight").norm(dim=1)
    torch.testing.assert_close(rows, torch.ones_like(rows))
    assert torch.equal(owner["own"].get_parameter("weight"), own)


def test_embeddings_land_on_the_sphere() -> None:
    """Whatever their size: here a half, and a hundred."""
    backbone = Backbone(NGPT.replace(vocab_size=None))
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(backbone(0.5 * x), backbone(100 * x))


# the public twin: nGPT-pytorch


def twin(module: Any) -> Any:
    """Its modules define equality and no hash, which recent torch wants of them."""
    for kind in (module.Scale, module.NormLinear, module.Attention, module.FeedForward):
        kind.__hash__ = nn.Module.__hash__
    module.nGPT.__hash__ = nn.Module.__hash__
    return module.nGPT(
        num_tokens=61,
        dim=48,
        depth=3,
        dim_head=8,
        heads=6,
        manual_norm_weights=True,
        add_value_residual=False,
        attn_flash_kwargs={"enable_math": True},
    ).eval()


@torch.no_grad()
def scrambled(reference: nn.Module) -> None:
    """All learned scales off their starts; those of queries alike in the two of a turning pair.

    It turns before it multiplies, ours after: the two agree for such scales alone.
    """
    for name, parameter in reference.named_parameters():
        if name.endswith("qk_scale.scale"):
            pairs = 0.5 + torch.rand(len(parameter) // 2)
            parameter.mul_(pairs.repeat_interleave(2))
        elif name.endswith(".scale"):
            parameter.mul_(0.5 + torch.rand_like(parameter))


def twin_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Its s_qk is on queries alone, so ours, on both sides, is its root."""
    ours = {
        "backbone.entry.tokens.weight": theirs["token_embed.linear.weight"],
        "head.weight": theirs["to_logits.linear.weight"],
        "head.scale.scale.raw": theirs["logit_scale.scale"],
    }
    names = {
        "attention.projection.q.weight": "0.fn.to_q.linear.weight",
        "attention.projection.k.weight": "0.fn.to_k.linear.weight",
        "attention.projection.v.weight": "0.fn.to_v.linear.weight",
        "attention.out.weight": "0.fn.to_out.linear.weight",
        "ffn.up.weight": "1.fn.to_hidden.linear.weight",
        "ffn.gate.weight": "1.fn.to_gate.linear.weight",
        "ffn.down.weight": "1.fn.to_out.linear.weight",
        "ffn.up_gain.scale.raw": "1.fn.hidden_scale.scale",
        "ffn.gate_gain.scale.raw": "1.fn.gate_scale.scale",
    }
    for i in range(3):
        for mine, name in names.items():
            ours[f"backbone.blocks.{i}.{mine}"] = theirs[f"layers.{i}.{name}"]
        for mine, which in (("join_attention", 0), ("join_ffn", 1)):
            alpha = theirs[f"layers.{i}.{which}.branch_scale.scale"] / 3  # it starts at 1/depth
            ours[f"backbone.blocks.{i}.{mine}.alpha.raw"] = alpha / 0.05
        s_qk = theirs[f"layers.{i}.0.fn.qk_scale.scale"] * 48
        ours[f"backbone.blocks.{i}.attention.projection.norm.q.raw"] = s_qk.sqrt() / 48**0.5
    return ours


@pytest.mark.oracle
@torch.no_grad()
def test_ngpt_pytorch() -> None:
    reference = twin(importlib.import_module("nGPT_pytorch.nGPT"))
    scrambled(reference)
    config = BackboneConfig(
        vocab_size=61,
        d_model=48,
        n_layers=3,
        n_heads=6,
        n_kv_heads=6,
        d_ffn=128,
        scheme="ngpt",
        qk_norm="standard",
        rope_layout="interleaved",
        tie_embeddings=False,
    )
    model = LanguageModel(config).eval()
    model.load_state_dict(twin_weights(reference.state_dict()))
    ids = torch.randint(61, (3, 29))
    theirs = reference(ids)
    assert theirs.abs().max() > 0.3
    difference = (model(ids) - theirs).abs().max().item()
    assert difference < 1e-5, difference


# what the laws would not see: one attention for all of the above, and no other


def test_planted_mistakes_of_the_sphere_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch that is not normalised, a missing alpha, a softmax scale of 1/sqrt(d)."""
    model, ids = laws.sharpened(NGPT), torch.randint(11, (7,))
    expected = naive(model, ids)

    def wrong(change: str) -> float:
        with monkeypatch.context() as patch:
            if change == "branch":
                patch.setattr(
                    Hypersphere,
                    "forward",
                    lambda self, x, branch, _: F.normalize(
                        torch.lerp(x, branch(x), self.alpha().abs()), dim=-1
                    ),
                )
            elif change == "head":
                patch.setattr(Head, "forward", lambda self, h, _: F.linear(h, self.weight))
            else:
                patch.setattr(Hypersphere, "forward", lambda _, x, branch, __: x + 0 * branch(x))
            return (model(ids.unsqueeze(0))[0] - expected).abs().max().item()

    assert all(wrong(change) > 1e-3 for change in ("branch", "head", "alpha"))
