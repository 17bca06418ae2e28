"""Muon and OrthoGrad: their steps against the definitions, and their state across a resume."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from variants import SMALL_PRESETS

from backbones.checkpoint import latest
from backbones.layers import Linear
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.optim import Muon, OrthoGrad, build_optimizer, parameter_roles
from backbones.optim import muon as muon_module
from backbones.optim.muon import orthogonal
from backbones.recipe import By, GroupRule, MuonRule, Precision, RoleRates, TrainRecipe
from backbones.train import RunFolder, StepReport, fit

CONFIG = SMALL_PRESETS["llama"]
MUON = MuonRule()


def filled(*shape: int) -> nn.Parameter:
    parameter = nn.Parameter(torch.randn(*shape))
    parameter.grad = torch.randn(*shape)
    return parameter


# Muon


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_a_step_is_nearly_the_nearest_orthogonal_matrix(shape: tuple[int, int]) -> None:
    """Against U V' of the singular value decomposition: the same frames, lengths of 0.6 to 1.25."""
    g = torch.randn(3, *shape, dtype=torch.float64)
    ours = orthogonal(g)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    inside = u.mT @ ours @ vt.mT  # diagonal where the frames agree
    lengths = inside.diagonal(dim1=-2, dim2=-1)
    assert (inside - torch.diag_embed(lengths)).abs().max() < 1e-9
    assert lengths.min() > 0.6
    assert lengths.max() < 1.25


def test_planted_no_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that only divides by the norm has singular values far below one."""
    monkeypatch.setattr(muon_module, "ITERATIONS", 0)
    assert torch.linalg.svdvals(orthogonal(torch.randn(1, 24, 24))).max() < 0.6


def test_a_direction_without_length_stays() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 5, 3)), torch.zeros(2, 5, 3))


@pytest.mark.parametrize("narrow", [None, torch.bfloat16])
@pytest.mark.parametrize("shape", [(40, 16), (16, 40)])
def test_steps_are_torchs_up_to_bfloat16(
    shape: tuple[int, int], narrow: torch.dtype | None
) -> None:
    """torch.optim.Muon iterates in bfloat16: the same direction to 1 %, and the same scale."""
    ours, theirs = filled(*shape), nn.Parameter(torch.zeros(*shape))
    start = ours.detach().clone()
    with torch.no_grad():
        theirs.copy_(ours)
    one = Muon([{"params": [ours], "lr": 0.02}], lr=0.02, momentum=0.95, narrow=narrow)
    other = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.0)
    for _ in range(4):
        ours.grad = torch.randn(*shape)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    moved, wanted = (p.detach() - start for p in (ours, theirs))
    assert nn.functional.cosine_similarity(moved.flatten(), wanted.flatten(), dim=0) > 0.99
    assert moved.norm().item() == pytest.approx(wanted.norm().item(), rel=0.02)


@pytest.mark.parametrize(("precision", "narrow"), [("fp32", None), ("bf16-mixed", torch.bfloat16)])
def test_muon_iterates_in_the_recipes_bfloat16(
    precision: Precision, narrow: torch.dtype | None
) -> None:
    recipe = TrainRecipe(steps=1, muon=MUON, precision=precision)
    parts = build_optimizer(LanguageModel(CONFIG), recipe).parts
    assert [each.narrow for each in parts if isinstance(each, Muon)] == [narrow]


def test_large_matrices_one_by_one_are_those_together(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.randn(3, 24, 40)
    together = orthogonal(g, torch.bfloat16)
    monkeypatch.setattr(muon_module, "LARGEST", 24 * 40 - 1)
    torch.testing.assert_close(orthogonal(g, torch.bfloat16), together, rtol=0, atol=0.02)


def test_matrices_of_one_shape_do_not_mix() -> None:
    """Stepped together or alone, each moves alike."""
    together, alone = [filled(6, 4) for _ in range(3)], [filled(6, 4) for _ in range(3)]
    for one, other in zip(together, alone, strict=True):
        with torch.no_grad():
            other.copy_(one)
        assert one.grad is not None
        other.grad = one.grad.clone()
    Muon([{"params": together}], lr=0.1, momentum=0.9).step()
    for one, other in zip(together, alone, strict=True):
        Muon([{"params": [other]}], lr=0.1, momentum=0.9).step()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("axis", "shape"), [(1, (64, 16)), (0, (16, 64)), (1, (16, 64))])
def test_every_unit_direction_turns_by_about_lr(axis: int, shape: tuple[int, int]) -> None:
    """On the sphere: rows (axis 1) or columns (axis 0) at length one turn by 0.7 to 1.1 lr."""
    p = filled(*shape)
    with torch.no_grad():
        p.copy_(nn.functional.normalize(p, dim=axis))
    before = p.detach().clone()
    Muon([{"params": [p], "axis": axis}], lr=1e-3, momentum=0.95).step()
    angle = torch.acos(nn.functional.cosine_similarity(before.double(), p.double(), dim=axis))
    assert 0.4e-3 < angle.mean().item() < 1.1e-3


def test_planted_the_rows_scale_for_columns() -> None:
    """Unit columns of a wide matrix turn half as far under the rows' scale: the law above binds."""
    turns = {}
    for axis in (0, 1):
        torch.manual_seed(3)
        p = filled(16, 64)
        with torch.no_grad():
            p.copy_(nn.functional.normalize(p, dim=0))
        before = p.detach().clone()
        Muon([{"params": [p], "axis": axis}], lr=1e-3, momentum=0.95).step()
        turns[axis] = (p.detach() - before).norm().item()
    assert turns[0] == pytest.approx(2 * turns[1], rel=1e-3)


def test_muon_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"Muon steps matrices: a shape \[3\] was given"):
        Muon([{"params": [filled(3)]}], lr=0.1, momentum=0.9)


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_muon_has_the_hidden_matrices_and_adamw_the_rest(name: str) -> None:
    model = LanguageModel(SMALL_PRESETS[name])
    recipe = TrainRecipe(
        steps=1, lr=1e-2, muon=MUON, rates=RoleRates(table=2.0, vector=3.0), weight_decay=0.1
    )
    optimizer = build_optimizer(model, recipe)
    by_muon, by_adamw = optimizer.parts
    assert isinstance(by_muon, Muon)
    gates = {n for n, _ in model.named_parameters() if n.endswith("lam.gate.weight")}
    hidden = {id(m.weight) for m in model.modules() if isinstance(m, Linear)}
    hidden -= {id(p) for n, p in model.named_parameters() if n in gates}
    assert {id(p) for g in by_muon.param_groups for p in g["params"]} == hidden
    factors = {id(p): g["lr_factor"] for g in by_adamw.param_groups for p in g["params"]}
    roles = parameter_roles(model)
    named = dict(model.named_parameters())
    assert hidden | factors.keys() == {id(p) for p in named.values()}
    for parameter_name, parameter in named.items():
        wanted = {"table": 2.0, "vector": 3.0, "matrix": 1.0, "gate": 1.0}[roles[parameter_name]]
        assert factors.get(id(parameter), wanted) == wanted
    assert {g["lr_factor"] for g in by_muon.param_groups} == {0.02 / 1e-2}


def test_a_prefix_slows_muon_too() -> None:
    model = LanguageModel(CONFIG)
    rules = (GroupRule(prefix="backbone.blocks.0.", lr_factor=0.5, weight_decay=0.3),)
    muon = build_optimizer(model, TrainRecipe(steps=1, lr=1e-2, muon=MUON, groups=rules)).parts[0]
    seen = {(g["lr_factor"], g["weight_decay"]) for g in muon.param_groups}
    assert seen == {(1.0, 0.3), (2.0, 0.1)}


@pytest.mark.parametrize(("name", "wanted"), [("llama", {1}), ("ngpt", {0, 1})])
def test_directions_are_rows_but_for_unit_columns(name: str, wanted: set[int]) -> None:
    model = LanguageModel(SMALL_PRESETS[name])
    axes = {
        id(p): g["axis"]
        for g in build_optimizer(model, TrainRecipe(steps=1, muon=MUON)).parts[0].param_groups
        for p in g["params"]
    }
    for module in (m for m in model.modules() if isinstance(m, Linear)):
        assert axes[id(module.weight)] == (0 if module.sphere == "out" else 1)
    assert set(axes.values()) == wanted


def test_a_gate_is_no_hidden_matrix() -> None:
    """DIFF V2's scores, one number a head, are AdamW's."""
    model = LanguageModel(SMALL_PRESETS["diff_v2"])
    by_muon = build_optimizer(model, TrainRecipe(steps=1, muon=MUON)).parts[0]
    stepped = {id(p) for g in by_muon.param_groups for p in g["params"]}
    gates = [n for n, p in model.named_parameters() if n.endswith("lam.gate.weight")]
    assert gates
    named = dict(model.named_parameters())
    assert not any(id(named[n]) in stepped for n in gates)
    assert any(n.endswith("ffn.gate.weight") and id(p) in stepped for n, p in named.items())


# OrthoGrad


def lengths(x: Tensor, by: By) -> Tensor:
    return x.flatten().norm() if by == "tensor" else x.norm(dim=1)


@pytest.mark.parametrize("by", ["tensor", "row"])
def test_what_is_left_is_across_the_weights_and_as_long(by: By) -> None:
    p = filled(5, 7)
    assert p.grad is not None
    before = p.grad.clone()
    base = torch.optim.SGD([p], lr=0.0)
    OrthoGrad(base, by=by).step()
    along = (p * p.grad).sum() if by == "tensor" else (p * p.grad).sum(dim=1)
    assert along.abs().max() < 1e-5
    torch.testing.assert_close(lengths(p.grad, by), lengths(before, by))


def test_columns_where_the_directions_are_columns() -> None:
    p = filled(5, 7)
    assert p.grad is not None
    OrthoGrad(torch.optim.SGD([{"params": [p], "axis": 0}], lr=0.0), by="row").step()
    assert (p * p.grad).sum(dim=0).abs().max() < 1e-5
    assert (p * p.grad).sum(dim=1).abs().max() > 1e-2


def test_planted_a_whole_tensor_is_not_every_row() -> None:
    p = filled(5, 7)
    OrthoGrad(torch.optim.SGD([p], lr=0.0), by="tensor").step()
    assert p.grad is not None
    assert (p * p.grad).sum(dim=1).abs().max() > 1e-2


def test_vectors_single_numbers_and_zeros_are_left_alone() -> None:
    """The reference freezes what has one number; a zero weight has no direction to avoid."""
    vector, single, zero = filled(4), filled(1, 1), filled(3, 3)
    with torch.no_grad():
        zero.zero_()
    before = [p.grad.clone() for p in (vector, single, zero) if p.grad is not None]
    OrthoGrad(torch.optim.SGD([vector, single, zero], lr=0.0)).step()
    for parameter, grad in zip((vector, single, zero), before, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, grad)


def test_a_gradient_along_the_weights_is_not_made_noise() -> None:
    p = filled(4, 4)
    p.grad = 3 * p.detach()
    OrthoGrad(torch.optim.SGD([p], lr=0.0)).step()
    assert p.grad.norm() < 1e-4 * p.norm()


def test_a_parameter_that_is_not_contiguous() -> None:
    p = nn.Parameter(torch.randn(7, 5).mT)
    p.grad = torch.randn(7, 5).mT
    OrthoGrad(torch.optim.SGD([p], lr=0.0)).step()
    assert (p * p.grad).sum().abs() < 1e-4


def test_a_sparse_gradient_is_refused() -> None:
    table = nn.Embedding(4, 3, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="sparse gradient: a dense one is wanted"):
        OrthoGrad(torch.optim.SGD(table.parameters(), lr=0.1)).step()


def test_the_closure_comes_before_the_projection() -> None:
    p = nn.Parameter(torch.randn(4, 4))
    optimizer = OrthoGrad(torch.optim.SGD([p], lr=0.0))

    def closure() -> float:
        optimizer.zero_grad()
        loss = (p**2).sum() + p[0, 0]
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == pytest.approx(((p**2).sum() + p[0, 0]).item())
    assert p.grad is not None
    assert (p * p.grad).sum().abs() < 1e-4


def test_state_and_schedules_are_the_bases() -> None:
    """The reference's wrapper parts from its base when it loads; then schedulers change nothing."""
    p = filled(4, 4)
    base = torch.optim.AdamW([p], lr=0.1)
    optimizer = OrthoGrad(base)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    scheduler.step()
    assert base.param_groups[0]["lr"] == pytest.approx(0.05)
    saved = optimizer.state_dict()
    assert set(saved["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    optimizer.load_state_dict(saved)
    optimizer.param_groups[0]["lr"] = 0.7
    assert base.param_groups[0]["lr"] == 0.7
    optimizer.add_param_group({"params": [filled(2, 2)]})
    assert len(base.param_groups) == 2


@pytest.mark.parametrize("name", ["llama", "diff_v2"])
def test_orthograd_is_for_matrices_only(name: str) -> None:
    model = LanguageModel(SMALL_PRESETS[name])
    optimizer = build_optimizer(model, TrainRecipe(steps=1, orthograd="row"))
    inside, outside = optimizer.parts
    assert isinstance(inside, OrthoGrad)
    assert not isinstance(outside, OrthoGrad)
    roles, named = parameter_roles(model), dict(model.named_parameters())
    matrices = {id(named[name]) for name, role in roles.items() if role == "matrix"}
    assert {id(p) for g in inside.param_groups for p in g["params"]} == matrices


def test_orthograd_and_muon_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="orthograd='row' is undone by muon"):
        TrainRecipe(steps=1, muon=MUON, orthograd="row")


# exact resume


class PowerCutError(Exception):
    """The power cut of these tests."""


def train(folder: Path, stop_after: int | None, *, resume: bool, **how: object) -> LanguageModel:
    torch.manual_seed(5)
    model = LanguageModel(CONFIG.replace(dropout=0.1))

    def loss_of(step: int) -> Tensor:
        ids = torch.randint(11, (4, 10), generator=torch.Generator().manual_seed(step))
        return cross_entropy(model(ids[:, :-1]), ids[:, 1:])

    def cut(report: StepReport) -> None:
        if report.step == stop_after:
            raise PowerCutError

    recipe = TrainRecipe.model_validate({"steps": 7, "lr": 1e-2, "checkpoint_every": 2} | how)
    fit(
        model,
        loss_of,
        recipe,
        run=RunFolder(path=folder, config={}, resume=resume),
        on_step=cut,
    )
    return model


WAYS: dict[str, dict[str, object]] = {
    "muon": {"muon": {}},
    "muon-restarts": {"muon": {"lr": 0.01}, "schedule": {"kind": "restarts", "t_0": 3}},
    "orthograd-tensor": {"orthograd": "tensor", "schedule": "wsd"},
    "orthograd-row": {"orthograd": "row", "ema": 0.9},
}


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS.keys())
def test_a_resumed_run_is_the_same_run(tmp_path: Path, how: dict[str, object]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, None, resume=False, **how)
    with pytest.raises(PowerCutError):
        train(parts, 3, resume=False, **how)
    train(parts, None, resume=True, **how)
    places = [latest(folder / "checkpoints") for folder in (whole, parts)]
    for path in places[0].iterdir():
        assert path.read_bytes() == (places[1] / path.name).read_bytes(), path.name


def test_planted_a_momentum_that_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = train(whole, None, resume=False, muon={})
    with pytest.raises(PowerCutError):
        train(parts, 3, resume=False, muon={})
    monkeypatch.setattr("backbones.optim.together.Together.restore", lambda *_: None)
    other = train(parts, None, resume=True, muon={})
    assert not all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("how", [{}, {"muon": {}}, {"orthograd": "tensor"}], ids=str)
def test_each_of_them_learns(how: dict[str, object]) -> None:
    """One batch, 60 steps: far below ln 11."""
    model = LanguageModel(CONFIG)
    ids = torch.randint(11, (4, 10))
    recipe = TrainRecipe.model_validate({"steps": 60, "lr": 1e-2, "warmup": 5} | how)
    result = fit(model, lambda _: cross_entropy(model(ids[:, :-1]), ids[:, 1:]), recipe)
    assert result.loss is not None
    assert result.loss < 0.7
