"""Which parameters learn how: groups by role, their optimisers, and the rate of each step."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from ..attention.lam import TokenLambda
from ..embedding import Head
from ..layers import Linear
from ..recipe import GroupRule, TrainRecipe
from .muon import Muon
from .orthograd import OrthoGrad
from .schedules import cycle_ends, learning_rate
from .together import Together

__all__ = [
    "Group",
    "Muon",
    "OrthoGrad",
    "Role",
    "Together",
    "build_optimizer",
    "cycle_ends",
    "learning_rate",
    "parameter_groups",
    "parameter_roles",
    "set_learning_rate",
]

Role = Literal["matrix", "table", "vector", "gate"]
# The rule of all that no rule of the recipe fits; no parameter's name has a star.
ORDINARY = GroupRule(prefix="*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Parameters that share a learning rate and a weight decay, by name."""

    role: Role
    lr_factor: float
    weight_decay: float
    parameters: dict[str, nn.Parameter]


def parameter_groups(model: nn.Module, recipe: TrainRecipe) -> list[Group]:
    """Every trainable parameter in exactly one group; ValueError for a prefix that fits none.

    Matrices decay. Tables (embeddings, learned positions, an untied head), vectors (gains, biases)
    and gates do not, unless a rule of the recipe says so. Of several prefixes that fit, the longest
    counts.
    """
    roles = parameter_roles(model)
    groups: dict[tuple[Role, str], Group] = {}
    unused = {rule.prefix for rule in recipe.groups}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rule = rule_of(name, recipe)
        unused.discard(rule.prefix)
        key = roles[name], rule.prefix
        if key not in groups:
            groups[key] = empty_group(roles[name], rule, recipe)
        groups[key].parameters[name] = parameter
    if unused:
        raise ValueError(f"groups: no parameter's name starts with {min(unused)!r}")
    return list(groups.values())


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """What each parameter is, by the module that owns it and by its number of axes.

    A gate of one number a head is no hidden matrix: its few rows are scores, not a map between
    spaces, and decay would pull every score to a half.
    """
    owned: dict[int, Role] = {}
    for module in model.modules():
        if isinstance(module, nn.Embedding | Head):
            owned |= {id(parameter): "table" for parameter in module.parameters(recurse=False)}
        elif isinstance(module, TokenLambda):
            owned[id(module.gate.weight)] = "gate"
    return {
        name: owned.get(id(parameter), "matrix" if parameter.ndim > 1 else "vector")
        for name, parameter in model.named_parameters()
    }


def rule_of(name: str, recipe: TrainRecipe) -> GroupRule:
    """The recipe's rule with the longest prefix that fits, or a rule that changes nothing."""
    fitting = [rule for rule in recipe.groups if name.startswith(rule.prefix)]
    return max(fitting, key=lambda rule: len(rule.prefix), default=ORDINARY)


def empty_group(role: Role, rule: GroupRule, recipe: TrainRecipe) -> Group:
    """The group of one role under one rule, with no parameters yet."""
    decay = recipe.weight_decay if role == "matrix" else 0.0
    if rule.weight_decay is not None:
        decay = rule.weight_decay
    rates = {"table": recipe.rates.table, "vector": recipe.rates.vector}
    factor = rule.lr_factor * rates.get(role, 1.0)
    return Group(role=role, lr_factor=factor, weight_decay=decay, parameters={})


def build_optimizer(model: nn.Module, recipe: TrainRecipe) -> Together:
    """Muon for hidden matrices where the recipe has it, AdamW for all else, over the groups.

    OrthoGrad, where the recipe has it, is around the AdamW of the matrices.
    """
    groups = parameter_groups(model, recipe)
    hidden = hidden_matrices(model) if recipe.muon or recipe.orthograd else {}
    by_muon, matrices, others = [], [], []
    for group in groups:
        for axis in (0, 1, None):
            mine = [p for p in group.parameters.values() if hidden.get(id(p)) == axis]
            if not mine:
                continue
            options = {"params": mine, "weight_decay": group.weight_decay}
            options |= {"lr_factor": group.lr_factor, "axis": 1 if axis is None else axis}
            if recipe.muon and axis is not None:
                options["lr_factor"] *= recipe.muon.lr / recipe.lr
                by_muon.append(options)
            elif recipe.orthograd and group.role == "matrix":
                matrices.append(options)
            else:
                add_to(others, options)
    return Together(optimizers(recipe, by_muon, matrices, others))


def add_to(groups: list[dict[str, Any]], options: dict[str, Any]) -> None:
    """Into the group of the same rates, where there is one: the fused optimiser is called by group.

    AdamW has no use for an axis.
    """
    for group in groups:
        if all(group[name] == options[name] for name in ("weight_decay", "lr_factor")):
            group["params"] += options["params"]
            return
    groups.append(options)


def optimizers(recipe: TrainRecipe, *groups: list[dict[str, Any]]) -> list[Optimizer]:
    """Muon, OrthoGrad around AdamW, and AdamW, each where it has parameters."""
    by_muon, matrices, others = groups
    parts: list[Optimizer] = []
    if by_muon and recipe.muon:
        narrow = torch.bfloat16 if recipe.precision.startswith("bf16") else None
        rates = {"lr": recipe.muon.lr, "momentum": recipe.muon.momentum}
        parts.append(Muon(by_muon, **rates, narrow=narrow))
    if matrices and recipe.orthograd:
        parts.append(OrthoGrad(adamw(matrices, recipe), by=recipe.orthograd))
    if others:
        parts.append(adamw(others, recipe))
    return parts


def hidden_matrices(model: nn.Module) -> dict[int, int]:
    """The weights of the shared linear map, by identity: along which axis their directions lie.

    That is the rows, but for columns that a scheme keeps at length one.
    """
    roles, named = parameter_roles(model), dict(model.named_parameters())
    matrices = {id(named[name]) for name, role in roles.items() if role == "matrix"}
    return {
        id(module.weight): 0 if module.sphere == "out" else 1
        for module in model.modules()
        if isinstance(module, Linear)
        and module.weight.requires_grad
        and id(module.weight) in matrices
    }


def adamw(groups: list[dict[str, Any]], recipe: TrainRecipe) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019), fused: one pass over each tensor."""
    return AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)


def set_learning_rate(optimizer: Together, lr: float) -> None:
    """Give each group lr times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
