"""Each law over every variant, and each law shown to fail on a planted mistake."""

import itertools
import math

import laws
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from variants import COVER, SMALL_PRESETS, VARIANTS, can_be_built, grid

from backbones import optim
from backbones.attention import Attention, kernel, short
from backbones.by_hand import plainly
from backbones.config import BackboneConfig
from backbones.embedding import Entry
from backbones.ffn import SwiGlu
from backbones.layers import Linear
from backbones.losses import cross_entropy
from backbones.model import Backbone, LanguageModel
from backbones.positions import Rotary
from backbones.presets import PRESETS, Sizes, sized
from backbones.recipe import Precision
from backbones.sphere import normalize_weights_
from backbones.text.recipes import CPU
from backbones.train.precision import as_trained, computing

LLAMA = SMALL_PRESETS["llama"]
every = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
presets = pytest.mark.parametrize("config", SMALL_PRESETS.values(), ids=SMALL_PRESETS.keys())


def test_the_cover_meets_every_pair_of_axis_values() -> None:
    seen = set().union(*(itertools.combinations(name.split("-"), 2) for name in COVER))
    wanted = {(one[0], other[0]) for one, other in can_be_built()}
    assert len(wanted) > 600
    assert wanted <= seen
    refused = {("softmax", "qk_split"), ("ngpt", "bias_True"), ("latent", "learned")}
    assert not refused & (wanted | seen)


# causality


@every
def test_no_position_sees_the_future(config: BackboneConfig) -> None:
    laws.no_position_sees_the_future(laws.sharpened(config), laws.tokens(config))


def test_planted_an_uncausal_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncausal(q: Tensor, k: Tensor, v: Tensor, *, scale: float, **_: object) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)

    monkeypatch.setattr(kernel, "attend", uncausal)
    with pytest.raises(AssertionError):
        laws.no_position_sees_the_future(laws.sharpened(LLAMA), laws.tokens(LLAMA))
    with plainly(), pytest.raises(AssertionError):
        laws.no_gradient_from_the_future(laws.sharpened(LLAMA), 9, 4)


def test_planted_an_uncausal_kernel_for_short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(rows: slice, like: Tensor) -> Tensor:
        return like.new_zeros(1, rows.stop - rows.start, rows.stop)

    monkeypatch.setattr(short, "unseen", nothing)
    with pytest.raises(AssertionError):
        laws.no_gradient_from_the_future(laws.sharpened(LLAMA), 9, 4)


@presets
def test_no_gradient_comes_from_the_future_the_plain_way_either(config: BackboneConfig) -> None:
    with plainly():
        laws.no_gradient_from_the_future(laws.sharpened(config), 13, 6)


def test_planted_a_norm_over_time_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Backbone.forward

    def leaking(self: Backbone, x: Tensor, caches: None = None) -> Tensor:
        h = forward(self, x, caches)
        return h - h.mean(dim=1, keepdim=True) if self.training else h

    monkeypatch.setattr(Backbone, "forward", leaking)
    with pytest.raises(AssertionError, match="train=True"):
        laws.no_position_sees_the_future(laws.sharpened(LLAMA), laws.tokens(LLAMA))


# caches


@every
def test_decoding_with_caches_equals_one_pass(config: BackboneConfig) -> None:
    laws.decoding_equals_one_pass(laws.sharpened(config), laws.tokens(config), 1e-12)


@presets
def test_decoding_in_float32(config: BackboneConfig) -> None:
    model = LanguageModel(config).eval()
    laws.decoding_equals_one_pass(model, laws.tokens(config), 5e-6)


def test_planted_a_rotation_that_forgets_where_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Rotary.forward
    monkeypatch.setattr(Rotary, "forward", lambda self, x, _: forward(self, x, 0))
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(laws.sharpened(LLAMA), laws.tokens(LLAMA), 1e-12)


def test_planted_a_mask_at_the_wrong_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    def top_left(q: Tensor, k: Tensor, v: Tensor, *, scale: float, **_: object) -> Tensor:
        many = q.shape[-2] > 1
        return F.scaled_dot_product_attention(q, k, v, is_causal=many, scale=scale)

    monkeypatch.setattr(kernel, "attend", top_left)
    with pytest.raises(AssertionError):
        laws.decoding_equals_one_pass(laws.sharpened(LLAMA), laws.tokens(LLAMA), 1e-12)


# positions


def knows_order(config: BackboneConfig) -> bool:
    """By positions, by a mean over earlier reads, or by a convolution."""
    return config.positions != "none" or config.integral != "none" or config.short_conv is not None


ORDERED = {name: config for name, config in VARIANTS.items() if knows_order(config)}
BAGS = {
    f"{name}-unplaced": SMALL_PRESETS[name].replace(positions="none")
    for name in ("llama", "llama_gqa", "llama_qk_norm", "diff_v1", "diff_v2", "ngpt", "ngpt_simple")
}


@pytest.mark.parametrize("config", ORDERED.values(), ids=ORDERED.keys())
def test_order_of_the_past_matters(config: BackboneConfig) -> None:
    laws.order_of_the_past_matters(laws.sharpened(config.replace(n_layers=1)), laws.tokens(config))


@pytest.mark.parametrize("config", BAGS.values(), ids=BAGS.keys())
def test_without_positions_one_layer_reads_a_set(config: BackboneConfig) -> None:
    assert not knows_order(config)
    laws.order_of_the_past_is_lost(laws.sharpened(config.replace(n_layers=1)), laws.tokens(config))


@pytest.mark.parametrize("name", ["llama", "dint_v1", "llama_conv"])
def test_planted_a_set_that_has_an_order(name: str) -> None:
    """Positions, an integral and a convolution each tell the order."""
    config = SMALL_PRESETS[name].replace(n_layers=1)
    if name != "llama":
        config = config.replace(positions="none")
    with pytest.raises(AssertionError):
        laws.order_of_the_past_is_lost(laws.sharpened(config), laws.tokens(config))


def test_planted_the_same_rotation_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rotary, "forward", lambda _, x, __: x)
    with pytest.raises(AssertionError):
        laws.order_of_the_past_matters(
            laws.sharpened(LLAMA.replace(n_layers=1)), laws.tokens(LLAMA)
        )


def attention_of(config: BackboneConfig) -> Attention:
    return laws.sharpened(config.replace(n_layers=1)).backbone.blocks[0].get_submodule("attention")  # type: ignore[return-value]


ROPE = {name: config for name, config in VARIANTS.items() if config.positions == "rope"}


@pytest.mark.parametrize("config", ROPE.values(), ids=ROPE.keys())
def test_scores_depend_on_distance_only(config: BackboneConfig) -> None:
    x = torch.randn(2, 9, config.d_model, dtype=torch.float64)
    laws.scores_depend_on_distance_only(attention_of(config), x)
    laws.scores_depend_on_distance(attention_of(config), config.d_model)


def test_planted_a_gain_after_the_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Rotary.forward
    gain = torch.linspace(0.5, 1.5, LLAMA.head_dim, dtype=torch.float64)
    monkeypatch.setattr(Rotary, "forward", lambda self, x, start: gain * forward(self, x, start))
    x = torch.randn(2, 9, LLAMA.d_model, dtype=torch.float64)
    with pytest.raises(AssertionError):
        laws.scores_depend_on_distance_only(attention_of(LLAMA), x)


# sizes at the start


def entry_rms(config: BackboneConfig) -> float:
    """As documented: N(0, 0.02) tables; sqrt_d brings N(0, 1/C) to 1; sinusoids: sqrt(1/2).

    A stream of length one has an RMS of 1/sqrt(C).
    """
    if config.on_sphere:
        return config.d_model**-0.5
    table = {"none": 0.02, "sqrt_d": 1.0, "inv_sqrt_d": 0.02 / math.sqrt(config.d_model)}
    positions = {"rope": 0.0, "none": 0.0, "learned": 0.02, "sinusoidal": math.sqrt(0.5)}
    return math.hypot(table[config.embedding_scale], positions[config.positions])


@every
def test_the_stream_enters_at_its_documented_size(config: BackboneConfig) -> None:
    laws.stream_enters_at(config, entry_rms(config))


@pytest.mark.parametrize(
    ("name", "rms"),
    [
        (name, 0.0283 if name == "classic" else 32**-0.5 if "ngpt" in name else 0.02)
        for name in PRESETS
    ],
)
def test_each_preset_enters_at(name: str, rms: float) -> None:
    laws.stream_enters_at(SMALL_PRESETS[name], rms)


def test_planted_an_embedding_times_sqrt_d(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Entry.forward
    monkeypatch.setattr(
        Entry, "forward", lambda self, x, start: forward(self, x, start) * self.d_model**0.5
    )
    with pytest.raises(AssertionError):
        laws.stream_enters_at(LLAMA, 0.02)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("std", [0.02, CPU.init_std])
def test_the_first_loss_is_log_v(name: str, std: float) -> None:
    sizes = Sizes(vocab_size=65, context=16, d_model=128, n_layers=4, n_heads=4)
    laws.first_loss_is_log_v(sized(PRESETS[name], sizes).replace(init_std=std))


def test_planted_a_head_that_starts_sure_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = LanguageModel.forward
    monkeypatch.setattr(LanguageModel, "forward", lambda self, ids: 20 * forward(self, ids))
    with pytest.raises(AssertionError):
        laws.first_loss_is_log_v(LLAMA)


# parameters


def silent_by_nature(config: BackboneConfig) -> list[str]:
    """A bias on keys adds q b to every score of a row, which softmax does not see.

    Unless the keys are turned, or normalised, after it.
    """
    if not config.bias or config.positions == "rope" or config.qk_norm != "none":
        return []
    return [f"backbone.blocks.{i}.attention.projection.k.bias" for i in range(config.n_layers)]


@every
def test_every_parameter_learns(config: BackboneConfig) -> None:
    model, ids = laws.sharpened(config).train(), laws.tokens(config, batch=4)
    laws.every_parameter_learns(model, ids, silent_by_nature(config))


def test_planted_a_dead_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(self: SwiGlu, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)).detach() * self.up(x))

    monkeypatch.setattr(SwiGlu, "forward", dead)
    with pytest.raises(AssertionError, match=r"ffn\.gate"):
        laws.every_parameter_learns(laws.sharpened(LLAMA), laws.tokens(LLAMA))


@every
def test_every_parameter_is_in_one_group(config: BackboneConfig) -> None:
    laws.every_parameter_is_in_one_group(LanguageModel(config))


def test_planted_a_decaying_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_axes(model: nn.Module) -> dict[str, str]:
        return {n: "matrix" if p.ndim > 1 else "vector" for n, p in model.named_parameters()}

    monkeypatch.setattr(optim, "parameter_roles", by_axes)
    with pytest.raises(AssertionError, match=r"tokens\.weight"):
        laws.every_parameter_is_in_one_group(LanguageModel(LLAMA))


def test_planted_a_decaying_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that decays as a matrix does is drawn to a half, whatever the token."""
    roles = optim.parameter_roles

    def gates_as_matrices(model: nn.Module) -> dict[str, str]:
        return {n: "matrix" if role == "gate" else role for n, role in roles(model).items()}

    monkeypatch.setattr(optim, "parameter_roles", gates_as_matrices)
    with pytest.raises(AssertionError, match=r"lam\.gate\.weight"):
        laws.every_parameter_is_in_one_group(LanguageModel(SMALL_PRESETS["diff_v2"]))


@every
def test_parameters_are_as_counted(config: BackboneConfig) -> None:
    laws.parameters_are_as_counted(LanguageModel(config))


def test_planted_a_parameter_that_no_formula_has() -> None:
    model = LanguageModel(LLAMA)
    model.register_parameter("extra", nn.Parameter(torch.zeros(1)))
    with pytest.raises(AssertionError):
        laws.parameters_are_as_counted(model)


# batches


@every
def test_rows_are_independent(config: BackboneConfig) -> None:
    laws.rows_are_independent(laws.sharpened(config), laws.tokens(config, batch=3))


def test_planted_a_mean_over_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Backbone.forward
    monkeypatch.setattr(
        Backbone, "forward", lambda self, x, caches: (h := forward(self, x, caches)) - h.mean(0)
    )
    with pytest.raises(AssertionError):
        laws.rows_are_independent(laws.sharpened(LLAMA), laws.tokens(LLAMA))


DROPPING = {name: config for name, config in VARIANTS.items() if config.dropout}


@every
def test_eval_is_deterministic(config: BackboneConfig) -> None:
    laws.eval_is_deterministic(laws.sharpened(config), laws.tokens(config))


@pytest.mark.parametrize("config", DROPPING.values(), ids=DROPPING.keys())
def test_planted_dropout_left_on(config: BackboneConfig) -> None:
    with pytest.raises(AssertionError):
        laws.eval_is_deterministic(laws.sharpened(config).train(), laws.tokens(config))


# narrow types


@torch.no_grad()
@every
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_bfloat16_is_near_float32(config: BackboneConfig, precision: Precision) -> None:
    """In one pass and in pieces: within two or three bits of the eight."""
    model, ids = LanguageModel(config).eval(), laws.tokens(config)
    wide = model(ids)
    as_trained(model, precision)
    caches = model.new_caches()
    with computing(precision, torch.device("cpu")):
        parts = [model(part, caches).float() for part in ids.split([5, 1, 7], dim=1)]
        whole = model(ids).float()
    for narrow in (whole, torch.cat(parts, dim=1)):
        assert (narrow - wide).abs().max() < 0.05 * wide.abs().max()


# the sphere

SPHERES = {name: config for name, config in VARIANTS.items() if config.on_sphere}
on_spheres = pytest.mark.parametrize("config", SPHERES.values(), ids=SPHERES.keys())


def stepped(config: BackboneConfig) -> LanguageModel:
    """A model after one step of AdamW and what the scheme asks for after it."""
    model, ids = LanguageModel(config), laws.tokens(config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
    torch.optim.AdamW(model.parameters(), lr=0.01).step()
    normalize_weights_(model)
    moved = [not torch.equal(p, before[name]) for name, p in model.named_parameters()]
    assert all(moved)
    return model.eval()


@on_spheres
def test_directions_have_length_one(config: BackboneConfig) -> None:
    laws.directions_have_length_one(LanguageModel(config))
    laws.directions_have_length_one(stepped(config))


@on_spheres
def test_the_stream_stays_on_the_sphere(config: BackboneConfig) -> None:
    laws.stream_stays_on_the_sphere(stepped(config), laws.tokens(config))


def test_planted_a_step_without_the_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "normalize_", lambda _: None)
    with pytest.raises(AssertionError):
        laws.directions_have_length_one(stepped(SMALL_PRESETS["ngpt"]))


def test_planted_the_wrong_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(self: Linear) -> None:
        self.weight.data.copy_(F.normalize(self.weight.data, dim=1))

    monkeypatch.setattr(Linear, "normalize_", rows)
    with pytest.raises(AssertionError):
        laws.directions_have_length_one(LanguageModel(SMALL_PRESETS["ngpt"]))


def test_off_the_sphere_nothing_is_normalised() -> None:
    model = laws.sharpened(LLAMA)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    normalize_weights_(model)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


# the whole product of the axes that meet in attention


@pytest.mark.grid
def test_the_laws_hold_over_the_whole_grid() -> None:
    for name, config in grid().items():
        model, ids = laws.sharpened(config), laws.tokens(config)
        try:
            laws.no_position_sees_the_future(model, ids)
            laws.decoding_equals_one_pass(model, ids, 1e-12)
            laws.padding_changes_nothing(model, laws.tokens(config, batch=4), 1e-10)
            laws.parameters_are_as_counted(model)
            laws.every_parameter_learns(model, ids, silent_by_nature(config))
            if config.on_sphere:
                laws.directions_have_length_one(model)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from failure
