"""What holds of every backbone, as functions that raise AssertionError; tests choose the models.

B batch   T positions   C model width   V vocabulary
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.attention import Attention
from backbones.config import BackboneConfig
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.optim import parameter_groups
from backbones.recipe import TrainRecipe
from backbones.sphere import normalize_weights_


def sharpened(config: BackboneConfig, factor: float = 5.0) -> LanguageModel:
    """A float64 model in eval mode whose matrices are larger and whose vectors are not 0 or 1.

    At N(0, 0.02) attention is nearly uniform, and the mistakes that the laws look for hardly show.
    On the sphere matrices keep their lengths.
    """
    model = LanguageModel(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    normalize_weights_(model)
    return model


def tokens(config: BackboneConfig, batch: int = 2, length: int = 13) -> Tensor:
    assert config.vocab_size is not None
    return torch.randint(config.vocab_size, (batch, length))


def no_position_sees_the_future(model: LanguageModel, ids: Tensor) -> None:
    """Bit-equal outputs before a change, in both modes; gradients from later inputs exactly 0."""
    vocabulary = model.config.vocab_size
    assert vocabulary is not None
    for training in (False, True):
        model.train(training)
        before = seeded(model, ids)
        for t in (0, ids.shape[1] // 2, ids.shape[1] - 2):
            changed = ids.clone()
            changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % vocabulary
            after = seeded(model, changed)
            assert torch.equal(after[:, : t + 1], before[:, : t + 1]), f"t={t} train={training}"
            assert not torch.equal(after[:, t + 1 :], before[:, t + 1 :])
            no_gradient_from_the_future(model, ids.shape[1], t)
    model.eval()


def no_gradient_from_the_future(model: LanguageModel, length: int, t: int) -> None:
    dtype = next(model.parameters()).dtype
    x = torch.randn(2, length, model.config.d_model, dtype=dtype, requires_grad=True)
    out = model.backbone(x)[:, : t + 1]
    (gradient,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), x)
    assert gradient[:, t + 1 :].abs().max() == 0
    assert (gradient[:, : t + 1].abs().amax(dim=(0, 2)) > 0).all()


def seeded(model: nn.Module, ids: Tensor) -> Tensor:
    """One pass with the same dropout each time."""
    torch.manual_seed(7)
    with torch.no_grad():
        return model(ids)


@torch.no_grad()
def decoding_equals_one_pass(model: LanguageModel, ids: Tensor, tolerance: float) -> None:
    """Fed in any chunks, the cached model says what it says of the whole."""
    length, whole = ids.shape[1], model(ids)
    for chunks in ([1] * length, [1, 7, 3, length - 11], [length - 2, 2], [length]):
        caches, parts = model.new_caches(), []
        for part in ids.split(chunks, dim=1):
            parts.append(model(part, caches))
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=tolerance)


@torch.no_grad()
def padding_changes_nothing(model: LanguageModel, ids: Tensor, tolerance: float) -> None:
    """Padded on the left, in one pass and in any chunks, each row reads as it does alone.

    One row has no padding, one a single token; what stands in the padding has no bit of influence.
    """
    length, vocabulary = ids.shape[1], model.config.vocab_size
    assert vocabulary is not None
    padding = torch.tensor([0, 1, length // 2, length - 1])
    assert len(ids) == len(padding)
    starts = padding.tolist()
    alone = [model(row[start:].unsqueeze(0))[0] for row, start in zip(ids, starts, strict=True)]
    is_padding = torch.arange(length) < padding.unsqueeze(-1)
    other = torch.where(is_padding, (ids + 1) % vocabulary, ids)
    whole, same = (in_pieces(model, x, [length], padding) for x in (ids, other))
    assert torch.equal(whole[~is_padding], same[~is_padding])
    for chunks in ([length], [1] * length, [1, 7, 3, length - 11], [length - 2, 2]):
        out = in_pieces(model, ids, chunks, padding)
        assert out.isfinite().all(), f"chunks={chunks}"
        for row, start, wanted in zip(out, starts, alone, strict=True):
            torch.testing.assert_close(row[start:], wanted, rtol=0, atol=tolerance)


def in_pieces(model: LanguageModel, ids: Tensor, chunks: list[int], padding: Tensor) -> Tensor:
    caches = model.new_caches(padding)
    return torch.cat([model(part, caches) for part in ids.split(chunks, dim=1)], dim=1)


@torch.no_grad()
def order_of_the_past_matters(model: LanguageModel, ids: Tensor) -> None:
    """Without positions, one causal layer is a bag of words to its last token."""
    assert len(model.backbone.blocks) == 1
    shuffled = torch.cat((ids[:, :-1].flip(1), ids[:, -1:]), dim=1)
    assert (model(ids)[:, -1] - model(shuffled)[:, -1]).abs().max() > 1e-6


@torch.no_grad()
def order_of_the_past_is_lost(model: LanguageModel, ids: Tensor) -> None:
    """The bag of words itself: with no positions at all the last token reads a set."""
    assert len(model.backbone.blocks) == 1
    shuffled = torch.cat((ids[:, :-1].flip(1), ids[:, -1:]), dim=1)
    last = model(ids)[:, -1]
    assert last.std() > 1e-3
    torch.testing.assert_close(model(shuffled)[:, -1], last, rtol=0, atol=1e-12)


@torch.no_grad()
def scores_depend_on_distance_only(attention: Attention, x: Tensor) -> None:
    """q k' is the same wherever the sequence starts, and so is what comes of it."""
    projection, scores = attention.projection, []
    for start in (0, 1, 1000):
        heads = projection.heads(*projection.asked(x, start))
        k = heads.k.repeat_interleave(heads.q.shape[1] // heads.k.shape[1], dim=1)
        scores.append(projection.scale * heads.q @ k.mT)
    assert scores[0].std() > 1e-2
    for moved in scores[1:]:
        torch.testing.assert_close(moved, scores[0], rtol=0, atol=1e-9)


@torch.no_grad()
def scores_depend_on_distance(attention: Attention, width: int) -> None:
    """Where every token is the same, only where a key stands tells it from another."""
    x = torch.randn(width, dtype=torch.float64).expand(1, 6, width)
    heads = attention.projection.heads(*attention.projection.asked(x, 0))
    k = heads.k.repeat_interleave(heads.q.shape[1] // heads.k.shape[1], dim=1)
    last = attention.projection.scale * heads.q[..., -1:, :] @ k.mT
    assert (last.diff(dim=-1).abs() > 1e-9).all()


@torch.no_grad()
def stream_enters_at(config: BackboneConfig, rms: float) -> None:
    """Root mean square of the first block's input, over ids that are all different."""
    many = config.replace(vocab_size=4000)
    x = LanguageModel(many).eval().backbone.entry(torch.arange(4000).view(-1, 16), 0)
    assert abs(x.square().mean().sqrt().item() / rms - 1) < 0.02


@torch.no_grad()
def first_loss_is_log_v(config: BackboneConfig, within: float = 0.03) -> None:
    """Before training, a model knows nothing: ln V nats, and half the variance of its logits.

    Of a stream of RMS 1 that is C init_std^2; of a direction, read by directions, 1/C.
    """
    assert config.vocab_size is not None
    model = LanguageModel(config).eval()
    ids = tokens(config, batch=64, length=16)
    loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:]).item()
    variance = 1 / config.d_model if config.on_sphere else config.d_model * config.init_std**2
    expected = math.log(config.vocab_size) + variance / 2
    assert abs(loss / expected - 1) < within, loss


def every_parameter_learns(model: LanguageModel, ids: Tensor, silent: Sequence[str] = ()) -> None:
    """A gradient above rounding for each parameter, but for those named as silent by nature."""
    model.zero_grad()
    cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
    sizes = {
        name: 0.0 if p.grad is None else p.grad.abs().max().item()
        for name, p in model.named_parameters()
    }
    assert [name for name, size in sizes.items() if size < 1e-12] == list(silent)


def every_parameter_is_in_one_group(model: LanguageModel) -> None:
    """By name, with the role that its name says."""
    groups = parameter_groups(model, TrainRecipe(steps=1, weight_decay=0.1))
    names = [name for group in groups for name in group.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    for group in groups:
        assert group.weight_decay == (0.1 if group.role == "matrix" else 0.0)
        for name in group.parameters:
            assert group.role == role_by_name(name), name


def role_by_name(name: str) -> str:
    if name.endswith(("tokens.weight", "table.weight")) or name == "head.weight":
        return "table"
    if name.endswith("lam.gate.weight"):
        return "gate"
    return "matrix" if name.endswith(".weight") else "vector"


@torch.no_grad()
def rows_are_independent(model: LanguageModel, ids: Tensor) -> None:
    """A row alone, or beside others, reads the same."""
    together = model(ids)
    for i in range(len(ids)):
        torch.testing.assert_close(model(ids[i : i + 1])[0], together[i], rtol=0, atol=1e-12)


@torch.no_grad()
def eval_is_deterministic(model: LanguageModel, ids: Tensor) -> None:
    """Two passes in eval mode are equal to the last bit."""
    assert torch.equal(model(ids), model(ids))


def parameter_count(config: BackboneConfig) -> int:
    """Closed form: the terms of each published block, added up by hand."""
    d, sphere = config.d_model, config.on_sphere
    norm = 0 if sphere else d * (2 if config.norm == "layer" and config.bias else 1)
    pace = {"pre_norm": 0, "ngpt": d, "ngpt_simple": 1}[config.scheme]
    block = attention_count(config) + ffn_count(config) + 2 * norm + 2 * pace + conv_count(config)
    vocabulary = config.vocab_size or 0
    tables = vocabulary * d * (1 if config.tie_embeddings else 2) + (config.max_positions or 0) * d
    logits = {"pre_norm": 0, "ngpt": vocabulary, "ngpt_simple": 1}[config.scheme]
    return tables + logits + config.n_layers * block + norm


def conv_count(config: BackboneConfig) -> int:
    conv = config.short_conv
    branches = {"attention": 1, "both": 2}
    return 0 if conv is None else branches[conv.before] * (conv.taps - 1) * config.d_model


def ffn_count(config: BackboneConfig) -> int:
    d, m = config.d_model, config.d_ffn
    n_in, n_out = config.ffn_rank_in or d, config.ffn_rank_out or m
    readers = 2 if config.ffn == "swiglu" else 1
    count = readers * n_in * m + n_out * d
    for rank, ends in ((config.ffn_rank_in, d), (config.ffn_rank_out, m)):
        if rank is not None:
            count += rank * ends + (0 if config.on_sphere else rank) + (rank if config.bias else 0)
    return count + (readers * m + d if config.bias else 0) + readers * m * (config.scheme == "ngpt")


def attention_count(config: BackboneConfig) -> int:
    d, q, halves = config.d_model, config.query_dim, 2 if config.contrast == "v1" else 1
    heads, groups, e = (
        config.n_heads // halves,
        config.n_kv_heads // halves,
        halves * config.value_dim,
    )
    maps = 1 if config.contrast == "none" else 2
    sets, latent, sphere = halves, config.latent, config.on_sphere
    if latent is None:
        widths = heads * maps * q + groups * sets * q + groups * e
        count = d * widths + (widths + d if config.bias else 0)
    else:
        reads, gain = latent.query_rank or d, 0 if sphere else 1
        count = reads * heads * maps * q + d * (latent.rank + latent.rope_dim) + gain * latent.rank
        count += latent.rank * groups * (sets * latent.nope_dim + e)
        count += 0 if latent.query_rank is None else (d + gain) * reads
    count += heads * e * d + gain_count(config, (heads, maps), (groups, sets))
    if config.contrast == "v1":
        return count + 4 * q + (0 if sphere else e)
    gate = d * heads + (2 * heads if config.scheme == "ngpt" else 0)
    return count + (gate if config.contrast == "v2" else 0)


def gain_count(config: BackboneConfig, queries: tuple[int, int], keys: tuple[int, int]) -> int:
    """Learned gains of the QK norm."""
    q, shared = config.query_dim, 0 if config.latent is None else config.latent.rope_dim
    if config.qk_norm == "rms":
        return 2 * q
    if config.qk_norm == "none" and config.scheme != "ngpt":
        return 0
    if config.qk_norm == "standard":
        queries, keys = (queries[0], 1), (keys[0], 1)
    if config.scheme == "ngpt_simple":
        same, extra = queries[1] == keys[1], 1 if shared else 0
        return queries[1] + (0 if same else keys[1]) + extra
    of_keys = 0 if queries == keys and not shared else keys[0] * keys[1] * (q - shared) + shared
    return queries[0] * queries[1] * q + of_keys


def parameters_are_as_counted(model: LanguageModel) -> None:
    """The model holds as many numbers as the closed form says."""
    assert sum(p.numel() for p in model.parameters()) == parameter_count(model.config)


def directions_have_length_one(model: LanguageModel) -> None:
    """By name, not by the attribute that the code reads: nGPT, section 2.6."""
    found = 0
    for name, weight in model.named_parameters():
        if name.endswith((".out.weight", ".down.weight")) and "latent.down" not in name:
            side = 1 if ".enter." in name else 0  # a narrow input reads, though it is called down
        elif name.endswith(".weight") and not name.endswith("positions.table.weight"):
            side = 1
        else:
            continue
        lengths, found = weight.norm(dim=side), found + 1
        torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-6)
    assert found >= 6 * model.config.n_layers


@torch.no_grad()
def stream_stays_on_the_sphere(model: LanguageModel, ids: Tensor) -> None:
    """Length one between all blocks, and RMS one where the backbone ends."""
    x, caches = model.backbone.entry(ids, 0), model.new_caches()
    for block, past in zip(model.backbone.blocks, caches, strict=True):
        torch.testing.assert_close(x.norm(dim=-1), torch.ones_like(x[..., 0]), rtol=0, atol=1e-6)
        x = block(x, past)
    rms = model.backbone(ids).square().mean(dim=-1).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms), rtol=0, atol=1e-6)
